//! Counts and logs what becomes of events. Must not decide anything.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mics_actors::metrics::Metrics;
use mics_domain::event::EventType;
use mics_domain::ports::EventRefused;
use tokio::time::Instant;

use super::lanes::Stage;

/// Losses of one tenant and reason are logged at most this often, with their number.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// The pump's book; owned by its thread.
pub struct Tally {
    metrics: Metrics,
    losses: HashMap<(Arc<str>, &'static str), Losses>,
}

#[derive(Default)]
struct Losses {
    untold: u64,
    told_at: Option<Instant>,
}

/// Spelling of a refusal in metric labels.
pub fn reason(refused: EventRefused) -> &'static str {
    match refused {
        EventRefused::TenantQuota => "tenant_quota",
        EventRefused::QueueFull => "queue_full",
        EventRefused::Off => "off",
    }
}

impl Tally {
    pub fn new(metrics: Metrics) -> Self {
        Tally { metrics, losses: HashMap::new() }
    }

    pub fn stored(&self, stage: Stage, tenant: &str, kind: EventType) {
        let kind = kind.label();
        let topic = if stage == Stage::Event { "event" } else { "dlq" };
        self.metrics.mq_published_total.with_label_values(&[tenant, topic, kind]).inc();
        if stage != Stage::Event {
            self.metrics.mq_dlq_total.with_label_values(&[tenant, kind]).inc();
        }
        if stage == Stage::Second {
            self.metrics.mq_dlq_fallback_published_total.with_label_values(&[tenant, kind]).inc();
        }
    }

    /// One try failed. The one try of a dead letter has no counter of its own: it shows in the second queue's.
    pub fn failed(&self, stage: Stage, tenant: &str, kind: EventType) {
        match stage {
            Stage::Event => self.metrics.mq_failed_total.with_label_values(&[tenant, "event", kind.label()]).inc(),
            Stage::DeadLetter => {}
            Stage::Second => self.metrics.mq_dlq_fallback_failed_total.with_label_values(&[tenant, kind.label()]).inc(),
        }
    }

    pub fn retried(&self, stage: Stage, tenant: &str, kind: EventType) {
        let metric = match stage {
            Stage::Event => &self.metrics.mq_retried_total,
            Stage::DeadLetter => return,
            Stage::Second => &self.metrics.mq_dlq_fallback_retried_total,
        };
        metric.with_label_values(&[tenant, kind.label()]).inc();
    }

    pub fn kept_second(&self, tenant: &str, kind: EventType) {
        self.metrics.mq_dlq_fallback_enqueued_total.with_label_values(&[tenant, kind.label()]).inc();
    }

    pub fn refused_second(&self, tenant: &str, refused: EventRefused) {
        if refused != EventRefused::Off {
            self.metrics.mq_dlq_fallback_dropped_total.with_label_values(&[tenant, reason(refused)]).inc();
        }
    }

    /// An accepted event is on neither topic and will not be.
    pub fn lost(&mut self, tenant: &Arc<str>, reason: &'static str, now: Instant) {
        self.metrics.mq_dropped_total.with_label_values(&[&**tenant, reason]).inc();
        let losses = self.losses.entry((tenant.clone(), reason)).or_default();
        losses.untold += 1;
        if losses.told_at.is_none_or(|told| now.duration_since(told) >= LOG_EVERY) {
            tracing::error!(tenant = &**tenant, reason, count = losses.untold, "events_lost");
            *losses = Losses { untold: 0, told_at: Some(now) };
        }
    }

    /// Says what was not said yet.
    pub fn tell_rest(&mut self) {
        for ((tenant, reason), losses) in self.losses.drain().filter(|(_, losses)| losses.untold > 0) {
            tracing::error!(tenant = &*tenant, reason, count = losses.untold, "events_lost");
        }
    }
}
