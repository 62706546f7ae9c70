//! A node's figures between the port's words and the node service's protobuf. Must not compute any.

use mics_domain::breaker::BreakerState;
use mics_domain::report::{HookReport, LimitsReport, NodeReport, NodeState, TenantReport};
use mics_proto::node::{self as wire, ReportResponse};

const STATES: [NodeState; 3] = [NodeState::Serving, NodeState::Draining, NodeState::Drained];
const BREAKERS: [BreakerState; 3] = [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open];

fn number<T: PartialEq>(all: &[T], one: &T) -> u32 {
    all.iter().position(|known| known == one).map_or(0, |at| at as u32)
}

/// A number of a newer version counts as the last one known: the node is not simply serving.
fn named<T: Copy>(all: &[T; 3], number: u32) -> T {
    all[(number as usize).min(all.len() - 1)]
}

pub fn write(report: NodeReport) -> ReportResponse {
    ReportResponse {
        node_id: report.node.to_string(),
        boot: report.boot,
        state: number(&STATES, &report.state),
        version: report.version,
        connections: report.connections,
        handshakes: report.handshakes,
        max_connections: report.max_connections,
        tenants_served: report.tenants_served,
        tenants: report.tenants.into_iter().map(write_tenant).collect(),
    }
}

pub fn read(report: ReportResponse) -> NodeReport {
    NodeReport {
        node: report.node_id.into(),
        boot: report.boot,
        state: named(&STATES, report.state),
        version: report.version,
        connections: report.connections,
        handshakes: report.handshakes,
        max_connections: report.max_connections,
        tenants_served: report.tenants_served,
        tenants: report.tenants.into_iter().map(read_tenant).collect(),
    }
}

fn write_tenant(of: TenantReport) -> wire::TenantReport {
    wire::TenantReport {
        tenant_id: of.tenant.to_string(),
        connections: of.connections,
        users: of.users,
        messages_in: of.messages_in,
        deliveries: of.deliveries,
        rate_limited: of.rate_limited,
        hook_degraded: of.hook_degraded,
        buffer_users: of.buffer_users,
        buffer_messages: of.buffer_messages,
        buffer_bytes: of.buffer_bytes,
        events_waiting: of.events_waiting,
        letters_waiting: of.letters_waiting,
        events_dropped: of.events_dropped,
        hooks: of.hooks.into_iter().map(write_hook).collect(),
        limits: of.limits.map(write_limits),
    }
}

fn read_tenant(of: wire::TenantReport) -> TenantReport {
    TenantReport {
        tenant: of.tenant_id.into(),
        connections: of.connections,
        users: of.users,
        messages_in: of.messages_in,
        deliveries: of.deliveries,
        rate_limited: of.rate_limited,
        hook_degraded: of.hook_degraded,
        buffer_users: of.buffer_users,
        buffer_messages: of.buffer_messages,
        buffer_bytes: of.buffer_bytes,
        events_waiting: of.events_waiting,
        letters_waiting: of.letters_waiting,
        events_dropped: of.events_dropped,
        hooks: of.hooks.into_iter().map(read_hook).collect(),
        limits: of.limits.map(read_limits),
    }
}

fn write_hook(of: HookReport) -> wire::HookReport {
    wire::HookReport {
        breaker: number(&BREAKERS, &of.breaker),
        openings: of.openings,
        in_flight: of.in_flight,
        calls: of.calls,
        sum_us: of.sum_us,
        buckets: of.buckets,
        max_concurrency: of.max_concurrency,
        queue_timeout_ms: of.queue_timeout_ms,
        failure_threshold: of.failure_threshold,
        open_ms: of.open_ms,
    }
}

fn read_hook(of: wire::HookReport) -> HookReport {
    HookReport {
        breaker: named(&BREAKERS, of.breaker),
        openings: of.openings,
        in_flight: of.in_flight,
        calls: of.calls,
        sum_us: of.sum_us,
        buckets: of.buckets,
        max_concurrency: of.max_concurrency,
        queue_timeout_ms: of.queue_timeout_ms,
        failure_threshold: of.failure_threshold,
        open_ms: of.open_ms,
    }
}

fn write_limits(of: LimitsReport) -> wire::LimitsReport {
    wire::LimitsReport {
        tenant_max_connections: of.tenant_max_connections,
        user_max_connections: of.user_max_connections,
        tenant_max_message_qps: of.tenant_max_message_qps,
        heartbeat_timeout_ms: of.heartbeat_timeout_ms,
        offline_ttl_ms: of.offline_ttl_ms,
        group_cache_ttl_ms: of.group_cache_ttl_ms,
        group_page_size: of.group_page_size,
        offline_use_hook_pull: of.offline_use_hook_pull,
        hook_sign_required: of.hook_sign_required,
    }
}

fn read_limits(of: wire::LimitsReport) -> LimitsReport {
    LimitsReport {
        tenant_max_connections: of.tenant_max_connections,
        user_max_connections: of.user_max_connections,
        tenant_max_message_qps: of.tenant_max_message_qps,
        heartbeat_timeout_ms: of.heartbeat_timeout_ms,
        offline_ttl_ms: of.offline_ttl_ms,
        group_cache_ttl_ms: of.group_cache_ttl_ms,
        group_page_size: of.group_page_size,
        offline_use_hook_pull: of.offline_use_hook_pull,
        hook_sign_required: of.hook_sign_required,
    }
}
