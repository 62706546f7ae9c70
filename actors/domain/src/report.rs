//! What a node tells of itself and of its tenants, for operators. Figures only: no ids of users, no secrets.

use std::sync::Arc;

use crate::breaker::BreakerState;

/// Upper bounds in ms of the buckets in [`HookReport::buckets`]; a last one without a bound follows.
pub const LATENCY_BUCKETS_MS: [f64; 15] =
    [1., 2., 5., 10., 25., 50., 100., 150., 200., 250., 500., 1000., 2500., 5000., 10000.];

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeState {
    #[default]
    Serving,
    /// It refuses newcomers and asks its sessions to go.
    Draining,
    /// Everybody has gone, or the time was up; it waits for its end.
    Drained,
}

/// A node's figures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeReport {
    pub node: Arc<str>,
    /// Unix ms of its start.
    pub boot: u64,
    pub state: NodeState,
    /// Of the program.
    pub version: String,
    /// Open sockets.
    pub connections: u64,
    /// Sockets whose client is being authenticated.
    pub handshakes: u64,
    /// Most open sockets; 0 = unlimited.
    pub max_connections: u64,
    /// Tenants that it is configured for.
    pub tenants_served: u64,
    /// Of the tenants asked about, in the order asked, those that it serves.
    pub tenants: Vec<TenantReport>,
}

/// A tenant's figures on one node. Counters are of the time since the node's start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantReport {
    pub tenant: Arc<str>,
    pub connections: u64,
    /// With at least one connection.
    pub users: u64,
    pub messages_in: u64,
    /// Sessions that a message was handed to.
    pub deliveries: u64,
    pub rate_limited: u64,
    /// Answers of the degrade policy in a hook's stead.
    pub hook_degraded: u64,
    /// What is kept for users who are away.
    pub buffer_users: u64,
    pub buffer_messages: u64,
    pub buffer_bytes: u64,
    /// Events that wait for a broker; dead letters that wait for their topic.
    pub events_waiting: u64,
    pub letters_waiting: u64,
    /// Events refused or lost.
    pub events_dropped: u64,
    /// In the order of `HookOp::ALL`.
    pub hooks: Vec<HookReport>,
    /// As of the tenant's latest /auth on the node; `None` = there was none yet.
    pub limits: Option<LimitsReport>,
}

/// One hook of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookReport {
    pub breaker: BreakerState,
    /// How often it opened.
    pub openings: u64,
    pub in_flight: u64,
    /// Calls that were made; not those that breaker or permits refused.
    pub calls: u64,
    /// What they took altogether.
    pub sum_us: u64,
    /// Calls per bucket of [`LATENCY_BUCKETS_MS`] and beyond, not cumulative.
    pub buckets: Vec<u64>,
    /// Limits in force.
    pub max_concurrency: u64,
    pub queue_timeout_ms: u64,
    pub failure_threshold: u64,
    pub open_ms: u64,
}

/// Limits that the tenant's own back end decides; 0 = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsReport {
    pub tenant_max_connections: u64,
    pub user_max_connections: u64,
    pub tenant_max_message_qps: u64,
    pub heartbeat_timeout_ms: u64,
    pub offline_ttl_ms: u64,
    pub group_cache_ttl_ms: u64,
    pub group_page_size: u64,
    pub offline_use_hook_pull: bool,
    pub hook_sign_required: bool,
}

/// The value below which `quantile` (0 to 1) of the calls stayed, ms: the upper bound of its bucket, interpolated within.
/// `None` without calls. What lies beyond the last bound counts as that bound.
pub fn quantile_ms(buckets: &[u64], quantile: f64) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let wanted = quantile.clamp(0.0, 1.0) * total as f64;
    let (mut below, mut from) = (0.0, 0.0);
    for (count, to) in buckets.iter().zip(LATENCY_BUCKETS_MS) {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            return Some(from + (to - from) * ((wanted - below) / count).clamp(0.0, 1.0));
        }
        below += count;
        from = to;
    }
    Some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(filled: &[(usize, u64)]) -> Vec<u64> {
        let mut buckets = vec![0; LATENCY_BUCKETS_MS.len() + 1];
        filled.iter().for_each(|(index, count)| buckets[*index] = *count);
        buckets
    }

    #[test]
    fn quantiles_lie_in_their_bucket() {
        type Case = (&'static [(usize, u64)], f64, Option<f64>);
        let cases: [Case; 6] = [
            (&[], 0.5, None),
            (&[(0, 10)], 0.5, Some(0.5)),
            (&[(2, 10)], 1.0, Some(5.0)),
            (&[(0, 90), (5, 10)], 0.95, Some(37.5)),
            (&[(0, 1), (15, 99)], 0.99, Some(10_000.0)),
            (&[(3, 4)], 0.0, Some(5.0)),
        ];
        for (filled, quantile, expected) in cases {
            assert_eq!(quantile_ms(&buckets(filled), quantile), expected, "{filled:?} {quantile}");
        }
    }
}
