//! Plain HTTP routes: health, readiness, metrics, and in development the chat page and the debug views.

use std::sync::Arc;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::{Data, ServiceConfig, get};
use actix_web::{HttpRequest, HttpResponse};
use mics_actors::node::Node;
use serde_json::json;

use super::console;

/// Which routes a listener offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// What clients may see.
    Clients,
    /// Plus the metrics, which name tenants and nodes.
    Public,
    /// Plus the debug views.
    Debug,
    /// Plus the chat page.
    Dev,
}

/// Adds the routes of a surface.
pub fn routes(config: &mut ServiceConfig, node: Arc<Node>, surface: Surface) {
    config.app_data(Data::from(node));
    config.route("/healthz", get().to(async || HttpResponse::Ok().content_type("text/plain").body("ok")));
    config.route("/readyz", get().to(ready));
    config.route("/{ws:(?i)ws/?}", get().to(not_a_handshake));
    if surface != Surface::Clients {
        config.route("/metrics", get().to(metrics));
    }
    if matches!(surface, Surface::Debug | Surface::Dev) {
        config.route("/debug/actors", get().to(actors));
        config.route("/debug/events", get().to(events));
        config.route(console::PATH, get().to(console::open));
    }
    match surface {
        Surface::Dev => page(config),
        _ => {
            config.route("/", get().to(async || HttpResponse::Ok().content_type("text/plain").body("MICS Gateway")));
        }
    }
}

async fn ready(node: Data<Node>) -> HttpResponse {
    match node.draining() {
        false => HttpResponse::Ok().content_type("text/plain").body("ok"),
        true => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn metrics(node: Data<Node>) -> HttpResponse {
    node.refresh_gauges();
    let text = prometheus::TextEncoder::new().encode_to_string(&node.metrics.registry.gather());
    match text {
        Ok(text) => {
            HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text)
        }
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

/// `GET /ws` that asks for no upgrade.
async fn not_a_handshake(node: Data<Node>) -> HttpResponse {
    match node.draining() {
        false => HttpResponse::BadRequest().finish(),
        true => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn actors(node: Data<Node>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "node": &*node.id, "actors": node.observe().await }))
}

async fn events(node: Data<Node>) -> HttpResponse {
    HttpResponse::Ok().json(console::recent_events(&node))
}

const PAGE: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("../dev/page/index.html")),
    ("/chat.js", "text/javascript; charset=utf-8", include_str!("../dev/page/chat.js")),
    ("/codec.js", "text/javascript; charset=utf-8", include_str!("../dev/page/codec.js")),
    ("/style.css", "text/css; charset=utf-8", include_str!("../dev/page/style.css")),
];

fn page(config: &mut ServiceConfig) {
    for (path, _, _) in PAGE {
        config.route(path, get().to(page_file));
    }
}

async fn page_file(request: HttpRequest) -> HttpResponse {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'none'";
    let file = PAGE.iter().find(|(path, _, _)| *path == request.path());
    let Some((_, content_type, body)) = file else { return HttpResponse::NotFound().finish() };
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, *content_type))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(*body)
}
