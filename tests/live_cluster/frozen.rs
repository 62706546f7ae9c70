//! A node stands still for a while: the others go on, and its users miss nothing afterwards.

use std::time::Duration;

use super::processes::{Cluster, pause};
use super::redis_support::redis_is_missing;
use super::users::{Talk, User, failures, in_order, options, repetitions, sent};

const PAIRS: usize = 4;

async fn frozen_for(seconds: u64) {
    let mut cluster = Cluster::start(3).await;
    let (mut talks, mut bobs) = (Vec::new(), Vec::new());
    for n in 0..PAIRS {
        bobs.push(User::at(&cluster.nodes[1], &format!("bob{n}")).await);
        let alice = User::at(&cluster.nodes[0], &format!("alice{n}")).await;
        talks.push(Talk::start(alice, &format!("bob{n}"), &format!("m{n}"), Duration::from_millis(20)));
    }
    // One who talks from there has to wait.
    let anna = User::at(&cluster.nodes[0], "anna").await;
    let ben = User::at(&cluster.nodes[1], "ben").await;
    let back = Talk::start(ben, "anna", "back", Duration::from_millis(20));
    back.goes_on(20).await;
    for talk in &talks {
        talk.goes_on(20).await;
    }
    cluster.nodes[1].freeze();
    for talk in &talks {
        talk.goes_on(20).await;
    }
    pause(seconds).await;
    let kept = cluster.nodes[0].metric("mics_offline_buffered_total", &[]);
    assert!(kept >= 20.0, "who can't be reached is kept for");
    cluster.nodes[1].thaw();
    for talk in &talks {
        talk.goes_on(20).await;
    }
    back.goes_on(20).await;
    let (ben, outcomes) = back.end().await;
    ben.still_connected();
    // A long wait may cost a message, but then its sender is told.
    let ids = sent(&outcomes);
    anna.got(&ids).await;
    eprintln!(
        "from there: {} acked, {} repeated, failed: {:?}",
        ids.len(),
        repetitions(&anna.seen()),
        failures(&outcomes)
    );
    assert!(in_order(&anna.seen()), "out of order: {:?}", anna.seen());
    let mut disorder = Vec::new();
    for (n, talk) in talks.into_iter().enumerate() {
        let (alice, outcomes) = talk.end().await;
        alice.still_connected();
        let ids = sent(&outcomes);
        bobs[n].got(&ids).await;
        bobs[n].still_connected();
        let seen = bobs[n].seen();
        eprintln!(
            "frozen for {seconds} s: {} acked, {} repeated, in order: {}, failed: {:.5?}",
            ids.len(),
            repetitions(&seen),
            in_order(&seen),
            failures(&outcomes)
        );
        if !in_order(&seen) {
            disorder.push(seen);
        }
    }
    cluster.complete().await;
    assert!(disorder.is_empty(), "{} of {PAIRS} got them out of order: {:?}", disorder.len(), disorder[0]);
}

/// The other device, on a node that goes on, gets everything at once; the frozen one afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_devices_is_on_a_frozen_node() {
    if redis_is_missing("one_of_two_devices_is_on_a_frozen_node") {
        return;
    }
    let mut cluster = Cluster::start(3).await;
    let alice = User::at(&cluster.nodes[0], "alice").await;
    let desktop = User::at(&cluster.nodes[1], "bob").await;
    let phone = User::try_at(cluster.nodes[2].port, "bob", "phone", options(false)).await.expect("let in");
    let ids: Vec<String> = (0..60).map(|n| format!("m-{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        match n {
            20 => cluster.nodes[1].freeze(),
            40 => cluster.nodes[1].thaw(),
            _ => {}
        }
        alice.tell("bob", id).await;
        phone.got(&ids[..=n]).await;
    }
    desktop.got(&ids).await;
    assert_eq!(phone.seen(), ids);
    assert!(in_order(&desktop.seen()), "out of order: {:?}", desktop.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_frozen_for_less_than_its_lease() {
    if !redis_is_missing("a_node_frozen_for_less_than_its_lease") {
        frozen_for(3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_frozen_for_longer_than_its_lease() {
    if !redis_is_missing("a_node_frozen_for_longer_than_its_lease") {
        frozen_for(12).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_frozen_for_longer_than_its_clients_heartbeat() {
    if !redis_is_missing("a_node_frozen_for_longer_than_its_clients_heartbeat") {
        frozen_for(40).await;
    }
}
