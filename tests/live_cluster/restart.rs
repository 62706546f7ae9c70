//! All nodes are restarted one after the other, as an upgrade does it, while clients talk.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::client::Client;
use super::processes::{Cluster, local, port};
use super::proxy::Proxy;
use super::redis_support::redis_is_missing;
use super::users::{Talk, User, failures, repetitions, sent};

const PAIRS: usize = 6;
const BACKLOG: usize = 300;
/// The nodes' `DRAIN_TIMEOUT_SECONDS`.
const DRAIN: Duration = Duration::from_secs(10);
/// What the end of the process may take on a busy machine.
const ENDING: Duration = Duration::from_secs(3);

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Status of a request; `None` once nobody listens.
fn status(address: SocketAddr, path: &str, headers: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n{headers}\r\n").as_bytes()).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    std::str::from_utf8(&answer[9..]).ok()?.parse().ok()
}

/// What a leaving node answers while it drains, and how it ends.
async fn roll(cluster: &mut Cluster, number: usize) {
    let node = &mut cluster.nodes[number];
    let address = node.address();
    // A client that never answers the close keeps the drain going for a second.
    let rude = Client::open(address, &format!("tenantId=t1&token=valid%3Arude{number}&deviceId=d1"));
    let watch = std::thread::spawn(move || {
        let mut answers = Vec::new();
        while let Some(ready) = status(address, "/readyz", "") {
            answers.push((ready, status(address, "/ws?tenantId=t1&token=valid%3Alate&deviceId=d1", UPGRADE)));
        }
        answers
    });
    let (code, took) = node.stop().await;
    let answers = watch.join().expect("no panic");
    drop(rude);
    let draining: Vec<_> = answers.iter().filter(|(ready, _)| *ready == 503).collect();
    eprintln!("{}: exit {code} after {took:?}; {} of {} looks said 503", node.id, draining.len(), answers.len());
    assert_eq!(code, 0, "exit code of {}", node.id);
    assert!(took < DRAIN + ENDING, "{took:?} to leave");
    assert!(!draining.is_empty(), "readiness says 503 during the drain: {answers:?}");
    let wrong: Vec<_> = draining.iter().filter(|(_, upgrade)| !matches!(upgrade, Some(503) | None)).collect();
    assert!(wrong.is_empty(), "a leaving node takes nobody: {wrong:?}");
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

/// A node that can't say good-bye leaves in time all the same: (redis is away, its peer is).
async fn leaves_in_time(frozen_redis: bool) {
    let mut cluster = Cluster::with(2, |plan| plan.set("DRAIN_TIMEOUT_SECONDS", 5)).await;
    let alice = User::at(&cluster.nodes[0], "alice").await;
    for n in 0..200 {
        alice.tell(&format!("away{n}"), &format!("kept-{n}")).await;
    }
    if frozen_redis {
        cluster.redis().signal("STOP");
    } else {
        cluster.nodes[1].freeze();
    }
    let (code, took) = cluster.nodes[0].stop().await;
    eprintln!("left after {took:?}, redis away: {frozen_redis}");
    assert_eq!(code, 0);
    assert!(took < Duration::from_secs(5) + ENDING, "{took:?} to leave within 5 s");
    assert_eq!(alice.closed().await, 4200);
    if frozen_redis {
        cluster.redis().signal("CONT");
        let away = User::at(&cluster.nodes[1], "away7").await;
        away.got(&["kept-7".into()]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_in_time_while_redis_is_frozen() {
    if !redis_is_missing("a_node_leaves_in_time_while_redis_is_frozen") {
        leaves_in_time(true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_leaves_in_time_while_its_peer_is_frozen() {
    if !redis_is_missing("a_node_leaves_in_time_while_its_peer_is_frozen") {
        leaves_in_time(false).await;
    }
}

/// Takes connections, and never says a word.
fn mute() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_broker_collector_peer_and_client_hang_leaves_in_time() {
    if redis_is_missing("a_node_whose_broker_collector_peer_and_client_hang_leaves_in_time") {
        return;
    }
    let (broker, collector) = (mute(), mute());
    let at = |listener: &std::net::TcpListener| listener.local_addr().expect("an address").to_string();
    let mut cluster = Cluster::with(2, |plan| {
        plan.set("DRAIN_TIMEOUT_SECONDS", 4);
        plan.set("KAFKA__BOOTSTRAP_SERVERS", at(&broker));
        plan.set("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", at(&collector)));
        plan.set("OTEL_TRACES_SAMPLER_ARG", 1);
    })
    .await;
    let address = cluster.nodes[0].address();
    let rude = Client::open(address, "tenantId=t1&token=valid%3Arude&deviceId=d1");
    let alice = User::at(&cluster.nodes[0], "alice").await;
    for n in 0..200 {
        alice.tell(&format!("away{n}"), &format!("kept-{n}")).await;
    }
    cluster.nodes[1].freeze();
    let (code, took) = cluster.nodes[0].stop().await;
    eprintln!("left after {took:?}");
    assert_eq!((code, alice.closed().await), (0, 4200));
    assert!(took < Duration::from_secs(4) + ENDING, "{took:?} to leave within 4 s");
    drop(rude);
}
