//! What a back end chooses: secrets, and the limits within which calls are taken. Only data.

use std::sync::Arc;
use std::time::Duration;

/// Gives the secret of a tenant.
pub type SecretOf = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How calls are checked. [`HookOptions::new`] gives the defaults that are named at each field.
#[derive(Clone)]
pub struct HookOptions {
    /// The secret of a tenant; none, or a blank one, for tenants that are not known.
    pub secret_of: SecretOf,
    /// Refuse unsigned requests. A signature that is there must be right in any case. true.
    pub require_sign: bool,
    /// How far the time of a signed request may be from the clock here, in both directions. 60 s.
    pub freshness: Duration,
    /// Signed requests remembered in order to refuse a second one with the same id; the oldest are forgotten first.
    /// 500 000, about 20 MB when full.
    pub replay_capacity: usize,
    /// Longest body that is read; a longer one is answered 413. 2 MiB: the gateway's default limit of a message is 1 MiB.
    pub max_body_bytes: usize,
    /// Time for a handler. The gateway gives up after 150 ms. 130 ms.
    pub time_budget: Duration,
}

impl HookOptions {
    /// Everything by default, with the secrets that this function gives.
    pub fn new(secret_of: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            secret_of: Arc::new(secret_of),
            require_sign: true,
            freshness: Duration::from_secs(60),
            replay_capacity: 500_000,
            max_body_bytes: 2 << 20,
            time_budget: Duration::from_millis(130),
        }
    }
}
