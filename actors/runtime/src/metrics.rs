//! Every metric of the gateway, in one table: name, labels, help. Names and labels are a contract with dashboards and
//! alert rules. Must not decide anything.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Buckets of every histogram in milliseconds.
const MS_BUCKETS: &[f64] = &[1., 2., 5., 10., 25., 50., 100., 150., 200., 250., 500., 1000., 2500., 5000., 10000.];
/// Buckets of what is often below a millisecond, in milliseconds: local delivery, Redis.
const DELIVERY_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1., 2., 5., 10., 25., 50., 100., 250., 1000.];
/// Buckets of mailbox waits, in microseconds.
const US_BUCKETS: &[f64] = &[10., 50., 100., 500., 1_000., 5_000., 25_000., 100_000., 1_000_000.];

macro_rules! metrics {
    (
        counters { $($counter:ident [$($cl:literal),*] $chelp:literal;)* }
        gauges { $($gauge:ident [$($gl:literal),*] $ghelp:literal;)* }
        histograms { $($histogram:ident $buckets:ident [$($hl:literal),*] $hhelp:literal;)* }
    ) => {
        /// All metrics; field `x` is exported as `mics_x`.
        #[derive(Clone)]
        pub struct Metrics {
            pub registry: Registry,
            $(pub $counter: IntCounterVec,)*
            $(pub $gauge: IntGaugeVec,)*
            $(pub $histogram: HistogramVec,)*
        }

        impl Metrics {
            /// Registers everything. Fails only if two metrics share a name.
            pub fn new(registry: Registry) -> prometheus::Result<Self> {
                $(
                    let $counter = IntCounterVec::new(Opts::new(concat!("mics_", stringify!($counter)), $chelp), &[$($cl),*])?;
                    registry.register(Box::new($counter.clone()))?;
                )*
                $(
                    let $gauge = IntGaugeVec::new(Opts::new(concat!("mics_", stringify!($gauge)), $ghelp), &[$($gl),*])?;
                    registry.register(Box::new($gauge.clone()))?;
                )*
                $(
                    let options = HistogramOpts::new(concat!("mics_", stringify!($histogram)), $hhelp).buckets($buckets.to_vec());
                    let $histogram = HistogramVec::new(options, &[$($hl),*])?;
                    registry.register(Box::new($histogram.clone()))?;
                )*
                Ok(Metrics { registry, $($counter,)* $($gauge,)* $($histogram,)* })
            }

            /// Removes every series of a tenant. Who still holds one of them counts into nothing.
            pub fn forget_tenant(&self, tenant: &str) {
                $(forget(&self.$counter, tenant);)*
                $(forget(&self.$gauge, tenant);)*
                $(forget(&self.$histogram, tenant);)*
            }
        }
    };
}

metrics! {
    counters {
        ws_connections_events_total ["tenant", "node", "delta"] "Movements of the connection gauge.";
        ws_connected_total ["tenant", "node"] "Sessions opened.";
        ws_disconnected_total ["tenant", "node"] "Sessions closed.";
        ws_closed_total ["tenant", "code"] "Sessions closed, by close code.";
        ws_handshakes_refused_total ["reason"] "Upgrades refused before any work.";
        ws_received_bytes_total ["tenant"] "Bytes of clients' binary frames, without their headers.";
        ws_sent_bytes_total ["tenant"] "Bytes of frames written to clients.";
        ws_frames_rejected_total ["tenant", "reason"] "Frames refused.";
        ws_heartbeat_timeouts_total ["tenant"] "Sessions closed for silence.";
        ws_lease_renew_fail_total ["tenant"] "Leases that could not be renewed.";
        messages_in_total ["tenant", "type"] "Valid messages, before de-duplication.";
        messages_rejected_total ["tenant", "reason"] "Messages refused by validation.";
        messages_failed_total ["tenant"] "Messages that failed inside the gateway.";
        dedup_hits_total ["tenant"] "Repetitions answered from memory.";
        rate_limited_total ["tenant", "kind"] "Refusals by a limit.";
        deliveries_total ["tenant", "via"] "Deliveries handed over.";
        group_messages_total ["tenant"] "Group messages.";
        group_members_total ["tenant"] "Distinct members of group messages.";
        group_fanout_nodes_total ["tenant"] "Nodes touched by group messages.";
        group_members_over_limit_total ["tenant"] "Members above GROUP_MEMBERS_MAX_USERS.";
        group_members_capped_total ["tenant"] "Members above GROUP_MEMBERS_MAX_USERS (older name).";
        group_offline_notified_total ["tenant"] "Group recipients notified by event.";
        group_offline_buffered_total ["tenant"] "Group recipients buffered.";
        group_offline_buffer_skipped_total ["tenant"] "Group recipients neither notified nor buffered.";
        offline_notified_total ["tenant"] "Single-chat recipients notified by event.";
        offline_buffered_total ["tenant", "via"] "Messages taken into the offline buffer.";
        offline_buffer_skipped_total ["tenant", "via"] "Messages that the offline buffer refused.";
        offline_buffer_dropped_total ["tenant", "reason"] "Buffered messages dropped: oldest for room, or expired.";
        offline_buffer_evicted_users_total ["tenant"] "Users evicted whole from the offline buffer.";
        offline_drained_total ["tenant", "node"] "Buffered messages handed to a session.";
        offline_drained_from_hook_total ["tenant", "node"] "Offline messages pulled from the tenant.";
        offline_drain_failed_total ["tenant", "reason"] "Pulls of offline messages that failed.";
        offline_returned_total ["tenant"] "Messages that a session could not write and gave back.";
        hook_requests_total ["tenant", "op", "result"] "Hook calls, by outcome.";
        hook_duration_ms_total ["tenant", "op"] "Sum of hook durations in whole milliseconds.";
        hook_limiter_rejected_total ["tenant", "op", "reason"] "Hook calls without a permit.";
        hook_breaker_opened_total ["tenant", "op"] "Openings of a hook breaker.";
        hook_degraded_total ["tenant", "op"] "Calls answered by the degrade policy.";
        hook_check_message_total ["tenant", "result"] "Verdicts on messages.";
        hook_get_group_members_total ["tenant", "result"] "Member lookups.";
        hook_get_offline_messages_total ["tenant", "result"] "Offline pulls.";
        grpc_forward_failed_total ["tenant", "via", "status"] "Forwards to other nodes that failed.";
        grpc_circuit_open_total ["tenant", "node", "via"] "Forwards not made because the circuit to the node was open.";
        grpc_unauthorized_total [] "Calls of other nodes without the token.";
        grpc_offline_buffer_failed_total ["tenant", "status"] "Frames that another node could not be given to keep.";
        grpc_offline_drain_failed_total ["tenant", "status"] "Nodes that could not be asked what they keep for a user.";
        mq_published_total ["tenant", "topic", "event_type"] "Events that a topic has, dead letters included.";
        mq_failed_total ["tenant", "topic", "event_type"] "Tries on the event topic that failed.";
        mq_retried_total ["tenant", "event_type"] "Pauses before another try on the event topic.";
        mq_dlq_total ["tenant", "event_type"] "Events that became dead letters.";
        mq_dropped_total ["tenant", "reason"] "Events refused, or taken and then lost.";
        mq_dlq_fallback_enqueued_total ["tenant", "event_type"] "Dead letters kept because their topic refused them.";
        mq_dlq_fallback_published_total ["tenant", "event_type"] "Kept dead letters that their topic has now.";
        mq_dlq_fallback_failed_total ["tenant", "event_type"] "Tries of kept dead letters that failed.";
        mq_dlq_fallback_retried_total ["tenant", "event_type"] "Pauses before another try of a kept dead letter.";
        mq_dlq_fallback_dropped_total ["tenant", "reason"] "Dead letters that could not be kept.";
        mq_client_restarts_total [] "Kafka clients made anew after a fatal error.";
        redis_failed_total ["op"] "Questions to Redis without an answer: too late, refused, or not asked for a while.";
        redis_lookups_total ["op", "result"] "Look-ups in Redis: users by whether they are anywhere, message ids by whether they are known.";
        route_cache_total ["result"] "Recipients whose routes this node remembered (hit), and those it had to ask for (miss).";
        redis_fallback_total ["tenantId", "op"] "Directory calls answered from what this node knows.";
        admission_unregister_failed_total ["tenant"] "Routes that could not be withdrawn at once.";
        admission_unregister_retry_ok_total ["tenant"] "Routes withdrawn by another attempt.";
        admission_unregister_retry_failed_total ["tenant"] "Further attempts that failed.";
        admission_unregister_retry_giveup_total ["tenant"] "Routes left to expire by themselves.";
        admission_unregister_retry_dropped_total ["tenant"] "The same, because too many were waiting.";
        dead_node_cleanups_total ["node"] "Dead nodes whose entries this node removed, by the dead one.";
        dead_node_routes_processed_total ["node"] "Entries of dead nodes looked at, by the dead one.";
        shutdown_drain_total ["node"] "Drains of this node.";
        actor_refused_total ["actor", "tenant"] "Messages refused by a full mailbox or an ended actor.";
        actor_restarts_total ["actor", "tenant"] "Actors that ended by panic.";
    }
    gauges {
        ws_connections ["node"] "Open sessions of this node.";
        cluster_nodes ["node"] "Live nodes, as this one sees them.";
        ws_tenant_connections ["tenant", "node"] "Open sessions of a tenant on this node.";
        tenant_limit ["tenant", "limit"] "Limits in force, as the tenant's last /auth set them; 0 = none.";
        hook_breaker_state ["tenant", "op"] "0 closed, 1 half-open, 2 open.";
        offline_buffer_users ["tenant"] "Users with buffered messages.";
        offline_buffer_messages ["tenant"] "Buffered messages.";
        offline_buffer_bytes ["tenant"] "Buffered bytes.";
        dedup_records ["tenant"] "Remembered message ids.";
        mq_pending ["tenant", "queue"] "Events queued or in flight, and kept dead letters.";
        actor_mailbox_depth ["actor", "tenant"] "Messages waiting.";
        actor_mailbox_capacity ["actor", "tenant"] "Bound of the mailbox.";
        config_last_reload_successful [] "1 = the last reading of the configuration was taken over, 0 = refused.";
        config_last_reload_success_timestamp_seconds [] "When a reading was last taken over, Unix time; first the start.";
    }
    histograms {
        hook_duration_ms MS_BUCKETS ["tenant", "op"] "Hook call from permit to end, milliseconds.";
        local_delivery_ms DELIVERY_BUCKETS ["tenant"] "Frame received to last local outbox filled, milliseconds, hook included.";
        grpc_forward_duration_ms MS_BUCKETS ["tenant", "via"] "Forward with all attempts, milliseconds.";
        redis_duration_ms DELIVERY_BUCKETS ["op"] "Questions that Redis answered, all round trips together, milliseconds.";
        actor_mailbox_wait_us US_BUCKETS ["actor", "tenant"] "Time in the mailbox, microseconds.";
        actor_handling_us US_BUCKETS ["actor", "tenant"] "Time in the handler, microseconds.";
    }
}

/// Removes the series whose label `tenant` (or `tenantId`, as one metric has it) says so.
fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, tenant: &str) {
    for series in family.collect().iter().flat_map(|family| family.get_metric()) {
        let labels = series.get_label().iter().map(|label| (label.name(), label.value()));
        let labels: HashMap<&str, &str> = labels.collect();
        if ["tenant", "tenantId"].iter().any(|name| labels.get(name) == Some(&tenant)) {
            // Fails only when somebody else has removed it.
            let _ = family.remove(&labels);
        }
    }
}

impl Metrics {
    /// Figures of a mailbox for actors of `kind` (and tenant, else "").
    pub fn mailbox(&self, kind: &str, tenant: &str, capacity: usize) -> std::sync::Arc<crate::mailbox::MailboxStats> {
        let labels = [kind, tenant];
        self.actor_mailbox_capacity.with_label_values(&labels).set(capacity as i64);
        crate::mailbox::MailboxStats::new(
            capacity,
            self.actor_mailbox_wait_us.with_label_values(&labels),
            self.actor_handling_us.with_label_values(&labels),
            self.actor_refused_total.with_label_values(&labels),
        )
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_metrics_register_in_one_registry() {
        super::Metrics::new(prometheus::Registry::new()).unwrap();
    }

    #[test]
    fn a_tenant_that_is_forgotten_leaves_no_series_and_takes_no_others() {
        let metrics = super::Metrics::new(prometheus::Registry::new()).unwrap();
        for tenant in ["gone", "stays"] {
            metrics.mailbox("session", tenant, 8);
            metrics.ws_closed_total.with_label_values(&[tenant, "1000"]).inc();
            metrics.ws_closed_total.with_label_values(&[tenant, "4002"]).inc();
            metrics.redis_fallback_total.with_label_values(&[tenant, "renew"]).inc();
            metrics.ws_tenant_connections.with_label_values(&[tenant, "gone"]).set(1);
            metrics.hook_duration_ms.with_label_values(&[tenant, "Auth"]).observe(1.0);
        }
        metrics.ws_connections.with_label_values(&["gone"]).set(1);
        metrics.forget_tenant("gone");
        let text = prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
        assert!(!text.contains("tenant=\"gone\"") && !text.contains("tenantId=\"gone\""), "{text}");
        let series = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(series("mics_ws_closed_total{"), 2);
        assert_eq!(series("mics_ws_connections{"), 1, "a node may have a tenant's name");
        assert_eq!(series("mics_hook_duration_ms_count{"), 1);
    }
}
