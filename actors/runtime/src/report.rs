//! A node's figures and those of its tenants, for operators, from what is counted anyway. Must not start or wake anything.

use std::sync::Arc;

use mics_domain::breaker::BreakerState;
use mics_domain::policy::{HookOp, HookOverrides, HookPolicy};
use mics_domain::report::{HookReport, LATENCY_BUCKETS_MS, LimitsReport, NodeReport, NodeState, TenantReport};
use mics_domain::tenant::TenantConfig;
use prometheus::core::Metric;

use crate::node::Node;
use crate::tenant::{Guards, Tenant};

impl Node {
    /// This node's figures, with those of the tenants asked about that it serves.
    pub fn report(&self, tenants: &[Arc<str>]) -> NodeReport {
        let state = match (self.drained(), self.draining()) {
            (true, _) => NodeState::Drained,
            (false, true) => NodeState::Draining,
            (false, false) => NodeState::Serving,
        };
        NodeReport {
            node: self.id.clone(),
            boot: self.members.me().boot,
            state,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            connections: self.connections() as u64,
            handshakes: self.handshakes() as u64,
            max_connections: self.settings.max_connections as u64,
            tenants_served: self.tenants().ids().len() as u64,
            tenants: tenants.iter().filter_map(|id| self.tenants().get(id)).map(|t| self.tenant_report(&t)).collect(),
        }
    }

    fn tenant_report(&self, tenant: &Tenant) -> TenantReport {
        if !tenant.was_used() {
            // Looking must not make series of metrics for tenants that nobody uses.
            let hooks = HookOp::ALL.map(|_| self.idle_hook(tenant)).into();
            return TenantReport { tenant: tenant.id.clone(), hooks, ..TenantReport::default() };
        }
        let (metrics, id) = (&self.metrics, &*tenant.id);
        let sum = |counter: &prometheus::IntCounterVec, values: &[&str]| -> u64 {
            values.iter().map(|value| counter.with_label_values(&[id, value]).get()).sum()
        };
        let waiting = |queue| metrics.mq_pending.with_label_values(&[id, queue]).get().max(0) as u64;
        let (buffer_users, buffer_messages, buffer_bytes) = tenant.offline.figures();
        let guards = tenant.running_guards();
        let config = guards.as_ref().and_then(|guards| guards.latest());
        let hook = |op| self.hook_report(tenant, guards.as_deref(), config.as_deref(), op);
        TenantReport {
            tenant: tenant.id.clone(),
            connections: tenant.sessions.count() as u64,
            users: tenant.sessions.users() as u64,
            messages_in: sum(&metrics.messages_in_total, &["SingleChat", "GroupChat"]),
            deliveries: sum(&metrics.deliveries_total, &["local", "grpc_in_single", "grpc_in_batch"]),
            rate_limited: sum(&metrics.rate_limited_total, &["message_qps", "connection_limit"]),
            hook_degraded: HookOp::ALL.map(|op| sum(&metrics.hook_degraded_total, &[op.label()])).iter().sum(),
            buffer_users: buffer_users as u64,
            buffer_messages: buffer_messages as u64,
            buffer_bytes: buffer_bytes as u64,
            events_waiting: waiting("event"),
            letters_waiting: waiting("dlq_fallback"),
            events_dropped: sum(
                &metrics.mq_dropped_total,
                &["tenant_quota", "queue_full", "dlq_failed", "dlq_fallback_giveup"],
            ),
            hooks: HookOp::ALL.map(hook).into(),
            limits: config.map(|config| limits(&config, self.settings.hooks.sign_required)),
        }
    }

    fn hook_report(
        &self,
        tenant: &Tenant,
        guards: Option<&Guards>,
        config: Option<&TenantConfig>,
        op: HookOp,
    ) -> HookReport {
        let gate = guards.map(|guards| guards.gate(op));
        let labels = [&*tenant.id, op.label()];
        let timed = self.metrics.hook_duration_ms.with_label_values(&labels).metric();
        let timed = timed.get_histogram();
        let mut cumulative: Vec<u64> = timed.get_bucket().iter().map(|bucket| bucket.cumulative_count()).collect();
        // What the encoder adds as the bucket without a bound.
        cumulative.truncate(LATENCY_BUCKETS_MS.len());
        cumulative.push(timed.get_sample_count());
        let mut before = 0;
        let buckets = cumulative.iter().map(|count| count - std::mem::replace(&mut before, *count)).collect();
        HookReport {
            breaker: gate.map_or(BreakerState::Closed, |gate| gate.state()),
            openings: gate.map_or(0, |gate| gate.openings()),
            in_flight: gate.map_or(0, |gate| u64::from(gate.in_flight())),
            calls: timed.get_sample_count(),
            sum_us: (timed.get_sample_sum() * 1e3) as u64,
            buckets,
            ..limited(&tenant.policy(self, &config.map_or(HookOverrides::default(), |config| config.hooks)))
        }
    }

    fn idle_hook(&self, tenant: &Tenant) -> HookReport {
        limited(&tenant.policy(self, &HookOverrides::default()))
    }
}

/// A hook that was never called, under this policy.
fn limited(policy: &HookPolicy) -> HookReport {
    HookReport {
        breaker: BreakerState::Closed,
        openings: 0,
        in_flight: 0,
        calls: 0,
        sum_us: 0,
        buckets: vec![0; LATENCY_BUCKETS_MS.len() + 1],
        max_concurrency: u64::from(policy.max_concurrency),
        queue_timeout_ms: policy.queue_timeout_ms,
        failure_threshold: u64::from(policy.breaker.failure_threshold),
        open_ms: policy.breaker.open_ms,
    }
}

fn limits(config: &TenantConfig, sign_required: bool) -> LimitsReport {
    LimitsReport {
        tenant_max_connections: u64::from(config.tenant_max_connections),
        user_max_connections: u64::from(config.user_max_connections),
        tenant_max_message_qps: u64::from(config.tenant_max_message_qps),
        heartbeat_timeout_ms: config.heartbeat_timeout_ms,
        offline_ttl_ms: config.offline_ttl_ms,
        group_cache_ttl_ms: config.group_cache_ttl_ms,
        group_page_size: u64::from(config.group_page_size),
        offline_use_hook_pull: config.offline_use_hook_pull,
        hook_sign_required: config.hooks.sign_required.unwrap_or(sign_required),
    }
}
