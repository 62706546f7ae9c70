//! A node is killed: what was promised before and after it is delivered all the same.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::processes::{Cluster, wait};
use super::redis_support::redis_is_missing;
use super::users::{Outcome, Talk, User, in_order, repetitions, sent};

const PAIRS: usize = 6;
/// Before a crash, what the dead node had taken and not yet brought to the client is lost with it.
const WINDOW: Duration = Duration::from_millis(50);
/// A dead node's entries are gone within 8 s; twice that on a busy machine.
const CLEAN: Duration = Duration::from_secs(16);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recipients_node_is_killed_under_load() {
    if redis_is_missing("the_recipients_node_is_killed_under_load") {
        return;
    }
    let mut cluster = Cluster::start(3).await;
    let (mut talks, mut before) = (Vec::new(), Vec::new());
    for n in 0..PAIRS {
        before.push(User::at(&cluster.nodes[1], &format!("bob{n}")).await);
        let alice = User::at(&cluster.nodes[0], &format!("alice{n}")).await;
        talks.push(Talk::start(alice, &format!("bob{n}"), &format!("m{n}"), Duration::from_millis(2)));
    }
    for talk in &talks {
        talk.goes_on(100).await;
    }
    let kill = Instant::now();
    cluster.nodes[1].kill();
    let killed = Instant::now();
    let mut after = Vec::new();
    let load = async {
        for (n, bob) in before.iter().enumerate() {
            bob.closed().await;
            after.push(User::at(&cluster.nodes[2], &format!("bob{n}")).await);
        }
        for talk in &talks {
            talk.goes_on(200).await;
        }
    };
    tokio::join!(load, cleaned(&cluster, killed));
    let (mut acked, mut lost, mut repeated) = (0, 0, 0);
    for (n, talk) in talks.into_iter().enumerate() {
        let (alice, outcomes) = talk.end().await;
        alice.still_connected();
        let mut had = before[n].seen();
        let (owed, excused) = owed(&outcomes, kill, killed, &had);
        after[n].got(&owed).await;
        had.extend(after[n].seen());
        acked += sent(&outcomes).len();
        lost += excused.iter().filter(|id| !had.contains(id)).count();
        repeated += repetitions(&had);
        assert!(in_order(&after[n].seen()), "bob{n} got them out of order: {:?}", after[n].seen());
    }
    eprintln!("{acked} acked; {lost} of those acked within {WINDOW:?} before the kill are lost; {repeated} repeated");
}

/// The two that stay see two nodes, and one of them has removed the dead one's entries.
async fn cleaned(cluster: &Cluster, killed: Instant) {
    let left = [&cluster.nodes[0], &cluster.nodes[2]];
    let buried = || left.iter().map(|node| node.metric("mics_dead_node_cleanups_total", &["node-2"])).sum::<f64>();
    wait("the dead node is cleaned up", || left.iter().all(|node| node.sees() == 2) && buried() >= 1.0).await;
    let took = killed.elapsed();
    eprintln!("the dead node was cleaned up after {} ms", took.as_millis());
    assert!(took < CLEAN, "cleaned up only after {took:?}");
}

/// Ids by user, so that each one's can be asked for.
async fn keep_for(cluster: &Cluster, users: usize, each: usize) -> Vec<Vec<String>> {
    let alice = User::at(&cluster.nodes[0], "alice").await;
    let mut kept = Vec::new();
    for user in 0..users {
        let ids: Vec<String> = (0..each).map(|n| format!("u{user}-{n}")).collect();
        for id in &ids {
            alice.tell(&format!("u{user}"), id).await;
        }
        kept.push(ids);
    }
    alice.client.disconnect().await;
    kept
}

/// The same name and port with another life: its users come back to it, and nobody takes it for the dead one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_comes_back_at_once() {
    if redis_is_missing("a_killed_node_comes_back_at_once") {
        return;
    }
    let mut cluster = Cluster::start(2).await;
    let first = User::at(&cluster.nodes[1], "bob").await;
    let talk = Talk::start(User::at(&cluster.nodes[0], "alice").await, "bob", "m", Duration::from_millis(5));
    talk.goes_on(50).await;
    let kill = Instant::now();
    cluster.nodes[1].kill();
    let killed = Instant::now();
    first.closed().await;
    cluster.nodes[1].start().await;
    let second = User::at(&cluster.nodes[1], "bob").await;
    talk.goes_on(100).await;
    cluster.complete().await;
    talk.goes_on(100).await;
    let (_, outcomes) = talk.end().await;
    let (owed, lost) = owed(&outcomes, kill, killed, &first.seen());
    second.got(&owed).await;
    second.still_connected();
    let lost = lost.iter().filter(|id| !second.seen().contains(id)).count();
    eprintln!("{} acked; {lost} of those acked within {WINDOW:?} before the kill are lost", sent(&outcomes).len());
    assert!(in_order(&second.seen()), "out of order: {:?}", second.seen());
}

/// What must still come, given what was seen before the crash; and what may not come any more.
fn owed(outcomes: &[Outcome], kill: Instant, killed: Instant, seen: &[String]) -> (Vec<String>, Vec<String>) {
    let in_window = |outcome: &&Outcome| outcome.at + WINDOW >= kill && outcome.at - outcome.took <= killed;
    let excused: BTreeSet<String> = outcomes.iter().filter(in_window).map(|outcome| outcome.id.clone()).collect();
    let missing = sent(outcomes).into_iter().filter(|id| !seen.contains(id));
    missing.partition(|id| !excused.contains(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_messages_survive_the_crash_of_one_home_after_the_other() {
    if redis_is_missing("kept_messages_survive_the_crash_of_one_home_after_the_other") {
        return;
    }
    let mut cluster = Cluster::start(3).await;
    let kept = keep_for(&cluster, 40, 5).await;
    cluster.nodes[1].kill();
    let killed = Instant::now();
    // At once, and through the node that stays longest: half of them come before the cluster noticed.
    for (user, ids) in kept.iter().enumerate().take(20) {
        let user = User::at(&cluster.nodes[user % 2 * 2], &format!("u{user}")).await;
        user.got(ids).await;
        assert_eq!(user.seen(), *ids);
    }
    cleaned(&cluster, killed).await;
    // With two nodes left, both are to have everything.
    let all = (20 * 5) as f64;
    for node in [0, 2] {
        let node = &cluster.nodes[node];
        wait("both have all", || node.metric("mics_offline_buffer_messages", &[]) == all).await;
    }
    cluster.nodes[0].kill();
    for (user, ids) in kept.iter().enumerate().skip(20) {
        let user = User::at(&cluster.nodes[2], &format!("u{user}")).await;
        user.got(ids).await;
        assert_eq!(user.seen(), *ids);
    }
}
