//! The event sink on librdkafka: idempotent, pipelined, keyed by user. Retries happen inside the library, because only
//! there they keep the order; what it gives up goes to the dead-letter topic once. Must never block a caller.
//!
//! Every event holds a [`Slot`] from the offer until it is published, dead-lettered or lost; caps are on slots.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dashmap::DashMap;
use mics_domain::event::Event;
use mics_domain::ports::{EventRefused, EventSink};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use tokio::time::Instant;

/// The client library's error, e.g. for a bootstrap list that it cannot read.
pub use rdkafka::error::KafkaError;

/// How often the delivery thread looks whether it should end.
const POLL: Duration = Duration::from_millis(50);
/// The library repeats itself for as long as a broker is away; one line per this long is enough.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// Upper bound of what waits for the brokers, in KiB.
const QUEUE_KIB: &str = "262144";

/// Writes an event as the record's value.
pub type Encode = Arc<dyn Fn(&Event) -> Vec<u8> + Send + Sync>;

/// `im-mics-{tenant}-event`
pub fn event_topic(tenant: &str) -> String {
    format!("im-mics-{tenant}-event")
}

/// `im-mics-{tenant}-event-dlq`
pub fn dead_letter_topic(tenant: &str) -> String {
    format!("im-mics-{tenant}-event-dlq")
}

#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port,host:port`
    pub bootstrap: String,
    /// Becomes the client id.
    pub node_id: String,
    /// Events queued or in flight, of all tenants.
    pub queue_capacity: u64,
    /// Events queued or in flight, per tenant.
    pub max_pending_per_tenant: u64,
    pub retry_backoff: Duration,
    /// How long the library tries before an event is a dead letter.
    pub delivery_timeout: Duration,
}

/// What became of one tenant's events.
#[derive(Debug, Default)]
pub struct SinkCounters {
    /// Queued or in flight now.
    pub pending: AtomicU64,
    pub published: AtomicU64,
    /// Given up by the client library, on either topic.
    pub failed: AtomicU64,
    /// Published on the dead-letter topic.
    pub dead_lettered: AtomicU64,
    pub refused_tenant_quota: AtomicU64,
    pub refused_queue_full: AtomicU64,
    /// Accepted, then neither published nor dead-lettered.
    pub lost: AtomicU64,
    /// The part of `lost` that was still waiting when the node stopped.
    pub lost_at_shutdown: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn take_below(counter: &AtomicU64, cap: u64) -> bool {
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < cap).then_some(n + 1)).is_ok()
}

/// One event's share of the caps; given back on drop, whatever became of the event.
struct Slot {
    tenant: Arc<str>,
    counters: Arc<SinkCounters>,
    total: Arc<AtomicU64>,
    dead_letter: bool,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counters.pending.fetch_sub(1, Ordering::AcqRel);
        self.total.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An event on its way from its topic to the dead-letter topic.
struct DeadLetter {
    key: Vec<u8>,
    value: Vec<u8>,
    slot: Box<Slot>,
}

/// Receives the library's reports; runs on the delivery thread.
#[derive(Default)]
struct Reports {
    dead_letters: Mutex<Vec<DeadLetter>>,
    last_log: Mutex<Option<Instant>>,
}

impl Reports {
    fn may_log(&self) -> bool {
        let mut last = self.last_log.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = last.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }

    fn take_dead_letters(&self) -> Vec<DeadLetter> {
        std::mem::take(&mut *self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl rdkafka::ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let severe = matches!(
            level,
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error
        );
        if severe && self.may_log() {
            tracing::warn!(target: "librdkafka", facility, text, "kafka_client");
        } else {
            tracing::debug!(target: "librdkafka", facility, text, "kafka_client");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.may_log() {
            tracing::warn!(target: "librdkafka", %error, reason, "kafka_client");
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Slot>;

    fn delivery(&self, result: &DeliveryResult<'_>, mut slot: Box<Slot>) {
        let counters = slot.counters.clone();
        let (error, record) = match result {
            Ok(_) if slot.dead_letter => return count(&counters.dead_lettered),
            Ok(_) => return count(&counters.published),
            Err((error, record)) => (error, record),
        };
        let purged =
            matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
        if purged {
            count(&counters.lost_at_shutdown);
            return count(&counters.lost);
        }
        count(&counters.failed);
        if slot.dead_letter {
            return count(&counters.lost);
        }
        slot.dead_letter = true;
        let bytes = |part: Option<&[u8]>| part.unwrap_or_default().to_vec();
        let letter = DeadLetter { key: bytes(record.key()), value: bytes(record.payload()), slot };
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    }
}

type Producer = BaseProducer<Reports>;

/// Hands a record to the library. On refusal the slot comes back with the reason.
fn send(producer: &Producer, topic: &str, key: &[u8], value: &[u8], slot: Box<Slot>) -> Result<(), KafkaError> {
    let record = BaseRecord::with_opaque_to(topic, slot).key(key).payload(value);
    producer.send(record).map_err(|(error, _record)| error)
}

fn deliver(producer: &Producer, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        producer.poll(POLL);
        for letter in producer.context().take_dead_letters() {
            let counters = letter.slot.counters.clone();
            let topic = dead_letter_topic(&letter.slot.tenant);
            if send(producer, &topic, &letter.key, &letter.value, letter.slot).is_err() {
                count(&counters.failed);
                count(&counters.lost);
            }
        }
    }
}

/// Queue of all tenants' events towards the brokers.
pub struct KafkaSink {
    producer: Arc<Producer>,
    encode: Encode,
    tenants: DashMap<Arc<str>, Arc<SinkCounters>>,
    total: Arc<AtomicU64>,
    queue_capacity: u64,
    max_pending_per_tenant: u64,
    closed: AtomicBool,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl KafkaSink {
    /// Does not wait for a broker. `encode` gives the value's bytes and runs on the offering thread.
    pub fn new(config: &KafkaConfig, encode: Encode) -> Result<Self, KafkaError> {
        let producer: Producer = ClientConfig::new()
            .set("bootstrap.servers", &config.bootstrap)
            .set("client.id", &config.node_id)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("queue.buffering.max.messages", config.queue_capacity.clamp(1, 10_000_000).to_string())
            .set("queue.buffering.max.kbytes", QUEUE_KIB)
            .set("retry.backoff.ms", config.retry_backoff.as_millis().clamp(1, 300_000).to_string())
            .set("message.timeout.ms", config.delivery_timeout.as_millis().clamp(1, 2_147_483_647).to_string())
            .create_with_context(Reports::default())?;
        let producer = Arc::new(producer);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (producer, stop) = (producer.clone(), stop.clone());
            std::thread::Builder::new().name("mics-events".into()).spawn(move || deliver(&producer, &stop))
        };
        let thread = thread.map_err(|e| KafkaError::ClientCreation(e.to_string()))?;
        Ok(KafkaSink {
            producer,
            encode,
            tenants: DashMap::new(),
            total: Arc::default(),
            queue_capacity: config.queue_capacity,
            max_pending_per_tenant: config.max_pending_per_tenant,
            closed: AtomicBool::new(false),
            stop,
            thread: Some(thread),
        })
    }

    /// Counters of every tenant that ever offered an event.
    pub fn counters(&self) -> Vec<(Arc<str>, Arc<SinkCounters>)> {
        self.tenants.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect()
    }

    /// Events queued or in flight.
    pub fn pending(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// Refuses new events, waits until the brokers have all earlier ones, at most `deadline`, then gives up the rest.
    /// Answers how many were given up.
    pub async fn close(&self, deadline: Duration) -> u64 {
        self.closed.store(true, Ordering::Release);
        self.settled_by(Instant::now() + deadline).await;
        let lost = self.pending();
        if lost > 0 {
            self.producer.purge(PurgeConfig::default().queue().inflight());
            // The library reports each purged event; that takes no broker.
            self.settled_by(Instant::now() + Duration::from_secs(1)).await;
        }
        lost
    }

    async fn settled_by(&self, end: Instant) {
        while self.pending() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn counters_of(&self, tenant: &Arc<str>) -> Arc<SinkCounters> {
        let known = self.tenants.get(tenant).map(|entry| entry.value().clone());
        known.unwrap_or_else(|| self.tenants.entry(tenant.clone()).or_default().value().clone())
    }

    fn slot(&self, tenant: &Arc<str>, counters: &Arc<SinkCounters>) -> Result<Box<Slot>, EventRefused> {
        if self.closed.load(Ordering::Acquire) {
            return Err(EventRefused::QueueFull);
        }
        if !take_below(&counters.pending, self.max_pending_per_tenant) {
            return Err(EventRefused::TenantQuota);
        }
        if !take_below(&self.total, self.queue_capacity) {
            counters.pending.fetch_sub(1, Ordering::AcqRel);
            return Err(EventRefused::QueueFull);
        }
        let (counters, total) = (counters.clone(), self.total.clone());
        Ok(Box::new(Slot { tenant: tenant.clone(), counters, total, dead_letter: false }))
    }

    fn queue(&self, event: &Event, counters: &Arc<SinkCounters>) -> Result<(), EventRefused> {
        let slot = self.slot(&event.tenant, counters)?;
        let value = (self.encode)(event);
        send(&self.producer, &event_topic(&event.tenant), event.user.as_bytes(), &value, slot).map_err(|error| {
            if self.producer.context().may_log() {
                tracing::warn!(tenant = &*event.tenant, %error, "event_not_queued");
            }
            EventRefused::QueueFull
        })
    }
}

impl EventSink for KafkaSink {
    fn offer(&self, event: Event) -> Result<(), EventRefused> {
        let counters = self.counters_of(&event.tenant);
        let verdict = self.queue(&event, &counters);
        match verdict {
            Err(EventRefused::TenantQuota) => count(&counters.refused_tenant_quota),
            Err(EventRefused::QueueFull) => count(&counters.refused_queue_full),
            Ok(()) | Err(EventRefused::Off) => {}
        }
        verdict
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
