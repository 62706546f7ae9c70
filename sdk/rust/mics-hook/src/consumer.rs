//! Reads the event topics of tenants: verifies, passes each event to the handler once, and puts aside what can't be
//! handled. Order within a sender is kept, because one partition is worked on message by message.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use mics_proto::hook::MqEvent;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use crate::event::{self, EventData};
use crate::{BoxError, SeenEvents};

/// Takes verified events.
pub trait EventHandler: Send + Sync + 'static {
    /// Handles one event. An error is tried again, then the event becomes a dead letter.
    fn on_event(&self, event: &MqEvent, data: EventData) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Where and how to read. [`ConsumerOptions::new`] gives the defaults that are named at each field.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Brokers, comma separated.
    pub brokers: String,
    /// Consumers with one group share the partitions. `mics-hook`.
    pub group_id: String,
    /// Tenant -> secret; their topics are read.
    pub tenants: HashMap<String, String>,
    /// Refuse unsigned events. true.
    pub require_sign: bool,
    /// Calls of the handler per event before it becomes a dead letter. 3.
    pub attempts: u32,
    /// Pause before the second call; doubles. 200 ms.
    pub pause: Duration,
    /// Further settings of librdkafka, such as `security.protocol`.
    pub properties: Vec<(String, String)>,
}

impl ConsumerOptions {
    pub fn new(brokers: impl Into<String>, tenants: HashMap<String, String>) -> Self {
        Self {
            brokers: brokers.into(),
            group_id: "mics-hook".into(),
            tenants,
            require_sign: true,
            attempts: 3,
            pause: Duration::from_millis(200),
            properties: Vec::new(),
        }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

/// Longest pause between tries.
const MAX_PAUSE: Duration = Duration::from_secs(5);
const DEAD_LETTER_TIMEOUT: Timeout = Timeout::After(Duration::from_secs(10));

/// Reads until it is told to stop.
pub struct EventConsumer<H, S> {
    options: ConsumerOptions,
    /// Topic -> tenant.
    topics: HashMap<String, String>,
    reader: StreamConsumer,
    dead_letters: FutureProducer,
    handler: H,
    seen: S,
}

impl<H: EventHandler, S: SeenEvents> EventConsumer<H, S> {
    /// Connects in the background; a new group starts with the oldest event. Errs for settings that librdkafka refuses.
    pub fn new(options: ConsumerOptions, handler: H, seen: S) -> Result<Self, KafkaError> {
        let topics: HashMap<_, _> =
            options.tenants.keys().map(|tenant| (event::event_topic(tenant), tenant.clone())).collect();
        let mut reading = options.client();
        reading.set("group.id", &options.group_id).set("auto.offset.reset", "earliest");
        // An offset is stored when its event is done with, and committed in the background.
        reading.set("enable.auto.offset.store", "false").set("topic.metadata.refresh.interval.ms", "10000");
        let reader: StreamConsumer = reading.create()?;
        reader.subscribe(&topics.keys().map(String::as_str).collect::<Vec<_>>())?;
        let dead_letters = options.client().set("acks", "all").create()?;
        Ok(Self { options, topics, reader, dead_letters, handler, seen })
    }

    /// Handles events until `stop` ends; then the offsets are committed.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let received = tokio::select! {
                () = &mut stop => break,
                received = self.reader.recv() => received,
            };
            match received {
                Ok(message) => {
                    // Stopped in between, the event is not stored and comes again.
                    tokio::select! {
                        () = &mut stop => break,
                        () = self.take(&message) => {}
                    }
                    if let Err(error) = self.reader.store_offset_from_message(&message) {
                        tracing::debug!(%error, "offset not stored: the partition went to another consumer");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "kafka consumer");
                    tokio::time::sleep(self.options.pause).await;
                }
            }
        }
        // Dropping the reader commits what is stored and leaves the group.
    }

    /// Brings one record to its end: handled, known before, or a dead letter.
    async fn take(&self, message: &BorrowedMessage<'_>) {
        let value = message.payload().unwrap_or_default();
        let tenant = self.topics.get(message.topic()).map_or("", String::as_str);
        let secret = self.options.tenants.get(tenant).map(String::as_str);
        let reason = match event::verify(tenant, secret, self.options.require_sign, value) {
            Err(error) => error.to_string(),
            Ok((event, data)) => {
                let identity = event::identity(&event);
                if self.seen.is_seen(&identity) {
                    return;
                }
                match self.handle(&event, &data).await {
                    Ok(()) => return self.seen.mark(&identity),
                    Err(error) => error.to_string(),
                }
            }
        };
        tracing::error!(
            topic = message.topic(),
            partition = message.partition(),
            offset = message.offset(),
            reason,
            "dead letter"
        );
        self.put_aside(tenant, message, &reason).await;
    }

    async fn handle(&self, event: &MqEvent, data: &EventData) -> Result<(), BoxError> {
        let mut attempt = 1;
        loop {
            match self.handler.on_event(event, data.clone()).await {
                Err(error) if attempt < self.options.attempts => {
                    tracing::warn!(tenant = %event.tenant_id, msg = %event.msg_id, attempt, %error, "event handler failed");
                    tokio::time::sleep(self.pause(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Until Kafka has it: a record is never passed over silently.
    async fn put_aside(&self, tenant: &str, message: &BorrowedMessage<'_>, reason: &str) {
        let topic = event::dead_letter_topic(tenant);
        let mut attempt = 1;
        loop {
            let header = Header { key: "mics-dead-letter-reason", value: Some(reason) };
            let record = FutureRecord::to(&topic)
                .key(message.key().unwrap_or_default())
                .payload(message.payload().unwrap_or_default())
                .headers(OwnedHeaders::new().insert(header));
            match self.dead_letters.send(record, DEAD_LETTER_TIMEOUT).await {
                Ok(_) => return,
                Err((error, _)) => tracing::error!(topic, %error, "dead letter not written, trying again"),
            }
            tokio::time::sleep(self.pause(attempt)).await;
            attempt += 1;
        }
    }

    fn pause(&self, attempt: u32) -> Duration {
        self.options.pause.saturating_mul(2u32.pow(attempt.min(10) - 1)).min(MAX_PAUSE)
    }
}
