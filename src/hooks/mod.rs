//! Asking the tenant's back end: the `Hooks` port over any transport, HTTP above all. Must not decide anything: no
//! retry, no degrading, no permit, no breaker.

pub mod client;
pub mod codec;
mod connect;
pub mod sign;

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use mics_actors::encode;
use mics_domain::message::Message;
use mics_domain::policy::{HookFailure, HookOp};
use mics_domain::ports::{
    AuthAnswer, CheckAnswer, HookTarget, Hooks, LocalFuture, MembersPage, MembersQuestion, OfflinePage,
};
use mics_proto::hook::{AuthRequest, CheckMessageRequest, HookMeta};

/// Budget of one call, from its start to the end of the response's body.
pub const HOOK_BUDGET: Duration = Duration::from_millis(150);

/// Path of an operation below its base URL, with the leading slash.
pub fn path(op: HookOp) -> &'static str {
    match op {
        HookOp::Auth => "/auth",
        HookOp::CheckMessage => "/check-message",
        HookOp::GetGroupMembers => "/get-group-members",
        HookOp::GetOfflineMessages => "/get-offline-messages",
    }
}

/// Media type of every hook request and response, without parameters: some verifiers refuse any.
pub const CONTENT_TYPE: &str = "application/protobuf";

/// Carries one request to a back end and its response back.
pub trait Transport: Send + Sync {
    /// The response's body to a signed request.
    fn exchange(&self, op: HookOp, to: &HookTarget, body: Vec<u8>) -> impl Future<Output = Result<Bytes, HookFailure>>;
}

/// The `Hooks` port over a transport: builds, signs and reads, within the budget.
#[derive(Debug, Clone)]
pub struct HookPort<T> {
    transport: T,
    budget: Duration,
}

impl<T: Transport> HookPort<T> {
    pub fn over(transport: T, budget: Duration) -> Self {
        HookPort { transport, budget }
    }

    async fn call<R: sign::HookRequest>(
        &self,
        op: HookOp,
        to: &HookTarget,
        build: impl FnOnce(HookMeta) -> R,
    ) -> Result<Bytes, HookFailure> {
        let exchange = async {
            let meta = codec::meta(to, uuid::Uuid::new_v4().simple().to_string(), now_ms());
            let body = sign::signed_bytes(build(meta), &to.secret);
            self.transport.exchange(op, to, body).await
        };
        tokio::time::timeout(self.budget, exchange).await.unwrap_or(Err(HookFailure::Timeout))
    }
}

impl<T: Transport> Hooks for HookPort<T> {
    fn auth<'a>(
        &'a self,
        to: &'a HookTarget,
        token: &'a str,
        device: &'a str,
    ) -> LocalFuture<'a, Result<AuthAnswer, HookFailure>> {
        Box::pin(async move {
            let build = |meta| AuthRequest { meta: Some(meta), token: token.to_owned(), device_id: device.to_owned() };
            codec::auth_answer(self.call(HookOp::Auth, to, build).await?, &to.base_url)
        })
    }

    fn check_message<'a>(
        &'a self,
        to: &'a HookTarget,
        message: &'a Message,
    ) -> LocalFuture<'a, Result<CheckAnswer, HookFailure>> {
        Box::pin(async move {
            let build = |meta| CheckMessageRequest { meta: Some(meta), message: Some(encode::request(message)) };
            codec::check_answer(self.call(HookOp::CheckMessage, to, build).await?)
        })
    }

    fn group_members<'a>(
        &'a self,
        to: &'a HookTarget,
        question: &'a MembersQuestion,
    ) -> LocalFuture<'a, Result<MembersPage, HookFailure>> {
        Box::pin(async move {
            let build = |meta| codec::members_request(meta, question);
            codec::members_page(self.call(HookOp::GetGroupMembers, to, build).await?)
        })
    }

    fn offline_messages<'a>(
        &'a self,
        to: &'a HookTarget,
        user: &'a str,
        device: &'a str,
        max_messages: u32,
        cursor: &'a str,
    ) -> LocalFuture<'a, Result<OfflinePage, HookFailure>> {
        Box::pin(async move {
            let build = |meta| codec::offline_request(meta, user, device, max_messages, cursor);
            codec::offline_page(self.call(HookOp::GetOfflineMessages, to, build).await?)
        })
    }
}

/// The gateway's clock, Unix ms.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
