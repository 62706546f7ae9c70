//! Kafka brokers that a test starts for itself with `scripts/kafka.sh`, and readers of topics. A broker ends with the test's
//! process, however that ends.

#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mics::kafka::{Connection, KafkaConfig, KafkaSink, Limits, Retries};
use mics_actors::metrics::Metrics;
use mics_domain::event::Event;
use mics_domain::ports::EventSink;
use prometheus::Registry;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedHeaders, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

pub const PARTITIONS: i32 = 4;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/kafka.sh");
/// Exit status of the script where no broker can be had.
const CANNOT_RUN: i32 = 3;

static BROKERS: AtomicU32 = AtomicU32::new(0);

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// A broker of its own; gone when dropped.
pub struct Broker {
    pub bootstrap: String,
    pub folder: PathBuf,
    script: Child,
    /// The script ends the broker when this closes.
    life: Option<ChildStdin>,
}

impl Broker {
    /// With further properties; `None`, loudly, where there is no Java or the jars can't be had.
    pub fn start(test: &str, port: u16, properties: &str, format: &str) -> Option<Broker> {
        let number = BROKERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mics-kafka-{}-{number}", std::process::id()));
        let extra = folder.with_extension("properties");
        std::fs::write(&extra, properties).expect("a file");
        let mut command = Command::new("bash");
        command.arg(SCRIPT).arg("run").arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("KAFKA_PORT", port.to_string()).env("KAFKA_EXTRA", &extra).env("KAFKA_FORMAT", format);
        let mut script = command.spawn().expect("bash");
        let life = script.stdin.take();
        let mut line = String::new();
        let _ = BufReader::new(script.stdout.take().expect("its output")).read_line(&mut line);
        let _ = std::fs::remove_file(&extra);
        if line.is_empty() {
            let status = script.wait().expect("its end");
            assert_eq!(status.code(), Some(CANNOT_RUN), "the broker did not start");
            eprintln!("SKIPPED {test}: no Kafka broker can be started here");
            return None;
        }
        let bootstrap = line.split_whitespace().find_map(|word| word.strip_prefix("bootstrap=")).expect("an address");
        Some(Broker { bootstrap: bootstrap.to_owned(), folder, script, life })
    }

    pub fn plain(test: &str) -> Option<Broker> {
        Broker::start(test, free_port(), "", "")
    }

    fn pid(&self) -> String {
        std::fs::read_to_string(self.folder.join("pid")).expect("a pid").trim().to_owned()
    }

    /// `STOP`, `CONT`, `KILL`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid()).status().expect("kill");
        assert!(status.success(), "kill -{name}");
    }

    /// After a `KILL`: the same broker with its data, in a new process.
    pub fn resume(&self) {
        let status = Command::new("bash").arg(SCRIPT).arg("resume").arg(&self.folder).stdout(Stdio::null()).status();
        assert!(status.expect("bash").success(), "the broker came back");
    }

    /// One of Kafka's own tools.
    pub fn tool(&self, words: &[&str]) {
        let mut command = Command::new("bash");
        command.arg(SCRIPT).arg("tool").arg(words[0]).args(["--bootstrap-server", &self.bootstrap]).args(&words[1..]);
        let output = command.output().expect("bash");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {text}");
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().expect("an admin client")
    }

    /// Topics with settings (name, value).
    pub async fn create(&self, topics: &[(&str, &[(&str, &str)])]) {
        let topics = topics.iter().map(|(name, settings)| {
            let topic = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
            settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        });
        let topics: Vec<NewTopic> = topics.collect();
        let results = self.admin().create_topics(&topics, &AdminOptions::new()).await.expect("an answer");
        results.into_iter().for_each(|result| drop(result.expect("a topic")));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-KILL").arg(self.pid()).status();
        // The script removes the folder.
        drop(self.life.take());
        let _ = self.script.wait();
    }
}

/// Settings for tests: plenty of room, short tries.
pub fn config(bootstrap: &str) -> KafkaConfig {
    KafkaConfig {
        connection: Connection {
            bootstrap: bootstrap.to_owned(),
            client_id: "node-1".to_owned(),
            properties: [("reconnect.backoff.max.ms".to_owned(), mics::config::Secret::new("500"))].into(),
        },
        limits: Limits {
            events: 100_000,
            events_per_tenant: 50_000,
            bytes: 256 << 20,
            bytes_per_tenant: 128 << 20,
            second: 1_000,
            second_per_tenant: 500,
        },
        retries: Retries { tries: 3, backoff: Duration::from_millis(50) },
        second_retries: Retries { tries: 20, backoff: Duration::from_millis(200) },
        try_timeout: Duration::from_secs(10),
        max_event_bytes: 1 << 20,
    }
}

/// A sink whose records read `user|msg_id|body`.
pub struct TestSink {
    pub sink: KafkaSink,
    pub metrics: Metrics,
}

impl TestSink {
    pub fn new(config: &KafkaConfig) -> TestSink {
        if std::env::var_os("MICS_TEST_LOG").is_some() {
            let _ = mics::logs::init(mics::config::LogFormat::Text, "debug", "test");
        }
        let metrics = Metrics::new(Registry::new()).expect("metrics");
        let encode = |event: &Event| {
            let head = format!("{}|{}|", event.user, event.msg_id);
            [head.as_bytes(), &event.data].concat()
        };
        let sink = KafkaSink::new(config, Arc::new(encode), &metrics).expect("a sink");
        TestSink { sink, metrics }
    }

    /// Sum of `mics_mq_{name}` over the series of the tenant that have this label value; "" = all of the tenant's.
    pub fn count(&self, name: &str, tenant: &str, label: &str) -> u64 {
        let families = self.metrics.registry.gather();
        let family = families.iter().find(|family| family.name() == format!("mics_mq_{name}"));
        let has =
            |metric: &&prometheus::proto::Metric, value: &str| metric.get_label().iter().any(|l| l.value() == value);
        let series = family.into_iter().flat_map(|family| family.get_metric());
        let series = series.filter(|metric| has(metric, tenant) && (label.is_empty() || has(metric, label)));
        series.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    pub fn published(&self, tenant: &str) -> u64 {
        self.count("published_total", tenant, "event")
    }

    /// Until `done`, at most a minute.
    pub async fn until(&self, what: &str, done: impl Fn(&TestSink) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            assert!(Instant::now() < give_up, "{what} did not come about");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl EventSink for TestSink {
    fn offer(&self, event: Event) -> Result<(), mics_domain::ports::EventRefused> {
        self.sink.offer(event)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    pub key: String,
    pub value: Vec<u8>,
    pub headers: Vec<(String, String)>,
}

impl Record {
    /// (user, msg_id) as [`TestSink`] writes them.
    pub fn names(&self) -> (String, String) {
        let text = String::from_utf8_lossy(&self.value);
        let mut parts = text.split('|');
        let (user, id) = (parts.next().expect("a user"), parts.next().expect("an id"));
        assert_eq!(user, self.key, "the key is the user");
        (user.to_owned(), id.to_owned())
    }
}

fn read_headers(headers: &BorrowedHeaders) -> Vec<(String, String)> {
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
}

/// Reads a topic from its beginning until `at_least` records are there and no more follow.
pub fn read(bootstrap: &str, topic: &str, at_least: usize) -> Vec<Record> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "reader")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        partitions.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&partitions).expect("partitions");
    let give_up = Instant::now() + Duration::from_secs(30);
    let mut records = Vec::new();
    loop {
        let wait = if records.len() < at_least { Duration::from_secs(1) } else { Duration::from_millis(500) };
        match consumer.poll(wait) {
            Some(Ok(message)) => records.push(Record {
                key: String::from_utf8(message.key().unwrap_or_default().to_vec()).expect("text"),
                value: message.payload().unwrap_or_default().to_vec(),
                headers: message.headers().map(read_headers).unwrap_or_default(),
            }),
            Some(Err(_)) | None if records.len() < at_least && Instant::now() < give_up => {}
            Some(Err(_)) | None => return records,
        }
    }
}

/// Message ids by user, in the order of the topic; of an id that is there twice, the first.
pub fn by_user(records: &[Record]) -> HashMap<String, Vec<usize>> {
    let mut users: HashMap<String, Vec<usize>> = HashMap::new();
    for (user, id) in records.iter().map(Record::names) {
        let (ids, id) = (users.entry(user).or_default(), id.parse().expect("a number"));
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    users
}
