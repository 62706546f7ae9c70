//! `mics dlq` as operators run it, against a real broker.

use std::process::Command;
use std::sync::Arc;

use kafka_support::{Broker, config, free_port, read};
use mics::hooks::sign::event_bytes;
use mics::kafka::{Choice, Fate, KafkaSink, LetterError, Letters, Replay, dead_letter_topic, event_topic};
use mics_actors::contract::events::event;
use mics_actors::metrics::Metrics;
use mics_domain::event::{Event, EventType};
use mics_domain::ports::EventSink;
use mics_proto::hook::MqEvent;
use mics_proto::prost::Message;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

mod kafka_support;

const HOUR: i64 = 3_600_000;
const START: i64 = 1_770_000_000_000;

/// Runs `mics dlq` and gives exit code and JSON.
fn dlq(broker: &Broker, words: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mics"));
    command.arg("dlq").args(words).arg("--json").env("KAFKA__BOOTSTRAP_SERVERS", &broker.bootstrap);
    let output = command.output().expect("mics");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words:?}: {error}: {text}{errors}"));
    (output.status.code(), value)
}

/// What a replay did to the one tenant.
fn counts(result: &(Option<i32>, Value)) -> [u64; 6] {
    let tenant = &result.1["tenants"][0];
    ["read", "replayed", "would_replay", "already_replayed", "not_asked_for", "unreadable"]
        .map(|name| tenant[name].as_u64().unwrap_or_else(|| panic!("{name}: {tenant}")))
}

/// 120 dead letters of 12 users and three types, an hour apart, made by a sink whose topic refuses them.
async fn dead_letters(broker: &Broker) {
    let small: &[(&str, &str)] = &[("max.message.bytes", "100")];
    broker.create(&[(&event_topic("t1"), small), (&dead_letter_topic("t1"), &[])]).await;
    let metrics = Metrics::new(prometheus::Registry::new()).expect("metrics");
    let sink = KafkaSink::new(&config(&broker.bootstrap), Arc::new(|event| event_bytes(event, "node-1")), &metrics);
    let sink = sink.expect("a sink");
    let kinds = [EventType::SingleChatMsg, EventType::GroupChatMsg, EventType::ConnectOnline];
    for n in 0..120 {
        let at_ms = START + n as i64 * HOUR;
        let one = event("t1", &format!("u{}", n % 12), &format!("{n:03}"));
        sink.offer(Event { kind: kinds[n % 3], at_ms, ..one }).expect("room");
    }
    assert_eq!(sink.close(std::time::Duration::from_secs(60)).await, 0);
    // And one record that is no event of this tenant.
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", &broker.bootstrap).create().expect("a producer");
    let topic = dead_letter_topic("t1");
    producer.send(BaseRecord::to(&topic).key("u1").payload("no event")).map_err(|(error, _)| error).expect("sent");
    producer.flush(std::time::Duration::from_secs(30)).expect("flushed");
    let repaired = ["kafka.admin.ConfigCommand", "--alter", "--entity-type", "topics", "--entity-name"];
    let topic = event_topic("t1");
    broker.tool(&[&repaired[..], &[&topic, "--add-config", "max.message.bytes=1000000"]].concat());
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed_once_each() {
    let Some(broker) = Broker::start("dead_letters_are_listed", free_port(), "", "") else { return };
    dead_letters(&broker).await;

    let (code, list) = dlq(&broker, &["list", "--records", "1"]);
    let tenant = &list["tenants"][0];
    assert_eq!(
        (code, tenant["tenant"].as_str(), tenant["records"].as_u64()),
        (Some(0), Some("t1"), Some(121)),
        "{list}"
    );
    assert_eq!(tenant["types"], json!({"SINGLE_CHAT_MSG": 40, "GROUP_CHAT_MSG": 40, "CONNECT_ONLINE": 40}));
    assert_eq!((tenant["unreadable"].as_u64(), tenant["replayed"].as_u64()), (Some(1), Some(0)));
    assert_eq!(tenant["oldest"], "2026-02-02T02:40:00.000Z");
    assert_eq!(tenant["letters"].as_array().map(Vec::len), Some(1));

    let dry = dlq(&broker, &["replay", "--tenant", "t1", "--dry-run"]);
    assert_eq!((dry.0, counts(&dry)), (Some(0), [121, 0, 120, 0, 0, 1]));
    assert_eq!(read(&broker.bootstrap, &event_topic("t1"), 0).len(), 0, "a dry run sends nothing");

    let (from, to) = (START + 10 * HOUR, START + 40 * HOUR);
    let some = ["replay", "--tenant=t1", "--type=SingleChatMsg", &format!("--from={from}"), &format!("--to={to}")];
    let first = dlq(&broker, &some);
    assert_eq!((first.0, counts(&first)), (Some(0), [121, 10, 0, 0, 110, 1]), "{}", first.1);
    let again = dlq(&broker, &some);
    assert_eq!((again.0, counts(&again)), (Some(0), [121, 0, 0, 10, 110, 1]), "each once");
    let rest = dlq(&broker, &["replay", "--tenant=t1"]);
    assert_eq!((rest.0, counts(&rest)), (Some(0), [121, 110, 0, 10, 0, 1]));
    let none = dlq(&broker, &["replay", "--tenant=t1"]);
    assert_eq!((none.0, counts(&none)), (Some(0), [121, 0, 0, 120, 0, 1]));
    let (_, list) = dlq(&broker, &["list", "--tenant", "t1"]);
    assert_eq!(list["tenants"][0]["replayed"].as_u64(), Some(120));

    let records = read(&broker.bootstrap, &event_topic("t1"), 120);
    let mut ids: Vec<String> = records
        .iter()
        .map(|record| {
            let event = MqEvent::decode(&record.value[..]).expect("an event");
            assert_eq!((record.headers.len(), &event.user_id), (0, &record.key), "same key, no headers");
            event.msg_id
        })
        .collect();
    ids.sort();
    assert_eq!(ids, (0..120).map(|n| format!("{n:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_topic_that_still_refuses_leaves_the_letters_where_they_are() {
    let Some(broker) = Broker::start("a_topic_that_still_refuses", free_port(), "", "") else { return };
    dead_letters(&broker).await;
    let topic = event_topic("t1");
    let broken = ["kafka.admin.ConfigCommand", "--alter", "--entity-type", "topics", "--entity-name", &topic];
    broker.tool(&[&broken[..], &["--add-config", "max.message.bytes=100"]].concat());
    let failed = dlq(&broker, &["replay", "--tenant=t1"]);
    assert_eq!(failed.0, Some(1));
    assert!(failed.1["stopped"].as_str().is_some_and(|why| why.contains(&topic)), "{}", failed.1);
    let tenant = &failed.1["tenants"][0];
    assert_eq!((tenant["replayed"].as_u64(), tenant["unknown"].as_u64()), (Some(0), Some(0)));
    broker.tool(&[&broken[..], &["--add-config", "max.message.bytes=1000000"]].concat());
    let repaired = dlq(&broker, &["replay", "--tenant=t1"]);
    assert_eq!((repaired.0, counts(&repaired)[1]), (Some(0), 120));
}

#[tokio::test]
async fn a_replay_that_is_not_alone_stops_before_it_sends() {
    let Some(broker) = Broker::start("a_replay_that_is_not_alone", free_port(), "", "") else { return };
    dead_letters(&broker).await;
    let connection = config(&broker.bootstrap).connection;
    // Replays block, which is not for a thread that runs a runtime.
    let count = std::thread::spawn(move || {
        let (mine, other) = (Letters::open(connection.clone()).expect("one"), Letters::open(connection).expect("two"));
        let mut sizes = mine.partitions("t1").expect("an answer").expect("a topic").into_iter().map(|partition| {
            let mut size = 0;
            mine.read("t1", partition, |_| size += 1).expect("letters");
            (partition, size)
        });
        let (partition, size) = sizes.find(|(_, size)| *size > 1).expect("a partition with letters");
        let mut first = true;
        let run = |letters: &Letters, choose: &mut dyn FnMut(), tell: &mut dyn FnMut(Fate)| {
            let replay = Replay::new(letters).expect("a replay");
            replay.run("t1", partition, |_| (choose(), Choice::Send).1, |_, fate| tell(fate))
        };
        let mut sent = 0;
        let meanwhile = &mut || {
            if std::mem::take(&mut first) {
                run(&other, &mut || {}, &mut |fate| sent += usize::from(fate == Fate::Sent)).expect("all sent");
            }
        };
        let result = run(&mine, meanwhile, &mut |fate| panic!("{fate:?}"));
        assert!(matches!(result, Err(LetterError::NotAlone(_))), "{result:?}");
        assert_eq!(sent, size);
        size
    });
    let count = count.join().expect("no panic");
    assert_eq!(read(&broker.bootstrap, &event_topic("t1"), count).len(), count, "each once");
}

#[tokio::test]
async fn a_topic_that_is_not_there_or_must_not_be_seen_is_no_empty_one() {
    let strict = "allow.everyone.if.no.acl.found=true\n\
        authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n";
    let Some(broker) = Broker::start("a_topic_that_is_not_there", free_port(), strict, "") else { return };
    let run = |tenant: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mics"));
        command.args(["dlq", "list", "--tenant", tenant]).env("KAFKA__BOOTSTRAP_SERVERS", &broker.bootstrap);
        let output = command.output().expect("mics");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run("mistyped");
    assert!(code == Some(0) && text.contains("there is no topic im-mics-mistyped-event-dlq"), "{code:?} {text}");
    let topic = dead_letter_topic("t1");
    broker.create(&[(&topic, &[])]).await;
    let acl = ["kafka.admin.AclCommand", "--add", "--deny-principal", "User:ANONYMOUS", "--operation", "Describe"];
    broker.tool(&[&acl[..], &["--topic", &topic]].concat());
    let (code, text) = run("t1");
    assert!(code == Some(1) && text.contains(&topic) && text.contains("uthoriz"), "{code:?} {text}");
}

#[test]
fn usage_and_configuration_mistakes_are_told() {
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mics"));
        command
            .arg("dlq")
            .args(words)
            .env_remove("KAFKA__BOOTSTRAP_SERVERS")
            .env("KAFKA_PROP_SASL_PASSWORD", "hunter2");
        let output = command.output().expect("mics");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = run(&["replay"]);
    assert!(code == Some(2) && text.contains("--tenant"), "{text}");
    let (code, text) = run(&["list"]);
    assert!(code == Some(2) && text.contains("KAFKA__BOOTSTRAP_SERVERS"), "{text}");
    let (code, text) = run(&["list", "--KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1"]);
    assert!(code == Some(1) && text.contains("no broker of 127.0.0.1:1 answers"), "{text}");
    let (code, text) =
        run(&["list", "--KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1", "--KAFKA_PROP_SECURITY_PROTOCOL=hunter2"]);
    assert!(code == Some(2) && text.contains("security.protocol") && !text.contains("hunter2"), "{text}");
}
