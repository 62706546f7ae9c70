//! The consumer against a real broker, which `scripts/kafka.sh` starts: good events once, everything else put aside.
//! Passes over itself, loudly, where no broker can be had.
#![cfg(feature = "kafka")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mics_hook::consumer::{ConsumerOptions, EventConsumer, EventHandler};
use mics_hook::event::EventData;
use mics_hook::mics_proto::prost::Message as _;
use mics_hook::*;
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::oneshot;
use tokio::time::timeout;

const SECRET: &str = "a secret";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../scripts/kafka.sh");
/// Exit status of the script where no broker can be had.
const CANNOT_RUN: i32 = 3;
/// Far above what a broker on this machine takes.
const HANG: Duration = Duration::from_secs(60);

/// A broker; the script ends it when its standard input closes.
struct Broker {
    bootstrap: String,
    script: Child,
    life: Option<ChildStdin>,
}

impl Broker {
    fn start() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("mics-hook-kafka-{}", std::process::id()));
        let mut script = Command::new("bash")
            .args([SCRIPT, "run"])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let life = script.stdin.take();
        let mut line = String::new();
        BufReader::new(script.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(bootstrap) = line.split_whitespace().find_map(|word| word.strip_prefix("bootstrap=")) else {
            assert_eq!(script.wait().unwrap().code(), Some(CANNOT_RUN), "the broker did not start");
            eprintln!("SKIPPED live_kafka: no Kafka broker can be started here");
            return None;
        };
        Some(Broker { bootstrap: bootstrap.to_owned(), script, life })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.life = None;
        let _ = self.script.wait();
    }
}

fn event(msg_id: &str, secret: &str) -> Vec<u8> {
    let message = MessageRequest { msg_id: msg_id.into(), ..Default::default() };
    let mut event = MqEvent {
        tenant_id: "t1".into(),
        event_type: EventType::OfflineMessage.into(),
        msg_id: msg_id.into(),
        user_id: "u1".into(),
        to_user_id: "u2".into(),
        event_data: message.encode_to_vec().into(),
        ..Default::default()
    };
    event.sign = sign::event_sign(secret, &event.encode_to_vec());
    event.encode_to_vec()
}

/// Notes what it was asked to do; fails for "poison" always and for "flaky" once.
#[derive(Clone, Default)]
struct Notes {
    handled: Arc<Mutex<Vec<String>>>,
    failures: Arc<AtomicU32>,
}

impl EventHandler for Notes {
    async fn on_event(&self, event: &MqEvent, data: EventData) -> Result<(), BoxError> {
        assert!(matches!(data, EventData::OfflineMessage(_)));
        let flaky = event.msg_id == "flaky" && self.failures.load(Ordering::SeqCst) == 0;
        if event.msg_id == "poison" || flaky {
            self.failures.fetch_add(1, Ordering::SeqCst);
            return Err("can't be kept".into());
        }
        self.handled.lock().unwrap().push(event.msg_id.clone());
        Ok(())
    }
}

async fn until(what: &str, check: impl Fn() -> bool) {
    let waiting = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(HANG, waiting).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

fn consumer(broker: &Broker, notes: &Notes) -> EventConsumer<Notes, RecentEvents> {
    let mut options = ConsumerOptions::new(&broker.bootstrap, HashMap::from([("t1".into(), SECRET.into())]));
    options.pause = Duration::from_millis(5);
    EventConsumer::new(options, notes.clone(), RecentEvents::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn good_events_are_handled_once_and_the_others_become_dead_letters() {
    let Some(broker) = Broker::start() else { return };
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &broker.bootstrap).create().unwrap();
    let garbage = b"\xff\xff".to_vec();
    let forged = event("forged", "another secret");
    let poison = event("poison", SECRET);
    let values = [&event("a", SECRET), &garbage, &event("a", SECRET), &forged, &event("flaky", SECRET), &poison];
    let send = async |value: &[u8]| {
        let record = FutureRecord::to("im-mics-t1-event").key("u1").payload(value);
        producer.send(record, HANG).await.unwrap();
    };
    for value in values {
        send(value).await;
    }

    let notes = Notes::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let reading = tokio::spawn(consumer(&broker, &notes).run(async move { drop(stopped.await) }));
    let letters = dead_letters(&broker, 3).await;
    assert_eq!(
        letters,
        [
            (garbage, "invalid protobuf".to_owned()),
            (forged, "invalid sign".to_owned()),
            (poison, "can't be kept".to_owned())
        ]
    );
    until("two events", || notes.handled.lock().unwrap().len() == 2).await;
    assert_eq!(*notes.handled.lock().unwrap(), ["a", "flaky"]);
    assert_eq!(notes.failures.load(Ordering::SeqCst), 1 + 3, "three tries for what never works");
    stop.send(()).unwrap();
    timeout(HANG, reading).await.unwrap().unwrap();

    // The next consumer of the group goes on where this one stopped.
    send(&event("b", SECRET)).await;
    let later = Notes::default();
    let reading = tokio::spawn(consumer(&broker, &later).run(std::future::pending()));
    until("the new event", || !later.handled.lock().unwrap().is_empty()).await;
    assert_eq!(*later.handled.lock().unwrap(), ["b"]);
    reading.abort();
}

/// The first `count` dead letters with their reasons.
async fn dead_letters(broker: &Broker, count: usize) -> Vec<(Vec<u8>, String)> {
    let reader: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.bootstrap)
        .set("group.id", "the-test")
        .set("auto.offset.reset", "earliest")
        .set("topic.metadata.refresh.interval.ms", "500")
        .create()
        .unwrap();
    reader.subscribe(&["im-mics-t1-event-dlq"]).unwrap();
    let reading = async {
        let mut found = Vec::new();
        while found.len() < count {
            // The topic appears with the first letter.
            let Ok(message) = reader.recv().await else { continue };
            assert_eq!(message.key(), Some(&b"u1"[..]));
            let reason = message.headers().unwrap().get_as::<str>(0).unwrap().value.unwrap().to_owned();
            found.push((message.payload().unwrap().to_vec(), reason));
        }
        found
    };
    timeout(HANG, reading).await.expect("dead letters did not come")
}
