//! The Kafka sink against librdkafka's mock brokers, which run inside the test and listen on the loopback.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mics::kafka::{KafkaConfig, KafkaSink, SinkCounters, dead_letter_topic, event_topic};
use mics_actors::contract::events::{self as contract, Published};
use mics_domain::event::Event;
use mics_domain::ports::{EventRefused, EventSink, LocalFuture};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::Instant;

const PARTITIONS: i32 = 4;

type Brokers = MockCluster<'static, DefaultProducerContext>;

fn brokers() -> Brokers {
    MockCluster::new(1).expect("mock brokers")
}

fn sink(bootstrap: &str, queue_capacity: u64, max_pending_per_tenant: u64) -> KafkaSink {
    let config = KafkaConfig {
        bootstrap: bootstrap.to_owned(),
        node_id: "node-1".to_owned(),
        queue_capacity,
        max_pending_per_tenant,
        retry_backoff: Duration::from_millis(50),
        delivery_timeout: Duration::from_secs(30),
    };
    KafkaSink::new(&config, Arc::new(|event: &Event| format!("{}|{}", event.user, event.msg_id).into()))
        .expect("a sink")
}

#[derive(Debug, PartialEq, Eq)]
struct Record {
    key: String,
    value: String,
    headers: usize,
}

/// Reads a topic from its beginning until `at_least` records are there and no more follow.
fn read(bootstrap: &str, topic: &str, at_least: usize) -> Vec<Record> {
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
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("text");
    let give_up = Instant::now() + Duration::from_secs(30);
    let mut records = Vec::new();
    loop {
        let wait = if records.len() < at_least { Duration::from_secs(1) } else { Duration::from_millis(200) };
        match consumer.poll(wait) {
            Some(Ok(message)) => records.push(Record {
                key: text(message.key()),
                value: text(message.payload()),
                headers: message.headers().map_or(0, |headers| headers.count()),
            }),
            Some(Err(_)) | None if records.len() < at_least && Instant::now() < give_up => {}
            Some(Err(_)) | None => return records,
        }
    }
}

struct Topics(Brokers);

impl Published for Topics {
    fn published<'a>(&'a self, tenant: &'a str, at_least: usize) -> LocalFuture<'a, Vec<(String, String)>> {
        let records = read(&self.0.bootstrap_servers(), &event_topic(tenant), at_least);
        let pair = |record: Record| {
            let (user, msg_id) = record.value.split_once('|').expect("what the test wrote");
            assert_eq!(user, record.key, "the key is the user");
            (user.to_owned(), msg_id.to_owned())
        };
        Box::pin(async move { records.into_iter().map(pair).collect() })
    }
}

fn counters(sink: &KafkaSink, tenant: &str) -> Arc<SinkCounters> {
    sink.counters().into_iter().find(|(name, _)| &**name == tenant).expect("a tenant with events").1
}

#[tokio::test]
async fn keeps_the_contract_of_the_port() {
    contract::run_all(|| async {
        let brokers = brokers();
        let sink = Arc::new(sink(&brokers.bootstrap_servers(), 10_000, 10_000));
        (sink, Topics(brokers))
    })
    .await;
}

#[tokio::test]
async fn closing_flushes_what_was_taken() {
    let brokers = brokers();
    let sink = sink(&brokers.bootstrap_servers(), 1_000, 1_000);
    for n in 0..100 {
        sink.offer(contract::event("t1", "alice", &n.to_string())).expect("room");
    }
    assert_eq!(sink.close(Duration::from_secs(30)).await, 0);
    assert_eq!(sink.pending(), 0);
    assert_eq!(counters(&sink, "t1").published.load(Relaxed), 100);
    assert_eq!(sink.offer(contract::event("t1", "alice", "late")), Err(EventRefused::QueueFull));
    let records = read(&brokers.bootstrap_servers(), "im-mics-t1-event", 100);
    assert_eq!(records.len(), 100);
    assert_eq!(records[7], Record { key: "alice".into(), value: "alice|7".into(), headers: 0 });
}

#[tokio::test]
async fn caps_hold_per_tenant_and_in_total_and_what_waits_too_long_is_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a socket that nobody serves");
    let sink = sink(&nobody.local_addr().expect("an address").to_string(), 5, 3);
    let offer = |tenant: &str, n: u32| sink.offer(contract::event(tenant, "u", &n.to_string()));
    assert_eq!((0..3).map(|n| offer("a", n)).collect::<Vec<_>>(), vec![Ok(()); 3]);
    assert_eq!(offer("a", 3), Err(EventRefused::TenantQuota));
    assert_eq!((0..2).map(|n| offer("b", n)).collect::<Vec<_>>(), vec![Ok(()); 2]);
    assert_eq!(offer("b", 2), Err(EventRefused::QueueFull));
    assert_eq!(sink.pending(), 5);
    assert_eq!(sink.close(Duration::from_millis(50)).await, 5);
    let (a, b) = (counters(&sink, "a"), counters(&sink, "b"));
    assert_eq!((a.lost.load(Relaxed), a.lost_at_shutdown.load(Relaxed), a.pending.load(Relaxed)), (3, 3, 0));
    assert_eq!((b.lost.load(Relaxed), b.refused_queue_full.load(Relaxed), b.pending.load(Relaxed)), (2, 1, 0));
    assert_eq!(a.refused_tenant_quota.load(Relaxed), 1);
}

#[tokio::test]
async fn what_a_broker_refuses_for_good_becomes_a_dead_letter() {
    let brokers = brokers();
    let sink = sink(&brokers.bootstrap_servers(), 100, 100);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    brokers.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    sink.offer(contract::event("t1", "alice", "1")).expect("room");
    let letters = read(&brokers.bootstrap_servers(), &dead_letter_topic("t1"), 1);
    assert_eq!(letters, [Record { key: "alice".into(), value: "alice|1".into(), headers: 0 }]);
    sink.offer(contract::event("t1", "alice", "2")).expect("room");
    assert_eq!(sink.close(Duration::from_secs(30)).await, 0);
    let counters = counters(&sink, "t1");
    let seen = [&counters.failed, &counters.dead_lettered, &counters.published, &counters.lost, &counters.pending];
    assert_eq!(seen.map(|counter| counter.load(Relaxed)), [1, 1, 1, 0, 0]);
}
