//! The service as an axum router.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::service;
use crate::{HookHandler, HookOp, HookReply, HookService};

/// The four routes; nest it when your base URL has a path. Other methods are answered 405, other paths 404, bodies above
/// `max_body_bytes` 413.
pub fn router<H: HookHandler>(service: Arc<HookService<H>>) -> Router {
    let limit = DefaultBodyLimit::max(service.options().max_body_bytes);
    let mut router = Router::new();
    for op in HookOp::ALL {
        let handler = move |State(service): State<Arc<HookService<H>>>, headers: HeaderMap, body: Bytes| async move {
            let kind = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
            service.call(op, kind, &body).await
        };
        router = router.route(op.path(), post(handler));
    }
    router.layer(limit).with_state(service)
}

impl IntoResponse for HookReply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match status {
            StatusCode::OK => (status, [(CONTENT_TYPE, service::CONTENT_TYPE)], self.body).into_response(),
            _ => status.into_response(),
        }
    }
}
