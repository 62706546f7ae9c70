//! Alerts: list, get, acknowledge.

use super::auth::User;
use super::input;
use super::page::PageRequest;
use super::{Access, Endpoint};
use crate::app::App;
use crate::domain::{AlertType, Severity};
use crate::engine::alerts as engine;
use crate::error::{Code, Error, Result};
use crate::store::alerts::{self, AlertRow};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

pub fn endpoints() -> Vec<Endpoint> {
    use Access::User;
    vec![
        Endpoint::get("/api/v1/alerts", User, "List alerts, newest first", |route| route.to(list))
            .query(&["page", "pageSize", "serviceId", "type", "severity", "acknowledged", "from", "to"])
            .returns("AlertPage"),
        Endpoint::get("/api/v1/alerts/{id}", User, "Get an alert", |route| route.to(get)).returns("Alert"),
        Endpoint::post("/api/v1/alerts/{id}/ack", User, "Acknowledge an alert", |route| route.to(acknowledge))
            .returns("Acknowledged"),
    ]
}

pub fn alert_view(alert: &AlertRow) -> Value {
    json!({
        "id": alert.id, "serviceId": alert.service_id, "serviceName": alert.service_name, "type": alert.kind,
        "severity": alert.severity, "message": alert.message, "createdAt": alert.created_at,
        "acknowledgedAt": alert.acknowledged_at, "acknowledgedBy": alert.acknowledged_by,
        "dispatchedAt": alert.dispatched_at, "muted": alert.muted,
    })
}

async fn list(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let page = PageRequest::read(&mut query);
    let filter = alerts::Filter {
        service_id: query.text("ServiceId"),
        kind: query.query_enumeration("Type", AlertType::from_number),
        severity: query.query_enumeration("Severity", Severity::from_number),
        acknowledged: query.boolean("Acknowledged"),
        from: query.instant("From"),
        to: query.instant("To"),
    };
    query.finish()?;
    let found = app
        .read(move |db| {
            let rows = alerts::page(db, &filter, page.size, page.offset())?;
            Ok(page.envelope(rows.iter().map(alert_view).collect(), alerts::count(db, &filter)?))
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn get(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let alert = app.read(move |db| alerts::get(db, &id)).await?;
    Ok(HttpResponse::Ok().json(alert_view(&alert)))
}

async fn acknowledge(user: web::ReqData<User>, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let by = user.into_inner().name;
    let (first, _) = app.write(move |tx| engine::acknowledge(tx, &id, &by)).await?;
    if first {
        return Ok(HttpResponse::Ok().json(json!({"acknowledged": true})));
    }
    Err(Error::refused(Code::AlreadyAcknowledged, "the alert was acknowledged before"))
}
