//! All nodes are restarted one after the other, as an upgrade does it, while clients talk.

use std::time::Duration;

use super::client::{Client, upgrade_status};
use super::processes::{Cluster, local, port};
use super::proxy::Proxy;
use super::redis_support::redis_is_missing;
use super::users::{Talk, User, failures, repetitions, sent};

const PAIRS: usize = 6;
const BACKLOG: usize = 300;
/// The nodes' `DRAIN_TIMEOUT_SECONDS`.
const DRAIN: Duration = Duration::from_secs(10);

/// What a leaving node answers while it drains, and how it ends.
async fn roll(cluster: &mut Cluster, number: usize) {
    let node = &mut cluster.nodes[number];
    let address = node.address();
    // A client that never answers the close keeps the drain going for a second.
    let rude = Client::open(address, &format!("tenantId=t1&token=valid%3Arude{number}&deviceId=d1"));
    let watch = std::thread::spawn(move || {
        let (mut ready, mut upgrades) = (Vec::new(), Vec::new());
        while std::net::TcpStream::connect(address).is_ok() {
            // The listener may go between the two.
            let asked = std::panic::catch_unwind(|| {
                (
                    super::client::http_get(address, "/readyz").0,
                    upgrade_status(address, "tenantId=t1&token=valid%3Alate&deviceId=d1"),
                )
            });
            let Ok((status, upgrade)) = asked else { break };
            ready.push(status);
            upgrades.push((status, upgrade));
        }
        (ready, upgrades)
    });
    let (code, took) = node.stop().await;
    let (ready, upgrades) = watch.join().expect("no panic");
    drop(rude);
    let draining = ready.iter().filter(|status| **status == 503).count();
    eprintln!("{}: exit {code} after {took:?}; {draining} of {} looks said 503", node.id, ready.len());
    assert_eq!(code, 0, "exit code of {}", node.id);
    assert!(took < DRAIN * 2, "{took:?} to leave");
    assert!(draining >= 1, "readiness says 503 during the drain: {ready:?}");
    let wrongly_in: Vec<_> = upgrades.iter().filter(|(ready, upgrade)| *ready == 503 && *upgrade != 503).collect();
    assert!(wrongly_in.is_empty(), "a leaving node takes nobody: {wrongly_in:?}");
    node.start().await;
    cluster.complete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_nothing() {
    if redis_is_missing("a_rolling_restart_loses_nothing") {
        return;
    }
    let mut cluster = Cluster::with(3, |plan| plan.set("DRAIN_TIMEOUT_SECONDS", DRAIN.as_secs())).await;
    let balancer = Proxy::start(port(), cluster.nodes.iter().map(|node| local(node.port)).collect()).await;
    let (mut talks, mut bobs) = (Vec::new(), Vec::new());
    for n in 0..PAIRS {
        bobs.push(User::behind(balancer.port, &format!("bob{n}")).await);
        let alice = User::behind(balancer.port, &format!("alice{n}")).await;
        talks.push(Talk::start(alice, &format!("bob{n}"), &format!("m{n}"), Duration::from_millis(5)));
    }
    let writer = User::at(&cluster.nodes[0], "writer").await;
    for user in 0..BACKLOG {
        writer.tell(&format!("away{user}"), &format!("kept-{user}")).await;
    }
    writer.client.disconnect().await;
    for number in 0..3 {
        roll(&mut cluster, number).await;
        for talk in &talks {
            talk.goes_on(50).await;
        }
    }
    let (mut acked, mut repeated, mut failed, mut closes) = (0, 0, Vec::new(), Vec::new());
    for (talk, bob) in talks.into_iter().zip(&bobs) {
        let (alice, outcomes) = talk.end().await;
        let ids = sent(&outcomes);
        bob.got(&ids).await;
        acked += ids.len();
        repeated += repetitions(&bob.seen());
        failed.extend(failures(&outcomes));
        closes.extend(alice.closes());
        closes.extend(bob.closes());
    }
    eprintln!("{acked} acked, {repeated} repeated, failed: {failed:.5?}, closed with {closes:?}");
    assert!(closes.iter().all(|code| *code == 4200), "closed otherwise than by the drain: {closes:?}");
    let mut lost = Vec::new();
    for user in 0..BACKLOG {
        let away = User::at(&cluster.nodes[user % 3], &format!("away{user}")).await;
        let id = format!("kept-{user}");
        let until = tokio::time::Instant::now() + Duration::from_secs(10);
        while away.seen().is_empty() && tokio::time::Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if away.seen() != [id.clone()] {
            lost.push((id, away.seen()));
        }
        assert!(lost.len() < 4, "kept messages are gone or repeated: {lost:?}");
        away.client.disconnect().await;
    }
    assert!(lost.is_empty(), "kept messages are gone or repeated: {lost:?}");
}
