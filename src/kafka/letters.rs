//! Dead letters: reading them, and sending them again to their event topic, once each as far as Kafka allows. Must not know
//! who asks or how it's shown.

use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::done::Done;
use super::settings::{Connection, KafkaMistake, dead_letter_topic, event_topic, explain};

/// Its committed offsets say what was sent again; nobody is a member of it.
const GROUP: &str = "mics-dlq-replay";
const ASK: Duration = Duration::from_secs(20);
/// Sent and marked together: a crash in between sends these again.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 8 << 20;
const SEND: Duration = Duration::from_secs(30);

/// A coordinator that is still being found is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Why a command went no further.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    #[error("{0}")]
    Setting(#[from] KafkaMistake),
    #[error("{what}: {error}")]
    Kafka { what: String, error: KafkaError },
    #[error("no broker of {0} answers (are address, TLS and password right?): {1}")]
    NoBroker(String, KafkaError),
    #[error("topic {0}: no answer within {ASK:?}")]
    Silent(String),
    #[error("topic {0}: another replay is at work")]
    NotAlone(String),
    #[error("topic {0}: what was sent again is too scattered to be written down; send the letters between again first")]
    Scattered(String),
    #[error("topic {0}: {1}")]
    NotSent(String, KafkaError),
}

fn kafka(what: impl Into<String>) -> impl FnOnce(KafkaError) -> LetterError {
    let what = what.into();
    move |error| LetterError::Kafka { what, error }
}

/// One dead letter, as it lies there.
pub struct Letter {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// Was sent again before.
    pub done: bool,
}

/// What to do with one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Skip,
    Send,
}

/// What became of one letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Skipped,
    Sent,
    /// The event topic did not take it; it stays.
    Failed,
}

/// The brokers' dead letters.
pub struct Letters {
    connection: Connection,
    consumer: BaseConsumer,
}

impl Letters {
    pub fn open(connection: Connection) -> Result<Letters, LetterError> {
        let mut config = connection.client()?;
        config.set("group.id", GROUP).set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "earliest").set("allow.auto.create.topics", "false");
        let consumer = config.create().map_err(|error| explain(&error))?;
        Ok(Letters { connection, consumer })
    }

    /// Tenants that have a dead-letter topic.
    pub fn tenants(&self) -> Result<Vec<String>, LetterError> {
        let metadata = self.metadata(None)?;
        let tenant = |topic: &str| Some(topic.strip_prefix("im-mics-")?.strip_suffix("-event-dlq")?.to_owned());
        let mut tenants: Vec<String> = metadata.topics().iter().filter_map(|topic| tenant(topic.name())).collect();
        tenants.sort();
        Ok(tenants)
    }

    /// Partitions of the tenant's dead-letter topic; `None` when there is no such topic.
    pub fn partitions(&self, tenant: &str) -> Result<Option<Vec<i32>>, LetterError> {
        let topic = dead_letter_topic(tenant);
        let metadata = self.metadata(Some(&topic))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
        match found.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => return Ok(None),
            // An account without the right to see it must not read "no dead letters".
            Some(code) => return Err(kafka(topic)(KafkaError::MetadataFetch(code))),
            None => {}
        }
        let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
        partitions.sort_unstable();
        Ok(Some(partitions))
    }

    fn metadata(&self, topic: Option<&str>) -> Result<Metadata, LetterError> {
        self.consumer.fetch_metadata(topic, ASK).map_err(|error| match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut) => {
                LetterError::NoBroker(self.connection.bootstrap.clone(), error)
            }
            _ => kafka(topic.unwrap_or("topics"))(error),
        })
    }

    fn done(&self, topic: &str, partition: i32) -> Result<Done, LetterError> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let list = patiently(|| self.consumer.committed_offsets(list.clone(), ASK)).map_err(kafka(topic))?;
        let element = list.find_partition(topic, partition);
        Ok(element.map_or_else(Done::default, |element| match element.offset() {
            Offset::Offset(next) => Done::read(next, element.metadata()),
            _ => Done::default(),
        }))
    }

    fn mark(&self, topic: &str, partition: i32, done: &Done) -> Result<(), LetterError> {
        let (next, metadata) = done.write().ok_or_else(|| LetterError::Scattered(topic.to_owned()))?;
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(next)).map_err(kafka(topic))?;
        element.set_metadata(&metadata);
        patiently(|| self.consumer.commit(&list, CommitMode::Sync)).map_err(kafka(topic))
    }

    /// Hands every letter of the partition that is there now to `see`, oldest first.
    pub fn read(&self, tenant: &str, partition: i32, mut see: impl FnMut(Letter)) -> Result<(), LetterError> {
        let topic = dead_letter_topic(tenant);
        let done = self.done(&topic, partition)?;
        self.scan(&topic, partition, |message| {
            see(letter(message, &done));
            Ok(())
        })
    }

    fn scan(
        &self,
        topic: &str,
        partition: i32,
        mut see: impl FnMut(OwnedMessage) -> Result<(), LetterError>,
    ) -> Result<(), LetterError> {
        let (low, high) = self.consumer.fetch_watermarks(topic, partition, ASK).map_err(kafka(topic))?;
        if low >= high {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(low)).map_err(kafka(topic))?;
        self.consumer.assign(&list).map_err(kafka(topic))?;
        let mut heard = Instant::now();
        loop {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) if message.offset() >= high => return Ok(()),
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let last = message.offset() + 1 >= high;
                    see(message.detach())?;
                    if last {
                        return Ok(());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(kafka(topic)(KafkaError::MessageConsumptionFatal(code)));
                }
                Some(Err(_)) | None if heard.elapsed() >= ASK => return Err(LetterError::Silent(topic.to_owned())),
                Some(Err(_)) | None => {}
            }
        }
    }
}

/// Asks again while the group has no coordinator; the broker makes the group's topic on its first use.
fn patiently<T>(ask: impl Fn() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let start = Instant::now();
    loop {
        match ask() {
            Err(error) if is_passing(&error) && start.elapsed() < ASK => std::thread::sleep(ASK_AGAIN),
            answer => return answer,
        }
    }
}

fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::WaitingForCoordinator
                | Code::BrokerTransportFailure
        )
    )
}

fn letter(message: OwnedMessage, done: &Done) -> Letter {
    let (partition, offset) = (message.partition(), message.offset());
    let key = message.key().map(<[u8]>::to_vec);
    let value = message.payload().unwrap_or_default().to_vec();
    Letter { partition, offset, key, value, done: done.contains(offset) }
}

/// Sends dead letters again. Blocks; not for a thread that runs a runtime.
pub struct Replay<'a> {
    letters: &'a Letters,
    producer: FutureProducer,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Replay<'a> {
    pub fn new(letters: &'a Letters) -> Result<Replay<'a>, LetterError> {
        let mut config = letters.connection.client()?;
        config.set("acks", "all").set("enable.idempotence", "true").set("message.max.bytes", "1000000000");
        config.set("message.timeout.ms", SEND.as_millis().to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| KafkaMistake(error.to_string()))?;
        Ok(Replay { letters, producer: config.create().map_err(|error| explain(&error))?, runtime })
    }

    /// Asks `choose` about every letter of the partition, sends those chosen to the tenant's event topic with the same key
    /// and value, and marks them. Every letter that `choose` has seen is told to `tell` once, unless an error ends it
    /// all: then those without a word were not marked, and at most one batch of them was sent.
    pub fn run(
        &self,
        tenant: &str,
        partition: i32,
        mut choose: impl FnMut(&Letter) -> Choice,
        mut tell: impl FnMut(&Letter, Fate),
    ) -> Result<(), LetterError> {
        let topic = dead_letter_topic(tenant);
        let marked = self.letters.done(&topic, partition)?;
        let mut batch = Batch { partition, done: marked.clone(), chosen: Vec::new(), bytes: 0 };
        self.letters.scan(&topic, partition, |message| {
            let letter = letter(message, &marked);
            if choose(&letter) == Choice::Skip {
                tell(&letter, Fate::Skipped);
                return Ok(());
            }
            batch.bytes += letter.value.len();
            batch.chosen.push(letter);
            if batch.chosen.len() < BATCH && batch.bytes < BATCH_BYTES {
                return Ok(());
            }
            self.send(tenant, &mut batch, &mut tell)
        })?;
        self.send(tenant, &mut batch, &mut tell)
    }

    fn send(&self, tenant: &str, batch: &mut Batch, tell: &mut impl FnMut(&Letter, Fate)) -> Result<(), LetterError> {
        let (chosen, dead, topic) = (std::mem::take(&mut batch.chosen), dead_letter_topic(tenant), event_topic(tenant));
        batch.bytes = 0;
        if chosen.is_empty() {
            return Ok(());
        }
        // Nobody else may have marked anything since; and what is about to be sent must fit into the mark.
        if self.letters.done(&dead, batch.partition)? != batch.done {
            return Err(LetterError::NotAlone(dead));
        }
        let (low, _) = self.letters.consumer.fetch_watermarks(&dead, batch.partition, ASK).map_err(kafka(&dead))?;
        batch.done.forget_below(low);
        let mut planned = batch.done.clone();
        chosen.iter().for_each(|letter| planned.insert(letter.offset));
        planned.write().ok_or_else(|| LetterError::Scattered(dead.clone()))?;

        let sent = self.runtime.block_on(join_all(chosen.iter().map(|letter| self.send_one(&topic, letter))));
        for (letter, _) in chosen.iter().zip(&sent).filter(|(_, result)| result.is_ok()) {
            batch.done.insert(letter.offset);
        }
        self.letters.mark(&dead, batch.partition, &batch.done)?;
        let mut failure = None;
        for (letter, result) in chosen.iter().zip(sent) {
            tell(letter, if result.is_ok() { Fate::Sent } else { Fate::Failed });
            failure = failure.or(result.err());
        }
        failure.map_or(Ok(()), |error| Err(LetterError::NotSent(topic, error)))
    }

    async fn send_one(&self, topic: &str, letter: &Letter) -> Result<(), KafkaError> {
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).payload(&letter.value);
        if let Some(key) = &letter.key {
            record = record.key(key);
        }
        let delivery = self.producer.send_result(record).map_err(|(error, _)| error)?;
        match delivery.await {
            Ok(result) => result.map(drop).map_err(|(error, _)| error),
            Err(_) => Err(KafkaError::Canceled),
        }
    }
}

struct Batch {
    partition: i32,
    /// As marked at the broker.
    done: Done,
    chosen: Vec<Letter>,
    bytes: usize,
}
