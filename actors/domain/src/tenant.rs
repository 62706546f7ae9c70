//! What a tenant's own back end decides about itself (the answer of /auth), with defaults and clamps applied.

use std::sync::Arc;

use crate::policy::HookOverrides;

/// A key that must never reach a log or a metric.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Arc<str>);

impl Secret {
    pub fn new(text: &str) -> Self {
        Secret(text.into())
    }

    /// The key, or `None` when blank (empty or white space): then nothing is signed.
    pub fn key(&self) -> Option<&[u8]> {
        (!crate::ids::is_blank(&self.0)).then_some(self.0.as_bytes())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Runtime configuration of a tenant, lives as long as a session. Limits of 0 mean "no limit".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantConfig {
    /// Base of the hooks other than /auth; the auth URL when the tenant sent none.
    pub hook_base_url: String,
    pub heartbeat_timeout_ms: u64,
    pub offline_ttl_ms: u64,
    pub tenant_max_connections: u32,
    pub user_max_connections: u32,
    pub tenant_max_message_qps: u32,
    pub secret: Secret,
    pub hooks: HookOverrides,
    pub offline_use_hook_pull: bool,
    /// How long a group's members are believed without asking; 0 = asked for every message.
    pub group_cache_ttl_ms: u64,
    /// Members per page that are asked for; 0 = all at once.
    pub group_page_size: u32,
}

impl TenantConfig {
    pub const DEFAULT_HEARTBEAT_SECONDS: i32 = 30;
    pub const DEFAULT_OFFLINE_TTL_SECONDS: i32 = 300;
    /// Smaller pages cost more calls than they save memory.
    pub const MIN_GROUP_PAGE: u32 = 200;
    pub const MAX_GROUP_PAGE: u32 = 50_000;

    /// How long a session's entry in the directory lives unless renewed.
    pub fn lease_ms(&self) -> u64 {
        (2 * self.heartbeat_timeout_ms).max(30_000)
    }

    /// Seconds as the hook sent them; 0 and less mean the default.
    pub fn seconds_or(seconds: i32, default: i32) -> u64 {
        u64::try_from(if seconds > 0 { seconds } else { default }).unwrap_or(0) * 1000
    }

    /// A limit as the hook sent it; 0 and less mean "no limit" (0).
    pub fn limit(value: i32) -> u32 {
        u32::try_from(value).unwrap_or(0)
    }

    /// A page size as the hook sent it, within the bounds; 0 and less mean "no pages" (0).
    pub fn group_page(value: i32) -> u32 {
        match TenantConfig::limit(value) {
            0 => 0,
            size => size.clamp(TenantConfig::MIN_GROUP_PAGE, TenantConfig::MAX_GROUP_PAGE),
        }
    }
}
