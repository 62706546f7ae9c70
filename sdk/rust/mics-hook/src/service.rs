//! From the bytes of a request to the bytes of its answer: limits, signature, freshness, replay, handler, in this order.
//! Knows no HTTP framework.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use mics_proto::hook::{
    AuthRequest, AuthResponse, CheckMessageRequest, CheckMessageResponse, GetGroupMembersRequest,
    GetGroupMembersResponse, GetOfflineMessagesRequest, GetOfflineMessagesResponse, HookMeta,
};
use mics_proto::prost::Message;

use crate::replay::ReplayCache;
use crate::{BoxError, HookHandler, HookOptions, sign};

/// What a gateway asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookOp {
    Auth,
    CheckMessage,
    GetGroupMembers,
    GetOfflineMessages,
}

impl HookOp {
    pub const ALL: [HookOp; 4] = [Self::Auth, Self::CheckMessage, Self::GetGroupMembers, Self::GetOfflineMessages];

    /// The path below the tenant's base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Auth => "/auth",
            Self::CheckMessage => "/check-message",
            Self::GetGroupMembers => "/get-group-members",
            Self::GetOfflineMessages => "/get-offline-messages",
        }
    }
}

/// The content type of requests and answers.
pub const CONTENT_TYPE: &str = "application/protobuf";

/// What to send back: an HTTP status, and a body of `application/protobuf` when it is 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl HookReply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, body: Vec::new() }
    }
}

/// A handler with the checks in front of it. One per process: it remembers which requests it has seen.
pub struct HookService<H> {
    handler: H,
    options: HookOptions,
    replays: ReplayCache,
}

impl<H: HookHandler> HookService<H> {
    pub fn new(handler: H, options: HookOptions) -> Self {
        // A request may be `freshness` ahead of this clock and stays fresh for twice as long.
        let keep_ms = i64::try_from(options.freshness.as_millis() * 2).unwrap_or(i64::MAX);
        Self { handler, replays: ReplayCache::new(options.replay_capacity, keep_ms), options }
    }

    pub fn options(&self) -> &HookOptions {
        &self.options
    }

    /// Answers a POST with this body. `content_type` is the request's, when it has one. Refusals are 200 with a reason;
    /// 400 for a body that is no protobuf, 413 and 415 for its size and type; 500 and 503 for a handler that failed or was
    /// late, unless it was to check a message.
    pub async fn call(&self, op: HookOp, content_type: Option<&str>, body: &[u8]) -> HookReply {
        if !content_type.is_none_or(is_protobuf) {
            return HookReply::status(415);
        }
        if body.len() > self.options.max_body_bytes {
            return HookReply::status(413);
        }
        match op {
            HookOp::Auth => self.run(op, body, |r| self.handler.auth(r)).await,
            HookOp::CheckMessage => self.run(op, body, |r| self.handler.check_message(r)).await,
            HookOp::GetGroupMembers => self.run(op, body, |r| self.handler.get_group_members(r)).await,
            HookOp::GetOfflineMessages => self.run(op, body, |r| self.handler.get_offline_messages(r)).await,
        }
    }

    async fn run<R, F>(&self, op: HookOp, body: &[u8], handle: impl FnOnce(R) -> F) -> HookReply
    where
        R: HookRequest,
        F: Future<Output = Result<R::Response, BoxError>>,
    {
        let Ok(request) = R::decode(body) else { return HookReply::status(400) };
        let meta = request.meta().cloned().unwrap_or_default();
        let mut response = match self.admit(&meta, body) {
            Ok(()) => match self.bounded(op, &meta, handle(request)).await {
                Ok(response) => response,
                // The gateway lets a message pass that could not be checked.
                Err(failure) if op == HookOp::CheckMessage => R::Response::refused(failure.reason()),
                // For the others it knows better than to take an outage for a bad token or an empty group.
                Err(failure) => return HookReply::status(failure.status()),
            },
            Err(reason) => {
                tracing::warn!(op = op.path(), tenant = %meta.tenant_id, request = %meta.request_id, reason, "hook request refused");
                R::Response::refused(reason)
            }
        };
        response.meta_mut().get_or_insert(meta);
        HookReply { status: 200, body: response.encode_to_vec() }
    }

    /// Whether a request may be answered: tenant, signature, time, repetition. The reason when not.
    fn admit(&self, meta: &HookMeta, body: &[u8]) -> Result<(), &'static str> {
        if meta.tenant_id.trim().is_empty() {
            return Err("invalid tenant");
        }
        let secret = (self.options.secret_of)(&meta.tenant_id).filter(|secret| !secret.trim().is_empty());
        let secret = secret.ok_or("unknown tenant")?;
        if meta.sign.is_empty() {
            return if self.options.require_sign { Err("invalid sign") } else { Ok(()) };
        }
        if !sign::verify_request(&secret, body, meta) {
            return Err("invalid sign");
        }
        let now = now_ms();
        if u128::from(now.abs_diff(meta.timestamp_ms)) > self.options.freshness.as_millis() {
            return Err("stale request");
        }
        if self.replays.admit(&meta.tenant_id, &meta.request_id, now) { Ok(()) } else { Err("replayed request") }
    }

    /// Runs a handler within the time budget; a panic is an error of the handler.
    async fn bounded<T>(
        &self,
        op: HookOp,
        meta: &HookMeta,
        handling: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, Failure> {
        let handling = AssertUnwindSafe(handling).catch_unwind();
        let (failure, error) = match tokio::time::timeout(self.options.time_budget, handling).await {
            Ok(Ok(Ok(response))) => return Ok(response),
            Ok(Ok(Err(error))) => (Failure::Error, error.to_string()),
            Ok(Err(_)) => (Failure::Error, "the handler panicked".to_owned()),
            Err(_) => (Failure::Late, "the time budget is used up".to_owned()),
        };
        tracing::error!(op = op.path(), tenant = %meta.tenant_id, trace = %meta.trace_id, error, "hook handler failed");
        Err(failure)
    }
}

/// How a handler failed.
enum Failure {
    Error,
    Late,
}

impl Failure {
    fn reason(&self) -> &'static str {
        match self {
            Self::Error => "handler error",
            Self::Late => "handler timeout",
        }
    }

    fn status(&self) -> u16 {
        match self {
            Self::Error => 500,
            Self::Late => 503,
        }
    }
}

fn is_protobuf(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.is_empty() || kind.eq_ignore_ascii_case(CONTENT_TYPE) || kind.eq_ignore_ascii_case("application/x-protobuf")
}

/// A request with its answer's type.
trait HookRequest: Message + Default {
    type Response: HookResponse;
    fn meta(&self) -> Option<&HookMeta>;
}

trait HookResponse: Message + Default {
    fn refused(reason: &str) -> Self;
    fn meta_mut(&mut self) -> &mut Option<HookMeta>;
}

macro_rules! hook_call {
    ($request:ident, $response:ident { $($refusal:tt)* }) => {
        impl HookRequest for $request {
            type Response = $response;
            fn meta(&self) -> Option<&HookMeta> {
                self.meta.as_ref()
            }
        }
        impl HookResponse for $response {
            $($refusal)*
            fn meta_mut(&mut self) -> &mut Option<HookMeta> {
                &mut self.meta
            }
        }
    };
}
hook_call!(AuthRequest, AuthResponse {
    fn refused(reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Default::default() }
    }
});
hook_call!(CheckMessageRequest, CheckMessageResponse {
    fn refused(reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Default::default() }
    }
});
hook_call!(GetGroupMembersRequest, GetGroupMembersResponse {
    fn refused(_: &str) -> Self {
        Self::default()
    }
});
hook_call!(GetOfflineMessagesRequest, GetOfflineMessagesResponse {
    fn refused(reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Default::default() }
    }
});

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
