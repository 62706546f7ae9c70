//! What the mock tenant answers. Pure: request in, response out; no I/O, no clock, no faults.

use std::collections::BTreeMap;

use mics_domain::ids::is_blank;
use mics_domain::policy::HookOp;
use mics_proto::hook;
use mics_proto::prost::Message;
use serde::Deserialize;

use crate::hooks::sign::{self, HookRequest};

const MAX_BODY_BYTES: usize = 65_536;
/// Largest generated group, that of the gateway's default limit.
const MAX_RANGE: usize = 200_000;

pub const UNKNOWN_TENANT: &str = "unknown tenant";
pub const INVALID_SIGN: &str = "invalid sign";
pub const INVALID_TOKEN: &str = "invalid token";
pub const BAD_BODY: &str = "empty or too large message body";
pub const DENIED: &str = "denied by mock";

/// Optional fields of the config that /auth answers. Not positive concurrency, threshold, page size and cache time, and
/// other times that are negative, count as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MockPolicy {
    pub hook_max_concurrency: Option<i32>,
    pub hook_queue_timeout_ms: Option<i32>,
    pub hook_breaker_failure_threshold: Option<i32>,
    pub hook_breaker_open_ms: Option<i32>,
    pub hook_sign_required: Option<bool>,
    pub group_page_size: Option<i32>,
    pub group_cache_ttl_seconds: Option<i32>,
}

/// What the mock knows.
#[derive(Debug, Clone)]
pub struct MockSettings {
    /// Tenant -> key of its signatures; others are unknown.
    pub tenant_secrets: BTreeMap<String, String>,
    pub hook_base_url: String,
    /// Group -> users. Besides, `range-<n>` is the group of u1..u<n>.
    pub group_members: BTreeMap<String, Vec<String>>,
    pub offline_use_hook_pull: bool,
    pub tenant_policies: BTreeMap<String, MockPolicy>,
    /// For what a tenant's own policy leaves open; its `hook_sign_required` also makes the mock demand signatures.
    pub policy: MockPolicy,
}

impl Default for MockSettings {
    fn default() -> Self {
        let users = ["u1", "u2", "u3"].map(str::to_owned).to_vec();
        MockSettings {
            tenant_secrets: BTreeMap::from([("t1".into(), "dev-secret-t1".into())]),
            hook_base_url: "http://localhost:8081".into(),
            group_members: BTreeMap::from([("group-1".into(), users)]),
            offline_use_hook_pull: false,
            tenant_policies: BTreeMap::new(),
            policy: MockPolicy::default(),
        }
    }
}

impl From<crate::config::HookPolicy> for MockPolicy {
    fn from(policy: crate::config::HookPolicy) -> Self {
        MockPolicy {
            hook_max_concurrency: policy.hook_max_concurrency,
            hook_queue_timeout_ms: policy.hook_queue_timeout_ms,
            hook_breaker_failure_threshold: policy.hook_breaker_failure_threshold,
            hook_breaker_open_ms: policy.hook_breaker_open_ms,
            hook_sign_required: policy.hook_sign_required,
            group_page_size: policy.group_page_size,
            group_cache_ttl_seconds: policy.group_cache_ttl_seconds,
        }
    }
}

impl From<crate::config::HookMockConfig> for MockSettings {
    fn from(config: crate::config::HookMockConfig) -> Self {
        let secrets = config.hook_tenant_secrets.into_iter();
        MockSettings {
            tenant_secrets: secrets.map(|(tenant, secret)| (tenant, secret.expose().to_owned())).collect(),
            hook_base_url: config.hook_base_url,
            group_members: config.hook_group_members,
            offline_use_hook_pull: config.offline_use_hook_pull,
            tenant_policies: config.hook_tenant_policies.into_iter().map(|(id, policy)| (id, policy.into())).collect(),
            policy: config.policy.into(),
        }
    }
}

/// The mock tenant's back end.
#[derive(Debug, Default)]
pub struct MockTenant {
    settings: MockSettings,
}

impl MockTenant {
    pub fn new(settings: MockSettings) -> Self {
        MockTenant { settings }
    }

    /// Response bytes to a request as received. A body that is no request is one of no tenant. `deny` makes a request
    /// that passed the checks get a "no".
    pub fn answer(&self, op: HookOp, body: &[u8], deny: bool) -> Vec<u8> {
        match op {
            HookOp::Auth => self.auth(body, deny).encode_to_vec(),
            HookOp::CheckMessage => self.check_message(body, deny).encode_to_vec(),
            HookOp::GetGroupMembers => self.group_members(body, deny).encode_to_vec(),
            HookOp::GetOfflineMessages => self.offline_messages(body, deny).encode_to_vec(),
        }
    }

    fn auth(&self, body: &[u8], deny: bool) -> hook::AuthResponse {
        let (request, admitted) = self.admit::<hook::AuthRequest>(body, deny);
        let user = request.token.strip_prefix("valid:").filter(|user| !is_blank(user));
        let verdict = admitted.and_then(|secret| Ok((secret, user.ok_or(INVALID_TOKEN)?)));
        let meta = echo(request.meta.as_ref());
        match verdict {
            Err(reason) => hook::AuthResponse { meta, reason: reason.into(), ..Default::default() },
            Ok((secret, user)) => hook::AuthResponse {
                ok: true,
                user_id: user.to_owned(),
                config: Some(self.config(meta.as_ref().map_or("", |m| &m.tenant_id), secret)),
                device_id: request.device_id,
                meta,
                reason: String::new(),
            },
        }
    }

    fn check_message(&self, body: &[u8], deny: bool) -> hook::CheckMessageResponse {
        let (request, admitted) = self.admit::<hook::CheckMessageRequest>(body, deny);
        let bytes = request.message.map_or(0, |message| message.msg_body.len());
        let verdict = admitted.and_then(|_| if (1..=MAX_BODY_BYTES).contains(&bytes) { Ok(()) } else { Err(BAD_BODY) });
        hook::CheckMessageResponse {
            meta: echo(request.meta.as_ref()),
            allow: verdict.is_ok(),
            reason: verdict.err().unwrap_or_default().into(),
        }
    }

    fn group_members(&self, body: &[u8], deny: bool) -> hook::GetGroupMembersResponse {
        let (request, admitted) = self.admit::<hook::GetGroupMembersRequest>(body, deny);
        let meta = echo(request.meta.as_ref());
        if admitted.is_err() {
            return hook::GetGroupMembersResponse { meta, ..Default::default() };
        }
        // Groups do not change here: their size says all.
        let total = self.group_size(&request.group_id);
        let version = total.to_string();
        if request.known_version == version {
            return hook::GetGroupMembersResponse { meta, version, not_modified: true, ..Default::default() };
        }
        let start = request.cursor.parse().unwrap_or(0).min(total);
        let wanted = usize::try_from(request.max_members).ok().filter(|wanted| *wanted > 0).unwrap_or(total);
        let end = total.min(start.saturating_add(wanted));
        let next_cursor = if end < total { end.to_string() } else { String::new() };
        let user_ids = self.members(&request.group_id, start, end);
        hook::GetGroupMembersResponse { meta, user_ids, next_cursor, version, not_modified: false }
    }

    fn offline_messages(&self, body: &[u8], deny: bool) -> hook::GetOfflineMessagesResponse {
        let (request, admitted) = self.admit::<hook::GetOfflineMessagesRequest>(body, deny);
        hook::GetOfflineMessagesResponse {
            meta: echo(request.meta.as_ref()),
            ok: admitted.is_ok(),
            reason: admitted.err().unwrap_or_default().into(),
            ..Default::default()
        }
    }

    /// The request, and the tenant's secret or why it is refused: tenant first, then signature.
    fn admit<R: HookRequest>(&self, body: &[u8], deny: bool) -> (R, Result<&str, &'static str>) {
        let request = R::decode(body).unwrap_or_default();
        let admitted = self.secret_of(body, request.meta()).and_then(|s| if deny { Err(DENIED) } else { Ok(s) });
        (request, admitted)
    }

    fn secret_of(&self, body: &[u8], meta: Option<&hook::HookMeta>) -> Result<&str, &'static str> {
        let meta = meta.ok_or(UNKNOWN_TENANT)?;
        let secret = self.settings.tenant_secrets.get(&meta.tenant_id).ok_or(UNKNOWN_TENANT)?;
        let required = self.settings.policy.hook_sign_required == Some(true);
        let fine = if is_blank(&meta.sign) { !required } else { sign::verify_request(secret.as_bytes(), body, meta) };
        if fine { Ok(secret) } else { Err(INVALID_SIGN) }
    }

    fn group_size(&self, group: &str) -> usize {
        if let Some(users) = self.settings.group_members.get(group) {
            return users.len();
        }
        group.strip_prefix("range-").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0).min(MAX_RANGE)
    }

    /// Members `start` to `end` of a group that has as many.
    fn members(&self, group: &str, start: usize, end: usize) -> Vec<String> {
        match self.settings.group_members.get(group) {
            Some(users) => users[start..end].to_vec(),
            None => (start + 1..=end).map(|n| format!("u{n}")).collect(),
        }
    }

    fn config(&self, tenant: &str, secret: &str) -> hook::TenantRuntimeConfig {
        let none = MockPolicy::default();
        let (own, all) = (self.settings.tenant_policies.get(tenant).unwrap_or(&none), &self.settings.policy);
        let positive = |own: Option<i32>, all: Option<i32>| own.filter(|v| *v > 0).or(all.filter(|v| *v > 0));
        let time = |own: Option<i32>, all: Option<i32>| own.filter(|v| *v >= 0).or(all.filter(|v| *v >= 0));
        hook::TenantRuntimeConfig {
            hook_base_url: self.settings.hook_base_url.clone(),
            heartbeat_timeout_seconds: 30,
            offline_buffer_ttl_seconds: 300,
            tenant_max_connections: 100_000,
            user_max_connections: 8,
            tenant_max_message_qps: 10_000,
            tenant_secret: secret.to_owned(),
            hook_max_concurrency: positive(own.hook_max_concurrency, all.hook_max_concurrency),
            hook_queue_timeout_ms: time(own.hook_queue_timeout_ms, all.hook_queue_timeout_ms),
            hook_breaker_failure_threshold: positive(
                own.hook_breaker_failure_threshold,
                all.hook_breaker_failure_threshold,
            ),
            hook_breaker_open_ms: time(own.hook_breaker_open_ms, all.hook_breaker_open_ms),
            hook_sign_required: own.hook_sign_required.or(all.hook_sign_required),
            offline_use_hook_pull: Some(self.settings.offline_use_hook_pull),
            group_cache_ttl_seconds: positive(own.group_cache_ttl_seconds, all.group_cache_ttl_seconds),
            group_page_size: positive(own.group_page_size, all.group_page_size),
        }
    }
}

/// The request's meta without its trace id.
fn echo(meta: Option<&hook::HookMeta>) -> Option<hook::HookMeta> {
    meta.map(|meta| hook::HookMeta { trace_id: String::new(), ..meta.clone() })
}
