//! The four questions of a gateway, as a trait.

use std::future::Future;

use mics_proto::hook::{
    AuthRequest, AuthResponse, CheckMessageRequest, CheckMessageResponse, GetGroupMembersRequest,
    GetGroupMembersResponse, GetOfflineMessagesRequest, GetOfflineMessagesResponse,
};

use crate::{BoxError, answer};

/// Answers for all tenants of this back end; `meta.tenant_id` says which one. Requests come verified. A response without
/// `meta` gets the request's. An error or a panic is logged and answered with HTTP 500, a handler that exceeds the time
/// budget with 503; for `check_message` both are refusals (`handler error`, `handler timeout`).
pub trait HookHandler: Send + Sync + 'static {
    /// Who connects? Must give a user and a config ([`answer::accept`]), or refuse ([`answer::refuse`]). A client gives a
    /// refused token up; after an error it tries the same one again.
    fn auth(&self, request: AuthRequest) -> impl Future<Output = Result<AuthResponse, BoxError>> + Send;

    /// May this message be sent? Allowed unless implemented.
    fn check_message(
        &self,
        request: CheckMessageRequest,
    ) -> impl Future<Output = Result<CheckMessageResponse, BoxError>> + Send {
        drop(request);
        std::future::ready(Ok(answer::allow()))
    }

    /// Who is in this group? Nobody unless implemented.
    fn get_group_members(
        &self,
        request: GetGroupMembersRequest,
    ) -> impl Future<Output = Result<GetGroupMembersResponse, BoxError>> + Send {
        drop(request);
        std::future::ready(Ok(answer::members(Vec::<String>::new())))
    }

    /// What was kept for this user? Nothing unless implemented. Asked only when the config of `auth` says
    /// `offline_use_hook_pull`.
    fn get_offline_messages(
        &self,
        request: GetOfflineMessagesRequest,
    ) -> impl Future<Output = Result<GetOfflineMessagesResponse, BoxError>> + Send {
        drop(request);
        std::future::ready(Ok(GetOfflineMessagesResponse { ok: true, ..Default::default() }))
    }
}
