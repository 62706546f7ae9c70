//! librdkafka behind the seam of the lanes: two producers, their reports, and a new producer after a fatal error. Must not
//! decide what follows a failure.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::time::Instant;

use super::lanes::{Failure, Item, NotTaken, Outcome, Producer, Ticket};
use super::settings::explain;

/// The library repeats itself for as long as a broker is away; one line per this long is enough.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// A producer that dies again and again is made anew this often.
const REMAKE_EVERY: Duration = Duration::from_secs(1);

/// What the library reports, from its threads.
pub enum Report {
    Outcome(Ticket, Outcome),
    /// No broker is connected.
    Down,
}

/// Takes reports; must not block.
pub type Reporter = Arc<dyn Fn(Report) + Send + Sync>;

struct Context {
    report: Reporter,
    /// Tells of lost brokers: the other producer may just be idle.
    main: bool,
    last_log: Mutex<Option<Instant>>,
}

impl Context {
    fn may_log(&self) -> bool {
        let mut last = self.last_log.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = last.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            *last = Some(now);
        }
        due
    }
}

impl rdkafka::ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        use RDKafkaLogLevel as Level;
        let severe = matches!(level, Level::Emerg | Level::Alert | Level::Critical | Level::Error);
        if severe && self.may_log() {
            tracing::warn!(target: "librdkafka", facility, text, "kafka_client");
        } else {
            tracing::debug!(target: "librdkafka", facility, text, "kafka_client");
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.main && error.rdkafka_error_code() == Some(Code::AllBrokersDown) {
            (self.report)(Report::Down);
        }
        if self.may_log() {
            tracing::warn!(target: "librdkafka", %error, reason, "kafka_client");
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let outcome = match result {
            Ok(_) => Ok(()),
            Err((error, record)) => {
                if self.may_log() {
                    let topic = rdkafka::Message::topic(record);
                    tracing::warn!(topic, %error, "event_not_stored");
                }
                Err(failure(error))
            }
        };
        (self.report)(Report::Outcome(*ticket, outcome));
    }
}

/// What an error of the library says about the event.
fn failure(error: &KafkaError) -> Failure {
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize) => Failure::TooLarge,
        Some(
            Code::InvalidTopic
            | Code::TopicAuthorizationFailed
            | Code::PolicyViolation
            | Code::InvalidConfig
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidRequiredAcks
            | Code::UnsupportedForMessageFormat,
        ) => Failure::Refused,
        Some(Code::PurgeQueue | Code::PurgeInflight | Code::Fatal) => Failure::Abandoned,
        _ => Failure::Passing,
    }
}

/// One producer, made when it's needed and again after a fatal error.
struct Maker {
    config: ClientConfig,
    report: Reporter,
    main: bool,
    producer: Option<ThreadedProducer<Context>>,
    next: Option<Instant>,
}

impl Maker {
    fn make(&mut self, now: Instant) -> Result<(), KafkaError> {
        self.next = Some(now + REMAKE_EVERY);
        let context = Context { report: self.report.clone(), main: self.main, last_log: Mutex::default() };
        self.producer = Some(self.config.create_with_context(context)?);
        Ok(())
    }

    fn get(&mut self) -> Option<&ThreadedProducer<Context>> {
        let now = Instant::now();
        let due = self.producer.is_none() && self.next.is_none_or(|next| now >= next);
        if due && let Err(error) = self.make(now) {
            tracing::error!(error = %explain(&error), "kafka_client_not_made");
        }
        self.producer.as_ref()
    }
}

/// The producers of a sink.
pub struct Client {
    main: Maker,
    /// For lanes in trouble.
    apart: Maker,
    restarts: IntCounter,
}

impl Client {
    /// Fails when the library does not take the configuration. Does not wait for a broker. `restarts` counts producers made
    /// anew after a fatal error.
    pub fn new(config: ClientConfig, report: Reporter, restarts: IntCounter) -> Result<Client, KafkaError> {
        let maker = |main| Maker { config: config.clone(), report: report.clone(), main, producer: None, next: None };
        let (mut main, apart) = (maker(true), maker(false));
        main.make(Instant::now())?;
        Ok(Client { main, apart, restarts })
    }
}

impl Producer for Client {
    fn send(&mut self, topic: &str, item: &Item, ticket: Ticket, apart: bool) -> Result<(), NotTaken> {
        let maker = if apart { &mut self.apart } else { &mut self.main };
        let Some(producer) = maker.get() else { return Err(NotTaken::Busy) };
        let record = BaseRecord::with_opaque_to(topic, Box::new(ticket));
        let mut record = record.key(item.user.as_bytes()).payload(&item.value[..]);
        if let Some(trace) = item.trace {
            let header = Header { key: "traceparent", value: Some(&trace.to_string()) };
            record = record.headers(OwnedHeaders::new().insert(header));
        }
        let Err((error, _record)) = producer.send(record) else { return Ok(()) };
        if let Some((code, reason)) = producer.client().fatal_error() {
            tracing::error!(%code, reason, "kafka_client_restarts");
            self.restarts.inc();
            // What it still had is reported before this returns.
            maker.producer = None;
            return Err(NotTaken::Busy);
        }
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) => Err(NotTaken::Busy),
            Some(Code::MessageSizeTooLarge) => Err(NotTaken::TooLarge),
            _ => Err(NotTaken::Failed(failure(&error))),
        }
    }
}
