//! Numbers about deliveries for `/metrics`. Must not decide anything.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use crate::domain::{ChannelType, Timestamp};
use crate::notify::Outcome;
use crate::store::outbox::Claimed;

#[derive(Clone)]
pub struct DeliveryMetrics {
    messages: IntCounterVec,
    latency: HistogramVec,
    /// Deliveries that are still to be made.
    pub waiting: IntGauge,
}

impl DeliveryMetrics {
    pub fn new(registry: &Registry) -> Self {
        let messages = IntCounterVec::new(
            Opts::new("mkat_messages_total", "Messages by kind of channel and what became of them"),
            &["channel", "result"],
        );
        let latency = HistogramVec::new(
            HistogramOpts::new("mkat_delivery_seconds", "From the alert to its delivery by a channel")
                .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0]),
            &["channel"],
        );
        let waiting = IntGauge::new("mkat_outbox_waiting", "Deliveries that are still to be made");
        let metrics = DeliveryMetrics {
            messages: messages.expect("the name and labels are valid"),
            latency: latency.expect("the name and labels are valid"),
            waiting: waiting.expect("the name is valid"),
        };
        let collectors: [Box<dyn prometheus::core::Collector>; 3] =
            [Box::new(metrics.messages.clone()), Box::new(metrics.latency.clone()), Box::new(metrics.waiting.clone())];
        for collector in collectors {
            // Only a worker that was started again finds them registered.
            if let Err(error) = registry.register(collector) {
                tracing::warn!(%error, "delivery metrics are not shown");
            }
        }
        metrics
    }

    pub fn count(&self, kind: ChannelType, outcome: &Outcome, rows: &[Claimed]) {
        let channel = kind.name();
        let result = match outcome {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Retry { .. } => "retry",
            Outcome::Refused { .. } => "refused",
            Outcome::Permanent { .. } => "permanent",
            Outcome::Moved { .. } => "moved",
        };
        self.messages.with_label_values(&[channel, result]).inc();
        if matches!(outcome, Outcome::Delivered { .. }) {
            let now = Timestamp::now();
            for row in rows {
                let latency = now.since(row.created_at);
                self.latency.with_label_values(&[channel]).observe(latency.as_secs_f64());
            }
        }
    }
}
