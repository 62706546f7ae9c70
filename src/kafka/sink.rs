//! The port: an offer takes room, is written, and goes to the pump. Must never block a caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mics_actors::metrics::Metrics;
use mics_domain::event::Event;
use mics_domain::ports::{EventRefused, EventSink};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::Client;
use super::lanes::{Item, Lanes, Policy};
use super::pump::{self, Inbox, Input};
use super::quota::Quota;
use super::settings::{KafkaConfig, KafkaMistake, explain};
use super::tally::Tally;

/// Writes an event as the record's value.
pub type Encode = Arc<dyn Fn(&Event) -> Vec<u8> + Send + Sync>;

/// Queue of all tenants' events towards the brokers.
pub struct KafkaSink {
    encode: Encode,
    quota: Arc<Quota>,
    inbox: Arc<Inbox>,
    closed: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

impl KafkaSink {
    /// Does not wait for a broker. `encode` gives the value's bytes and runs on the offering thread.
    pub fn new(config: &KafkaConfig, encode: Encode, metrics: &Metrics) -> Result<Self, KafkaMistake> {
        let inbox = Arc::new(Inbox::default());
        let reports = inbox.clone();
        let report = Arc::new(move |report| {
            reports.put(Input::Report(report));
        });
        let restarts = metrics.mq_client_restarts_total.with_label_values::<&str>(&[]);
        let client = Client::new(config.producer()?, report, restarts).map_err(|error| explain(&error))?;
        let lanes = Lanes::new(Policy::of(config), Tally::new(metrics.clone()));
        let thread = pump::start(inbox.clone(), lanes, client).map_err(|error| KafkaMistake(error.to_string()))?;
        let quota = Quota::new(config.limits, metrics.clone());
        Ok(KafkaSink { encode, quota, inbox, closed: AtomicBool::new(false), thread: Some(thread) })
    }

    /// Events queued or in flight, dead letters included.
    pub fn pending(&self) -> u64 {
        self.quota.pending()
    }

    /// Refuses new events, waits until all earlier ones are settled, at most `deadline`, then gives up the rest. Answers
    /// how many were given up; a broker may have some of them.
    pub async fn close(&self, deadline: Duration) -> u64 {
        self.closed.store(true, Ordering::Release);
        let end = Instant::now() + deadline;
        while self.pending() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.end().await.unwrap_or(0)
    }

    fn end(&self) -> oneshot::Receiver<u64> {
        let (answer, answered) = oneshot::channel();
        self.inbox.put(Input::End(answer));
        answered
    }
}

impl EventSink for KafkaSink {
    fn offer(&self, event: Event) -> Result<(), EventRefused> {
        if self.closed.load(Ordering::Acquire) {
            return Err(EventRefused::QueueFull);
        }
        let mut slot = self.quota.take(&event.tenant)?;
        let value = (self.encode)(&event);
        slot.grow(value.len() as u64)?;
        let Event { tenant, user, kind, trace, .. } = event;
        let item = Item { tenant, user, kind, value, trace, slot, tries: 0, suspect: false };
        if self.inbox.put(Input::Offer(item)) { Ok(()) } else { Err(EventRefused::QueueFull) }
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        drop(self.end());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
