//! Whether the process runs, and whether it can do its work.

use super::{Access, Endpoint};
use crate::app::App;
use crate::domain::Timestamp;
use crate::error::Code;
use crate::store::settings;
use actix_web::{HttpResponse, web};
use serde_json::json;
use std::time::Duration;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/health", Access::Public, "The process runs", |route| route.to(health)).returns("Health"),
        Endpoint::get("/health/ready", Access::Public, "Database writes and workers work", |route| route.to(ready))
            .returns("Ready"),
    ]
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "healthy", "timestamp": Timestamp::now()}))
}

/// Writes to the database (through the same queue as everything else) and asks the workers for their pulse.
async fn ready(app: web::Data<App>) -> HttpResponse {
    let write = app.write(|tx| settings::set(tx, "last_ready_check", &tx.now.to_string()));
    let database = matches!(tokio::time::timeout(Duration::from_secs(2), write).await, Ok(Ok(())));
    let workers = app.liveness.states();
    let dead: Vec<_> = workers.iter().filter(|worker| !worker.alive).map(|worker| worker.name).collect();
    let body = json!({"timestamp": Timestamp::now(), "database": database, "workers": workers});
    if database && dead.is_empty() {
        return HttpResponse::Ok().json(merge(json!({"status": "ready"}), body));
    }
    tracing::warn!(database, ?dead, "not ready");
    let code = Code::NotReady.text();
    let error = json!({"error": "not ready", "code": code, "details": null, "status": "unready"});
    HttpResponse::ServiceUnavailable().json(merge(error, body))
}

fn merge(mut left: serde_json::Value, right: serde_json::Value) -> serde_json::Value {
    if let (Some(left), serde_json::Value::Object(right)) = (left.as_object_mut(), right) {
        left.extend(right);
    }
    left
}
