//! The numbers that the runtime obeys, read from the configuration at the edge. Must not read the environment.

use std::collections::BTreeMap;
use std::time::Duration;

use mics_domain::offline::OfflineLimits;
use mics_domain::policy::HookDefaults;
use mics_domain::tenant::Secret;

/// Limits of the node; sizes in bytes, 0 = as each field says.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node_id: String,
    /// Where other nodes reach this one, e.g. `http://10.0.0.7:8080`.
    pub endpoint: String,
    /// 0 = unlimited.
    pub max_message_bytes: usize,
    pub outbox_max_bytes: usize,
    pub pipeline_window: usize,
    pub max_connections: usize,
    pub max_pending_handshakes: usize,
    pub dedup_max_records: usize,
    /// Nodes share which messages were sent, through the directory.
    pub dedup_shared: bool,
    /// Unsolicited pongs; zero = none.
    pub keepalive: Duration,
    pub offline: OfflineLimits,
    pub group_chunk: usize,
    /// 0 = no buffering for groups.
    pub group_offline_max_users: usize,
    pub group_max_members: usize,
    /// How long a route is believed without asking; zero = off.
    pub route_cache_ttl: Duration,
    /// 0 = off.
    pub route_cache_bytes: u64,
    pub withdrawal: Withdrawal,
    pub hooks: HookDefaults,
    pub drain_timeout: Duration,
    pub tenants: BTreeMap<String, TenantSettings>,
}

/// How hard a route is withdrawn that the directory would not let go.
#[derive(Debug, Clone, Copy)]
pub struct Withdrawal {
    /// Most routes that wait for another attempt; what is more expires by itself.
    pub capacity: usize,
    /// Further attempts.
    pub attempts: u32,
    pub backoff: Duration,
}

impl Default for Withdrawal {
    fn default() -> Self {
        Withdrawal { capacity: 50_000, attempts: 3, backoff: Duration::from_millis(50) }
    }
}

/// What the operator says about a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSettings {
    /// Base of /auth.
    pub auth_url: String,
    /// Key that signs /auth.
    pub secret: Secret,
    pub hook_max_concurrency: Option<i32>,
    pub deny_when_degraded: bool,
}

impl TenantSettings {
    /// Names of the settings that differ.
    pub fn differences(&self, other: &TenantSettings) -> Vec<&'static str> {
        let TenantSettings { auth_url, secret, hook_max_concurrency, deny_when_degraded } = self;
        let fields = [
            ("auth_url", *auth_url != other.auth_url),
            ("secret", *secret != other.secret),
            ("hook_max_concurrency", *hook_max_concurrency != other.hook_max_concurrency),
            ("deny_when_degraded", *deny_when_degraded != other.deny_when_degraded),
        ];
        fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// A message may be this much larger than its body: identity, ids, framing.
pub const FRAME_OVERHEAD: usize = 65_536;
/// Cap on one WebSocket message when MAX_MESSAGE_BYTES is 0.
pub const HARD_FRAME_CAP: usize = 64 * 1024 * 1024;
/// How long a message id is remembered.
pub const DEDUP_WINDOW: Duration = Duration::from_secs(600);
/// How long a peer may take to answer a close before the socket is cut.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

impl Settings {
    /// Largest WebSocket message taken.
    pub fn max_frame_bytes(&self) -> usize {
        match self.max_message_bytes {
            0 => HARD_FRAME_CAP,
            body => body + FRAME_OVERHEAD,
        }
    }
}
