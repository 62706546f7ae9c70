//! A chat as a consumer of its events sees it.

use std::collections::{HashMap, HashSet};

use mics::kafka::{dead_letter_topic, event_topic};
use mics_client::AckStatus;
use mics_proto::hook::EventType::{self, ConnectOffline, ConnectOnline, GroupChatMsg, OfflineMessage, SingleChatMsg};
use mics_proto::hook::MqEvent;
use mics_proto::message::{ConnectAck, MessageRequest};
use mics_proto::prost::Message as _;

use super::client::unhex;
use super::kafka_support::read;
use super::processes::{SECRET, wait};
use super::tenant::{TENANT, Tenant, judge, signed};
use super::users::User;

/// What one event is about: type, message, recipient, group.
type Line = (EventType, String, String, String);

fn line(kind: EventType, id: &str, to: &str, group: &str) -> Line {
    (kind, id.to_owned(), to.to_owned(), group.to_owned())
}

#[test]
fn signatures_are_judged_as_the_shared_vectors_say() {
    let file: serde_json::Value =
        serde_json::from_str(include_str!("../../proto/vectors/event-signatures.json")).unwrap();
    let vectors = file["vectors"].as_array().expect("vectors");
    let mut kinds = HashSet::new();
    for vector in vectors.iter().filter(|vector| !vector["sign"].as_str().unwrap_or_default().is_empty()) {
        let sent = unhex(vector["sent_hex"].as_str().expect("bytes"));
        let key = vector["key"].as_str().expect("a key");
        kinds.insert(signed(&sent, key).event_type());
        assert!(judge(&sent, "another key").is_err(), "a wrong key is noticed");
    }
    assert_eq!(kinds.len(), 5, "one of each type");
}

/// What is said about the event itself holds for each of them.
fn check(event: &MqEvent, key: &str) {
    assert_eq!((&*event.tenant_id, &*event.node_id, &*event.device_id), (TENANT, "node-1", "d1"));
    assert_eq!(event.user_id, key, "the key of the record");
    assert!(!event.trace_id.is_empty() && event.timestamp > 0);
    match event.event_type() {
        ConnectOnline | ConnectOffline => {
            let ack = ConnectAck::decode(event.event_data.clone()).expect("the ack of the connect");
            assert_eq!((ack.code, ack.user_id), (1000, event.user_id.clone()));
        }
        _ => {
            let message = MessageRequest::decode(event.event_data.clone()).expect("the message");
            assert_eq!((&message.msg_id, &message.user_id), (&event.msg_id, &event.user_id));
            assert_eq!(message.msg_body, format!("body of {}", event.msg_id));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_of_event_is_signed_and_in_order_per_user() {
    let Some((broker, tenant)) = Tenant::start("every_type_of_event_is_signed_and_in_order_per_user").await else {
        return;
    };
    let cluster = tenant.gateway(&broker, |_| {}).await;
    let (alice, bob) = (User::at(&cluster.nodes[0], "alice").await, User::at(&cluster.nodes[0], "bob").await);
    let mut expected: HashMap<&str, Vec<Line>> = HashMap::new();
    for user in ["alice", "bob"] {
        expected.insert(user, vec![line(ConnectOnline, "", "", "")]);
    }
    for n in 0..30 {
        let lines = expected.get_mut("alice").expect("alice");
        let (single, away, group) = (format!("s-{n}"), format!("a-{n}"), format!("g-{n}"));
        alice.tell("bob", &single).await;
        lines.push(line(SingleChatMsg, &single, "bob", ""));
        alice.tell("carol", &away).await;
        // The notification comes before the chat's own event.
        lines.extend([line(OfflineMessage, &away, "carol", ""), line(SingleChatMsg, &away, "carol", "")]);
        let body = format!("body of {group}");
        let ack = alice.client.send_group_chat("friends", body, Some(group.clone())).await.expect("an outcome");
        assert_eq!((ack.status(), ack.offline_notified_users), (AckStatus::Sent, 1), "{}", ack.reason);
        lines.extend([line(OfflineMessage, &group, "carol", "friends"), line(GroupChatMsg, &group, "", "friends")]);
        let back = format!("b-{n}");
        bob.tell("alice", &back).await;
        expected.get_mut("bob").expect("bob").push(line(SingleChatMsg, &back, "alice", ""));
    }
    alice.client.disconnect().await;
    bob.client.disconnect().await;
    for user in ["alice", "bob"] {
        expected.get_mut(user).expect("a user").push(line(ConnectOffline, "", "", ""));
    }
    let total: usize = expected.values().map(Vec::len).sum();
    let published = || cluster.nodes[0].metric("mics_mq_published_total", &["topic=\"event\""]) as usize;
    wait("all are published", || published() >= total).await;

    let mut seen: HashMap<String, Vec<Line>> = HashMap::new();
    for record in read(&broker.bootstrap, &event_topic(TENANT), total) {
        assert!(record.headers.is_empty(), "{:?}", record.headers);
        let event = signed(&record.value, SECRET);
        check(&event, &record.key);
        let line = line(event.event_type(), &event.msg_id, &event.to_user_id, &event.group_id);
        seen.entry(event.user_id).or_default().push(line);
    }
    for (user, lines) in expected {
        assert_eq!(seen.remove(user).unwrap_or_default(), lines, "{user}");
    }
    assert_eq!(seen.len(), 0, "nobody else did anything");
    assert_eq!(read(&broker.bootstrap, &dead_letter_topic(TENANT), 0).len(), 0);
}
