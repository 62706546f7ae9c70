//! What becomes of events, and of messages that rest on them, when the broker is killed in the middle.

use std::collections::BTreeSet;
use std::time::Duration;

use mics::kafka::{dead_letter_topic, event_topic};

use super::kafka_support::read;
use super::processes::{Node, SECRET, wait};
use super::tenant::{TENANT, Tenant, signed};
use super::users::{Talk, User, sent};

/// Room for events while there is no broker; so few that most are refused then.
const ROOM: usize = 100;

fn figure(node: &Node, name: &str, label: &str) -> usize {
    node.metric(name, &[label]) as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_killed_and_no_event_is_uncounted_and_no_message_lost() {
    let Some((broker, tenant)) =
        Tenant::start("a_broker_is_killed_and_no_event_is_uncounted_and_no_message_lost").await
    else {
        return;
    };
    let cluster = tenant.gateway(&broker, |plan| plan.set("KAFKA_MAX_PENDING_PER_TENANT", ROOM)).await;
    let node = &cluster.nodes[0];
    let talk = Talk::start(User::at(node, "alice").await, "bob", "m", Duration::from_millis(2));
    talk.goes_on(100).await;
    broker.signal("KILL");
    wait("events are refused", || figure(node, "mics_mq_dropped_total", "tenant_quota") > 50).await;
    talk.goes_on(50).await;
    broker.resume();
    // What waited is sent, then new events find room again.
    let before = figure(node, "mics_mq_published_total", "topic=\"event\"");
    wait("events flow", || figure(node, "mics_mq_published_total", "topic=\"event\"") > before + 2 * ROOM).await;
    let (alice, outcomes) = talk.end().await;
    let all = sent(&outcomes);
    assert_eq!(all.len(), outcomes.len(), "every message was SENT, also without a broker");

    // One for alice's connection, and per message a notification and the chat's own.
    let offered = 1 + 2 * all.len();
    let outcomes = || {
        let published = figure(node, "mics_mq_published_total", "topic=\"event\"");
        (published, figure(node, "mics_mq_dlq_total", ""), figure(node, "mics_mq_dropped_total", ""))
    };
    wait("every event has one outcome", || {
        let (published, dead, dropped) = outcomes();
        assert!(published + dead + dropped <= offered, "{:?} of {offered}", outcomes());
        published + dead + dropped == offered
    })
    .await;
    let (published, dead, dropped) = outcomes();
    println!("{offered} offered = {published} published + {dead} dead letters + {dropped} dropped");
    wait("nothing waits", || figure(node, "mics_mq_pending", "") == 0).await;
    let distinct = |topic: &str, at_least: usize| {
        let events = read(&broker.bootstrap, topic, at_least).into_iter().map(|record| signed(&record.value, SECRET));
        events.map(|event| (event.event_type, event.msg_id)).collect::<BTreeSet<_>>()
    };
    // A try whose answer was lost may be there twice.
    assert!(distinct(&event_topic(TENANT), published).len() >= published, "what is counted is there");
    assert_eq!(distinct(&dead_letter_topic(TENANT), dead).len(), dead);

    // Whom the tenant could not be told of, the gateway keeps itself.
    let notified = figure(node, "mics_offline_notified_total", "");
    let buffered = figure(node, "mics_offline_buffered_total", "");
    println!("{} messages = {notified} notified + {buffered} buffered", all.len());
    assert_eq!(notified + buffered, all.len());
    assert!(notified > 100 && buffered > 0);
    for record in read(&broker.bootstrap, &dead_letter_topic(TENANT), dead) {
        // As `mics dlq replay` would bring it.
        tenant.store.take(&signed(&record.value, SECRET));
    }
    wait("the tenant has all that it was told of", || tenant.store.caught_up()).await;

    let bob = User::at(node, "bob").await;
    bob.got(&all).await;
    assert_eq!(bob.seen().len(), all.len(), "each once");
    let (pulled, kept): (Vec<String>, Vec<String>) = {
        let store = tenant.store.ids_of("bob");
        bob.seen().into_iter().partition(|id| store.contains(id))
    };
    assert_eq!(bob.seen(), [&pulled[..], &kept[..]].concat(), "the tenant's first, then the gateway's");
    assert_eq!(pulled, tenant.store.ids_of("bob"));
    assert!(super::users::in_order(&kept));
    alice.tell("bob", "live").await;
    bob.got(&["live".to_owned()]).await;
    bob.still_connected();
}
