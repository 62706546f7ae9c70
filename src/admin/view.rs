//! Figures of nodes as the admin API shows them: sums over the nodes, rates between two samples, JSON. Pure.

use mics_domain::breaker::BreakerState;
use mics_domain::policy::HookOp;
use mics_domain::report::{HookReport, LATENCY_BUCKETS_MS, NodeState, TenantReport, quantile_ms};
use serde_json::{Value, json};

use super::cluster::Reported;

/// A row of the list of nodes.
pub fn node(reported: &Reported, now_ms: i64) -> Value {
    let peer = &reported.peer;
    let mut row = json!({
        "node": &*peer.node, "endpoint": &*peer.endpoint, "here": reported.here,
        "started_at_ms": peer.boot, "age_ms": now_ms.saturating_sub(peer.boot as i64).max(0),
    });
    match &reported.report {
        Ok(report) => {
            row["state"] = state(report.state).into();
            row["version"] = report.version.as_str().into();
            row["connections"] = report.connections.into();
            row["max_connections"] = report.max_connections.into();
            row["handshakes"] = report.handshakes.into();
            row["tenants_served"] = report.tenants_served.into();
        }
        Err(why) => {
            row["state"] = "unreachable".into();
            row["error"] = why.as_str().into();
        }
    }
    row
}

fn state(state: NodeState) -> &'static str {
    match state {
        NodeState::Serving => "serving",
        NodeState::Draining => "draining",
        NodeState::Drained => "drained",
    }
}

fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half_open",
        BreakerState::Open => "open",
    }
}

/// The figures of one tenant on the nodes that told them.
pub fn of_tenant<'a>(nodes: &'a [Reported], tenant: &str) -> Vec<(&'a str, &'a TenantReport)> {
    let told = nodes.iter().filter_map(|node| Some((&*node.peer.node, node.report.as_ref().ok()?)));
    told.filter_map(|(node, report)| Some((node, report.tenants.iter().find(|t| *t.tenant == *tenant)?))).collect()
}

/// A tenant's figures over all nodes.
pub fn sum(tenant: &str, parts: &[(&str, &TenantReport)]) -> TenantReport {
    let mut all = TenantReport { tenant: tenant.into(), ..TenantReport::default() };
    for (_, part) in parts {
        all.connections += part.connections;
        all.users += part.users;
        all.messages_in += part.messages_in;
        all.deliveries += part.deliveries;
        all.rate_limited += part.rate_limited;
        all.hook_degraded += part.hook_degraded;
        all.buffer_users += part.buffer_users;
        all.buffer_messages += part.buffer_messages;
        all.buffer_bytes = all.buffer_bytes.saturating_add(part.buffer_bytes);
        all.events_waiting += part.events_waiting;
        all.letters_waiting += part.letters_waiting;
        all.events_dropped += part.events_dropped;
        all.limits = all.limits.or(part.limits);
        add_hooks(&mut all.hooks, &part.hooks);
    }
    all
}

/// Counts add up; of breakers the worst is told; limits are the first node's.
fn add_hooks(all: &mut Vec<HookReport>, part: &[HookReport]) {
    if all.is_empty() {
        *all = part.to_vec();
        return;
    }
    for (all, part) in all.iter_mut().zip(part) {
        all.breaker = worse(all.breaker, part.breaker);
        all.openings += part.openings;
        all.in_flight += part.in_flight;
        all.calls += part.calls;
        all.sum_us += part.sum_us;
        all.buckets.iter_mut().zip(&part.buckets).for_each(|(all, part)| *all += part);
    }
}

fn worse(a: BreakerState, b: BreakerState) -> BreakerState {
    let rank = |state| match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// A tenant as the API shows it, everywhere.
pub fn tenant(report: &TenantReport) -> Value {
    json!({
        "tenant": &*report.tenant,
        "connections": report.connections,
        "users": report.users,
        "messages_in": report.messages_in,
        "deliveries": report.deliveries,
        "rate_limited": report.rate_limited,
        "hook_degraded": report.hook_degraded,
        "breaker": breaker(report.hooks.iter().fold(BreakerState::Closed, |worst, hook| worse(worst, hook.breaker))),
        "hooks": HookOp::ALL.iter().zip(&report.hooks).map(|(op, report)| hook(*op, report)).collect::<Vec<_>>(),
        "buffer": {
            "users": report.buffer_users, "messages": report.buffer_messages, "bytes": report.buffer_bytes,
        },
        "events": {
            "waiting": report.events_waiting, "dead_letters_waiting": report.letters_waiting,
            "dropped": report.events_dropped,
        },
    })
}

fn hook(op: HookOp, report: &HookReport) -> Value {
    json!({
        "op": op.label(), "breaker": breaker(report.breaker), "openings": report.openings,
        "in_flight": report.in_flight, "calls": report.calls, "latency_ms": latency(&report.buckets, report.sum_us),
    })
}

/// `null` without calls. Quantiles are interpolated in their bucket.
fn latency(buckets: &[u64], sum_us: u64) -> Value {
    let calls: u64 = buckets.iter().sum();
    if calls == 0 {
        return Value::Null;
    }
    let short = |ms: f64| (ms * 100.0).round() / 100.0;
    let at = |quantile| quantile_ms(buckets, quantile).map(short);
    json!({ "mean": short(sum_us as f64 / 1e3 / calls as f64), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99) })
}

/// Limits in force: the tenant's own, and those of its hooks.
pub fn limits(report: &TenantReport) -> Value {
    let own = report.limits.map(|own| {
        json!({
            "tenant_max_connections": own.tenant_max_connections, "user_max_connections": own.user_max_connections,
            "tenant_max_message_qps": own.tenant_max_message_qps, "heartbeat_timeout_ms": own.heartbeat_timeout_ms,
            "offline_ttl_ms": own.offline_ttl_ms, "group_cache_ttl_ms": own.group_cache_ttl_ms,
            "group_page_size": own.group_page_size, "offline_use_hook_pull": own.offline_use_hook_pull,
            "hook_sign_required": own.hook_sign_required,
        })
    });
    // The same for all four.
    let hooks = report.hooks.last().map(|hook| {
        json!({
            "max_concurrency": hook.max_concurrency, "queue_timeout_ms": hook.queue_timeout_ms,
            "breaker_failure_threshold": hook.failure_threshold, "breaker_open_ms": hook.open_ms,
        })
    });
    json!({ "tenant": own, "hooks": hooks })
}

/// What happened to a tenant between two samples of the same incarnation of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Growth {
    pub messages_in: u64,
    pub deliveries: u64,
    /// Per hook.
    pub calls: Vec<u64>,
    sums_us: Vec<u64>,
    buckets: Vec<Vec<u64>>,
}

/// Between two samples; nodes that are not in both (or have started anew) count for nothing.
pub fn growth(before: &[Reported], now: &[Reported], tenant: &str) -> Growth {
    let mut growth = Growth {
        calls: vec![0; HookOp::ALL.len()],
        sums_us: vec![0; HookOp::ALL.len()],
        buckets: vec![vec![0; LATENCY_BUCKETS_MS.len() + 1]; HookOp::ALL.len()],
        ..Growth::default()
    };
    let find = |reported: &'_ Reported| -> Option<TenantReport> {
        reported.report.as_ref().ok()?.tenants.iter().find(|t| *t.tenant == *tenant).cloned()
    };
    for node in now {
        let Some(earlier) = before.iter().find(|earlier| earlier.peer == node.peer) else { continue };
        let (Some(earlier), Some(now)) = (find(earlier), find(node)) else { continue };
        growth.messages_in += now.messages_in.saturating_sub(earlier.messages_in);
        growth.deliveries += now.deliveries.saturating_sub(earlier.deliveries);
        for (op, (earlier, now)) in earlier.hooks.iter().zip(&now.hooks).enumerate().take(HookOp::ALL.len()) {
            growth.calls[op] += now.calls.saturating_sub(earlier.calls);
            growth.sums_us[op] += now.sum_us.saturating_sub(earlier.sum_us);
            let pairs = earlier.buckets.iter().zip(&now.buckets);
            let grown = pairs.map(|(earlier, now)| now.saturating_sub(*earlier));
            growth.buckets[op].iter_mut().zip(grown).for_each(|(sum, grown)| *sum += grown);
        }
    }
    growth
}

impl Growth {
    pub fn per_second(&self, interval_s: f64) -> Value {
        let rate = |count: u64| (count as f64 / interval_s * 10.0).round() / 10.0;
        let hook = |op: usize| {
            json!({
                "op": HookOp::ALL[op].label(), "calls_per_second": rate(self.calls[op]),
                "latency_ms": latency(&self.buckets[op], self.sums_us[op]),
            })
        };
        json!({
            "messages_per_second": rate(self.messages_in), "deliveries_per_second": rate(self.deliveries),
            "hooks": (0..HookOp::ALL.len()).map(hook).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mics_domain::ports::Peer;
    use mics_domain::report::NodeReport;

    fn hook(calls: u64, breaker: BreakerState) -> HookReport {
        let mut buckets = vec![0; LATENCY_BUCKETS_MS.len() + 1];
        buckets[1] = calls;
        HookReport {
            breaker,
            openings: 1,
            in_flight: 1,
            calls,
            sum_us: calls * 2_000,
            buckets,
            max_concurrency: 32,
            queue_timeout_ms: 10,
            failure_threshold: 5,
            open_ms: 5000,
        }
    }

    fn reported(node: &str, boot: u64, messages_in: u64, breaker: BreakerState) -> Reported {
        let hooks = vec![hook(messages_in, breaker); 4];
        let tenant = TenantReport { tenant: "t1".into(), connections: 1, messages_in, hooks, ..Default::default() };
        let report = NodeReport { tenants: vec![tenant], ..Default::default() };
        let peer = Peer { node: node.into(), boot, endpoint: "http://n".into() };
        Reported { peer, here: false, report: Ok(report) }
    }

    #[test]
    fn a_tenant_is_the_sum_of_its_nodes_and_as_broken_as_the_worst() {
        let mut nodes = vec![reported("a", 1, 10, BreakerState::Closed), reported("b", 1, 5, BreakerState::Open)];
        nodes.push(Reported { report: Err("away".into()), ..reported("c", 1, 100, BreakerState::Closed) });
        let all = tenant(&sum("t1", &of_tenant(&nodes, "t1")));
        assert_eq!((&all["connections"], &all["messages_in"]), (&json!(2), &json!(15)));
        assert_eq!((&all["breaker"], &all["hooks"][3]["calls"]), (&json!("open"), &json!(15)));
        assert_eq!(all["hooks"][0]["latency_ms"], json!({ "mean": 2.0, "p50": 1.5, "p95": 1.95, "p99": 1.99 }));
        assert_eq!(node(&nodes[2], 5_001)["state"], "unreachable");
        let nobody = tenant(&sum("t2", &of_tenant(&nodes, "t2")));
        assert_eq!((&nobody["connections"], &nobody["hooks"]), (&json!(0), &json!([])));
    }

    #[test]
    fn rates_count_what_happened_and_no_restart() {
        let before = [reported("a", 1, 10, BreakerState::Closed), reported("b", 1, 1_000, BreakerState::Closed)];
        let now = [
            reported("a", 1, 40, BreakerState::Closed),
            reported("b", 2, 5_000, BreakerState::Closed),
            reported("new", 3, 7_000, BreakerState::Closed),
        ];
        let rates = growth(&before, &now, "t1").per_second(2.0);
        assert_eq!(rates["messages_per_second"], 15.0);
        assert_eq!(rates["hooks"][1]["calls_per_second"], 15.0);
        assert_eq!(rates["hooks"][1]["latency_ms"]["mean"], 2.0);
        assert_eq!(growth(&now, &now, "t1").per_second(1.0)["hooks"][0]["latency_ms"], Value::Null);
    }
}
