//! The service as routes of an actix-web application.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::service;
use crate::{HookHandler, HookOp, HookReply, HookService};

/// Adds the four routes, for `App::configure` or, when your base URL has a path, `Scope::configure`. Make `service` once,
/// outside of the factory of `HttpServer`. Other methods are answered 405, bodies above `max_body_bytes` 413.
pub fn routes<H: HookHandler>(service: web::Data<HookService<H>>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        for op in HookOp::ALL {
            let answer = move |service: web::Data<HookService<H>>, request: HttpRequest, body: web::Bytes| async move {
                let kind = request.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
                respond(service.call(op, kind, &body).await)
            };
            let limit = web::PayloadConfig::new(service.options().max_body_bytes);
            let resource = web::resource(op.path()).app_data(service.clone()).app_data(limit);
            config.service(resource.route(web::post().to(answer)));
        }
    }
}

fn respond(reply: HookReply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match status {
        StatusCode::OK => HttpResponse::Ok().content_type(service::CONTENT_TYPE).body(reply.body),
        _ => HttpResponse::new(status),
    }
}
