//! The mock tenant as an HTTP server, for `mics hookmock`. Must not decide answers (see `rules`).
//!
//! Beyond a tenant's four hooks it takes `POST /_mock/faults` with JSON `{"<operation>": {"delay_ms": 0, "status": 0,
//! "garbage": false, "deny": false}}`, which replaces all faults; `{}` ends them.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use mics_domain::policy::HookOp;

use super::faults::{Fault, Faults, GARBAGE};
use super::rules::MockTenant;
use crate::hooks;

const MAX_REQUEST_BYTES: usize = 8 << 20;

struct Mock {
    tenant: MockTenant,
    faults: Arc<Faults>,
}

/// Serves the mock on a bound listener; the result is a future that runs until its handle stops it. Signals are left to
/// the caller.
pub fn serve(
    tenant: MockTenant,
    faults: Arc<Faults>,
    listener: TcpListener,
    workers: usize,
) -> std::io::Result<Server> {
    let mock = web::Data::new(Mock { tenant, faults });
    let app = move || App::new().app_data(mock.clone()).configure(routes);
    Ok(HttpServer::new(app).workers(workers.max(1)).tcp_nodelay(true).disable_signals().listen(listener)?.run())
}

/// Serves the mock until `shutdown` ends, then lets calls in flight finish (at most 1 s).
pub async fn run(
    tenant: MockTenant,
    listener: TcpListener,
    workers: usize,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let server = serve(tenant, Arc::new(Faults::default()), listener, workers)?;
    let handle = server.handle();
    let mut running = std::pin::pin!(server);
    tokio::select! {
        ended = &mut running => return ended,
        () = shutdown => {}
    }
    let (ended, ()) = futures_util::future::join(running, async {
        let _ = tokio::time::timeout(Duration::from_secs(1), handle.stop(true)).await;
        handle.stop(false).await;
    })
    .await;
    ended
}

fn routes(config: &mut web::ServiceConfig) {
    config.app_data(web::PayloadConfig::new(MAX_REQUEST_BYTES));
    for op in HookOp::ALL {
        let handler = move |mock: web::Data<Mock>, body: web::Bytes| async move { answer(&mock, op, &body).await };
        config.service(web::resource(hooks::path(op)).route(web::post().to(handler)));
    }
    config.route("/", web::get().to(|| async { "MICS HookMock" }));
    config.route("/healthz", web::get().to(|| async { "ok" }));
    config.route("/readyz", web::get().to(|| async { "ok" }));
    config.route("/_mock/faults", web::post().to(set_faults));
}

async fn answer(mock: &Mock, op: HookOp, body: &[u8]) -> HttpResponse {
    let fault = mock.faults.of(op);
    if fault.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    if let Some(status) = StatusCode::from_u16(fault.status).ok().filter(|_| fault.status != 0) {
        return HttpResponse::new(status);
    }
    let bytes = if fault.garbage { GARBAGE.to_vec() } else { mock.tenant.answer(op, body, fault.deny) };
    HttpResponse::Ok().content_type(hooks::CONTENT_TYPE).body(bytes)
}

async fn set_faults(mock: web::Data<Mock>, faults: web::Json<BTreeMap<String, Fault>>) -> HttpResponse {
    match mock.faults.set(faults.into_inner()) {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(name) => HttpResponse::BadRequest().body(format!("unknown operation {name}")),
    }
}
