//! Nodes that do not reach each other while everything else works.

use std::time::Duration;

use super::processes::{Cluster, Plan, local, pause, port};
use super::proxy::{Link, Proxy};
use super::redis_support::redis_is_missing;
use super::users::{Talk, User, failures, in_order, repetitions, sent, times};

/// Nodes that reach each other through proxies only.
async fn divided(n: usize) -> (Cluster, Vec<Proxy>) {
    let ports: Vec<u16> = (0..n).map(|_| port()).collect();
    let through = |plan: &mut Plan| plan.set("PUBLIC_ENDPOINT", format!("http://127.0.0.1:{}", ports[plan.number - 1]));
    let cluster = Cluster::with(n, through).await;
    let mut proxies = Vec::new();
    for (node, port) in cluster.nodes.iter().zip(&ports) {
        proxies.push(Proxy::start(*port, vec![local(node.port)]).await);
    }
    (cluster, proxies)
}

/// Everything acked arrives, nobody is disconnected. Answers what came, if it was out of order.
async fn settle(name: &str, talk: Talk, listener: &User) -> Option<Vec<String>> {
    let (talker, outcomes) = talk.end().await;
    talker.still_connected();
    let (longest, middle) = times(&outcomes);
    let ids = sent(&outcomes);
    listener.got(&ids).await;
    listener.still_connected();
    let seen: Vec<String> = listener.seen().into_iter().filter(|id| id.starts_with(name)).collect();
    eprintln!(
        "{name}: {} acked, {} repeated, in order: {}, longest wait {longest:?}, middle {middle:?}, failed: {:.5?}",
        ids.len(),
        repetitions(&seen),
        in_order(&seen),
        failures(&outcomes)
    );
    assert!(failures(&outcomes).is_empty(), "a message that nobody could take: {:?}", failures(&outcomes));
    (!in_order(&seen)).then_some(seen)
}

async fn partition(how: Link) {
    let (cluster, proxies) = divided(2).await;
    let (alice, bob) = (User::at(&cluster.nodes[0], "alice").await, User::at(&cluster.nodes[1], "bob").await);
    let (anna, bert) = (User::at(&cluster.nodes[0], "anna").await, User::at(&cluster.nodes[1], "bert").await);
    let step = Duration::from_millis(20);
    let (there, back) = (Talk::start(alice, "bert", "there", step), Talk::start(bob, "anna", "back", step));
    for _ in 0..2 {
        tokio::join!(there.goes_on(20), back.goes_on(20));
        proxies.iter().for_each(|proxy| proxy.set(how));
        tokio::join!(there.goes_on(50), back.goes_on(50));
        pause(3).await;
        proxies.iter().for_each(|proxy| proxy.set(Link::Open));
        tokio::join!(there.goes_on(20), back.goes_on(20));
    }
    let orders = [settle("there", there, &bert).await, settle("back", back, &anna).await];
    assert_eq!(orders, [None, None], "out of order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_refuse_each_other() {
    if !redis_is_missing("nodes_that_refuse_each_other") {
        partition(Link::Refuse).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_a_black_hole_between_them() {
    if !redis_is_missing("nodes_with_a_black_hole_between_them") {
        partition(Link::BlackHole).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_in_a_black_hole_does_not_slow_the_others() {
    if redis_is_missing("a_peer_in_a_black_hole_does_not_slow_the_others") {
        return;
    }
    let (cluster, proxies) = divided(3).await;
    let bob = User::at(&cluster.nodes[1], "bob").await;
    let carol = User::at(&cluster.nodes[2], "carol").await;
    let (alice, anna) = (User::at(&cluster.nodes[0], "alice").await, User::at(&cluster.nodes[0], "anna").await);
    let step = Duration::from_millis(10);
    let (lost, fine) = (Talk::start(alice, "bob", "lost", step), Talk::start(anna, "carol", "fine", step));
    tokio::join!(lost.goes_on(20), fine.goes_on(20));
    proxies[1].set(Link::BlackHole);
    let begun = fine.count();
    tokio::join!(lost.goes_on(100), fine.goes_on(300));
    let meanwhile = fine.outcomes().split_off(begun);
    proxies[1].set(Link::Open);
    let slow = meanwhile.iter().filter(|outcome| outcome.took > Duration::from_millis(250)).count();
    let (longest, middle) = times(&meanwhile);
    eprintln!("to others: longest {longest:?}, middle {middle:?}, {slow} of {} above 250 ms", meanwhile.len());
    // A busy machine slows some, a deadline before each would slow all.
    assert!(slow * 4 < meanwhile.len(), "{slow} of {} messages to others waited for a deadline", meanwhile.len());
    let orders = [settle("fine", fine, &carol).await, settle("lost", lost, &bob).await];
    assert_eq!(orders, [None, None], "out of order");
}
