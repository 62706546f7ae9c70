//! The admin API on ADMIN_PORT: what operators and tenants may see of a running cluster and do to it. It asks nodes and
//! actors through their handles and ports; a message published here goes the way of every message. Described by
//! `openapi.json`, which it serves, and in `docs/ops/admin.md`.

mod access;
mod answers;
mod cluster;
mod nonces;
mod overview;
pub mod page;
mod problem;
mod routes;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{Error, HttpRequest, HttpResponse};
use bytes::Bytes;
use mics_actors::node::{Node, clock_ms};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use access::{FRESH_MS, Signed, signature, signed_text};
pub use problem::CODES;

use crate::reload::Reloader;
use access::{Access, Asker, Caller};
use overview::Overview;
use problem::{Code, Problem};
use routes::{Endpoint, Ids, Op, Who};

/// The description that the API serves of itself.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How long a request's body may take.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Room in a body for everything but the message.
const BODY_OVERHEAD: usize = 64 << 10;
/// KiB of bodies in memory at once before it is known who sent them: anybody can.
const STRANGERS_KIB: usize = 64 << 10;
/// Refusals are logged at most this often, with their number.
const REFUSALS_EVERY_MS: u64 = 5_000;

#[derive(Debug, Clone)]
pub struct AdminSettings {
    /// `None` = open to the loopback.
    pub token: Option<String>,
    /// Whom published messages come from.
    pub system_user: String,
    /// Largest message.
    pub max_body_bytes: usize,
}

impl AdminSettings {
    /// Largest request body. Of those with a message, which may be escaped or in base64.
    fn max_request_bytes(&self, op: Op) -> usize {
        match op {
            Op::Publish => 2 * self.max_body_bytes + BODY_OVERHEAD,
            _ => BODY_OVERHEAD,
        }
    }
}

/// What the API works with.
pub struct Admin {
    settings: AdminSettings,
    node: Arc<Node>,
    reloader: Arc<Reloader>,
    access: Access,
    overview: Arc<Overview>,
    /// Room for bodies, in KiB.
    strangers: Semaphore,
    refused: AtomicU64,
    refused_logged_ms: AtomicU64,
}

/// A handled request, before it is written.
struct Answer {
    response: HttpResponse,
    /// For the audit log.
    detail: String,
}

impl Answer {
    fn json(value: &Value) -> Answer {
        Answer { response: HttpResponse::Ok().json(value), detail: String::new() }
    }
}

impl Admin {
    pub fn new(settings: AdminSettings, node: Arc<Node>, reloader: Arc<Reloader>) -> Arc<Self> {
        let access = Access::new(settings.token.clone(), node.clone());
        let (overview, refused, refused_logged_ms) =
            (Overview::new(node.clone()), Default::default(), Default::default());
        let strangers = Semaphore::new(STRANGERS_KIB.max(settings.max_request_bytes(Op::Publish).div_ceil(1024)));
        Arc::new(Admin { settings, node, reloader, access, overview, strangers, refused, refused_logged_ms })
    }

    /// Somebody was turned away. Anybody can ask: a line per refusal would be a way to fill the disk.
    fn refused(&self, request: &HttpRequest, problem: &Problem) {
        let total = self.refused.fetch_add(1, Relaxed) + 1;
        let (now, last) = (clock_ms(), self.refused_logged_ms.load(Relaxed));
        if now >= last + REFUSALS_EVERY_MS {
            self.refused_logged_ms.store(now, Relaxed);
            let (peer, code) = (request.peer_addr(), problem.code.name());
            tracing::warn!(target: "mics::audit", ?peer, code, total, "admin_refused");
        }
    }
}

/// Adds the API's routes.
pub fn routes(config: &mut ServiceConfig, admin: Arc<Admin>) {
    config.app_data(Data::from(admin));
    config.service(web::resource("/admin/{rest:.*}").to(serve));
}

/// Keeps the debug views of the operators' port for those who may use the API.
pub async fn guard_debug_views<B: MessageBody + 'static>(
    admin: Data<Admin>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    // The path as routes see it: percent-encoded letters are the letters.
    if request.match_info().as_str().starts_with("/debug/") {
        let refusal = match admin.access.asker(request.request()) {
            Ok(Asker::Known(_)) => None,
            Ok(Asker::Claims(_)) => Some(Problem::new(Code::Forbidden, "these views are for the operator")),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = refusal {
            admin.refused(request.request(), &problem);
            return Ok(request.into_response(problem.response()).map_into_right_body());
        }
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

async fn serve(admin: Data<Admin>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let mut response = match handle(&admin, &request, payload).await {
        Ok(response) => response,
        Err(problem) => problem.response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, actix_web::http::header::HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, actix_web::http::header::HeaderValue::from_static("nosniff"));
    response
}

async fn handle(admin: &Data<Admin>, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Problem> {
    let (endpoint, ids) = routes::find(request.method().as_str(), request.uri().path())?;
    if endpoint.who == Who::Anyone {
        return answer(admin, endpoint, &ids, request, Bytes::new()).await.map(|answer| answer.response);
    }
    let turned_away = |problem: Problem| {
        admin.refused(request, &problem);
        problem
    };
    let asker = admin.access.asker(request).map_err(turned_away)?;
    let (known, most) = (matches!(asker, Asker::Known(_)), admin.settings.max_request_bytes(endpoint.op));
    let (body, _room) = body(admin, request, payload, most, known).await?;
    let caller = match asker {
        Asker::Known(caller) => caller,
        Asker::Claims(claims) => admin.access.signer(claims, request, &body).await.map_err(turned_away)?,
    };
    may(&caller, endpoint, &ids).map_err(turned_away)?;
    let outcome = json_only(request, &body).map(|()| answer(admin, endpoint, &ids, request, body));
    let outcome = match outcome {
        Ok(answering) => answering.await,
        Err(problem) => Err(problem),
    };
    if let Some(action) = endpoint.audit {
        audit(action, &caller, request, &ids, &outcome);
    }
    outcome.map(|answer| answer.response)
}

/// A tenant reaches nothing but its own.
fn may(caller: &Caller, endpoint: &Endpoint, ids: &Ids) -> Result<(), Problem> {
    match caller {
        Caller::Operator | Caller::Loopback => Ok(()),
        Caller::Tenant(tenant) if endpoint.who == Who::Tenant && **tenant == *ids.tenant => Ok(()),
        Caller::Tenant(tenant) => {
            Err(Problem::new(Code::Forbidden, format!("signed by tenant {tenant}, which may ask for its own only")))
        }
    }
}

/// With the room that it takes, unless its sender is known already.
async fn body<'a>(
    admin: &'a Admin,
    request: &HttpRequest,
    payload: Payload,
    most: usize,
    known: bool,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), Problem> {
    let refused = |why: &str| Problem::new(Code::BodyTooLarge, why);
    let reading = async {
        let room = match known {
            true => None,
            false => admin.strangers.acquire_many(announced_kib(request.headers(), most)).await.ok(),
        };
        (payload.to_bytes_limited(most).await, room)
    };
    let read = tokio::time::timeout(BODY_TIME, reading).await;
    let (read, room) = read.map_err(|_| refused("the body took longer than 10 s"))?;
    let read = read.map_err(|_| refused("the body is larger than what this call takes"))?;
    Ok((read.map_err(|error| Problem::new(Code::BadRequest, error.to_string()))?, room))
}

/// KiB of the body that these headers announce; one without a length may be of `most` bytes.
fn announced_kib(headers: &HeaderMap, most: usize) -> u32 {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let unknown = if headers.contains_key(TRANSFER_ENCODING) { most } else { 0 };
    length.unwrap_or(unknown).min(most).div_ceil(1024) as u32
}

fn json_only(request: &HttpRequest, body: &Bytes) -> Result<(), Problem> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_json = kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
    if body.is_empty() || is_json {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, "send application/json"))
}

/// Who did what with which result. No bodies, no tokens.
fn audit(action: &str, caller: &Caller, request: &HttpRequest, ids: &Ids, outcome: &Result<Answer, Problem>) {
    let (result, detail) = match outcome {
        Ok(answer) => ("ok", answer.detail.as_str()),
        Err(problem) => (problem.code.name(), problem.message.as_str()),
    };
    let (who, peer) = (caller.name(), request.peer_addr().map(|peer| peer.to_string()).unwrap_or_default());
    tracing::info!(
        target: "mics::audit",
        action, who, peer, tenant = %ids.tenant, user = %ids.user, result, detail, "admin_action"
    );
}

async fn answer(
    admin: &Data<Admin>,
    endpoint: &Endpoint,
    ids: &Ids,
    request: &HttpRequest,
    body: Bytes,
) -> Result<Answer, Problem> {
    match endpoint.op {
        Op::OpenApi => {
            let response = HttpResponse::Ok().content_type("application/json").body(OPENAPI);
            Ok(Answer { response, detail: String::new() })
        }
        Op::Nodes => Ok(answers::nodes(admin).await),
        Op::Tenants => answers::tenants(admin, request.query_string()).await,
        Op::Tenant => answers::tenant(admin, ids).await,
        Op::Presence => answers::presence(admin, ids).await,
        Op::Kick => answers::kick(admin, ids, &body).await,
        Op::Publish => answers::publish(admin, ids, &body).await,
        Op::Drain => Ok(answers::drain(admin)),
        Op::Reload => answers::reload(admin).await,
        Op::Overview => Ok(Answer::json(&admin.overview.snapshot().await)),
        Op::OverviewStream => answers::overview_stream(admin),
        Op::Actors => Ok(answers::actors(admin).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    #[test]
    fn a_body_takes_the_room_that_its_headers_announce() {
        let kib = |name, value| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            announced_kib(&headers, 10 << 10)
        };
        assert_eq!(announced_kib(&HeaderMap::new(), 10 << 10), 0, "it has no body");
        assert_eq!(kib(CONTENT_LENGTH, "0"), 0);
        assert_eq!(kib(CONTENT_LENGTH, "1025"), 2);
        assert_eq!(kib(CONTENT_LENGTH, "99999999999"), 10, "more is not read");
        assert_eq!(kib(TRANSFER_ENCODING, "chunked"), 10);
    }
}
