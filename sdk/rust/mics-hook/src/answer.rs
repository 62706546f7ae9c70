//! The usual answers to a gateway, in one line each.

use mics_proto::hook::{AuthResponse, CheckMessageResponse, GetGroupMembersResponse, TenantRuntimeConfig};

/// Lets `user_id` in. `config` needs at least `hook_base_url` and `tenant_secret`: without the one the gateway asks
/// nothing further, without the other it signs nothing.
pub fn accept(user_id: impl Into<String>, config: TenantRuntimeConfig) -> AuthResponse {
    AuthResponse { ok: true, user_id: user_id.into(), config: Some(config), ..Default::default() }
}

/// Refuses a connection; the client is closed with 4001 and this reason (at most 123 bytes of it).
pub fn refuse(reason: impl Into<String>) -> AuthResponse {
    AuthResponse { reason: reason.into(), ..Default::default() }
}

/// Lets a message pass.
pub fn allow() -> CheckMessageResponse {
    CheckMessageResponse { allow: true, ..Default::default() }
}

/// Refuses a message; the sender's ack is FAILED with this reason.
pub fn deny(reason: impl Into<String>) -> CheckMessageResponse {
    CheckMessageResponse { reason: reason.into(), ..Default::default() }
}

/// The members of a group, all at once.
pub fn members<U: Into<String>>(user_ids: impl IntoIterator<Item = U>) -> GetGroupMembersResponse {
    GetGroupMembersResponse { user_ids: user_ids.into_iter().map(Into::into).collect(), ..Default::default() }
}
