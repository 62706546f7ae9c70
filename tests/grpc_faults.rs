//! Node to node when the network or the far end fails: nothing hangs, nothing is sent under two identities, and a peer
//! that went away costs one deadline.

mod grpc;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use grpc::{LOOPBACK, PATIENCE, eventually, link, link_settings, older, server_settings, start};
use mics::grpc::{LinkSettings, NodeServer};
use mics_actors::contract::link::{Recorder, delivery, users};
use mics_actors::ports::PeerNode;
use mics_domain::breaker::BreakerPolicy;
use mics_domain::delivery::Delivery;
use mics_domain::ports::{LinkError, PeerAnswer, PeerCall, PeerLink};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// Long enough that a busy machine's stalls are short beside it.
const DEADLINE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Open,
    /// Requests arrive, answers don't.
    Deaf,
    /// Nothing arrives on either side; connections are accepted.
    Hole,
}

/// A wire to a server that the test can damage.
struct Proxy {
    endpoint: String,
    state: watch::Sender<Wire>,
    /// Changes when all present connections are to break.
    cuts: watch::Sender<u32>,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    async fn to(server: &str) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let server: SocketAddr = server.strip_prefix("http://").expect("a URL").parse().expect("an address");
        let (state, cuts) = (watch::Sender::new(Wire::Open), watch::Sender::new(0));
        let (states, breaks) = (state.subscribe(), cuts.subscribe());
        let accepted = Arc::<AtomicUsize>::default();
        let counter = accepted.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                let (states, mut breaks) = (states.clone(), breaks.clone());
                breaks.mark_unchanged();
                tokio::spawn(async move {
                    // What was held back when the wire was cut never arrives.
                    tokio::select! {
                        biased;
                        _ = breaks.changed() => {}
                        () = pump(near, server, states) => {}
                    }
                });
            }
        });
        Proxy { endpoint, state, cuts, accepted }
    }

    /// Connections so far.
    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    fn set(&self, state: Wire) {
        self.state.send_replace(state);
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn pump(near: TcpStream, server: SocketAddr, mut states: watch::Receiver<Wire>) {
    let _ = states.wait_for(|state| *state != Wire::Hole).await;
    let Ok(far) = TcpStream::connect(server).await else { return };
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = copy(near_read, far_write, states.clone(), |state| state != Wire::Hole) => {}
        () = copy(far_read, near_write, states, |state| state == Wire::Open) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut states: watch::Receiver<Wire>,
    passes: fn(Wire) -> bool,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        let open = states.wait_for(|state| passes(*state)).await.is_ok();
        if !open || to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}

fn nudge() -> PeerCall {
    PeerCall::Nudge { tenant: "t1".into(), users: users(&["bob"]) }
}

fn deliveries(count: u128) -> Vec<Delivery> {
    (0..count).map(delivery).collect()
}

/// How often each delivery arrived.
fn arrivals(node: &Recorder) -> HashMap<u128, usize> {
    let mut arrivals = HashMap::new();
    for (delivery, _) in node.deliveries() {
        *arrivals.entry(delivery.id).or_default() += 1;
    }
    arrivals
}

#[tokio::test]
async fn a_black_holed_peer_costs_one_deadline_and_then_nothing() {
    let (server, _) = start(Arc::<Recorder>::default(), None);
    let settings = LinkSettings { deadline: DEADLINE, ..link_settings() };
    let link = link(&server, &settings);
    let silent = std::net::TcpListener::bind(LOOPBACK).expect("a socket that nobody serves");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let (all, bob) = (deliveries(51), users(&["bob"]));
    let first = link.forward(&endpoint, &all[0], &bob);
    sleep(DEADLINE / 2).await;
    let later = Instant::now();
    let others = join_all(all[1..].iter().map(|delivery| link.forward(&endpoint, delivery, &bob)));
    assert_eq!(timeout(PATIENCE, first).await, Ok(Err(LinkError::Deadline)));
    assert_eq!(others.await, vec![Err(LinkError::Deadline); 50]);
    assert!(later.elapsed() < DEADLINE, "those that came later failed before their own deadline");
    let counts = link.counts();
    assert_eq!((counts.circuit_openings, counts.sent), (1, 0));
    assert_eq!(counts.forward_failures, [("DeadlineExceeded", 51)]);
    assert_eq!(link.forward(&endpoint, &all[0], &bob).await, Err(LinkError::CircuitOpen));
    assert_eq!(link.call(&endpoint, nudge()).await, Err(LinkError::CircuitOpen));
    assert_eq!((link.counts().circuit_refusals, link.counts().calls), (2, 0));
}

#[tokio::test]
async fn a_peer_that_falls_silent_costs_one_deadline_and_is_used_again_when_it_answers() {
    let node = Arc::<Recorder>::default();
    let (server, behind) = start(node.clone(), None);
    let proxy = Proxy::to(&behind).await;
    let breaker = BreakerPolicy { failure_threshold: 2, open_ms: 1 };
    let link = link(&server, &LinkSettings { deadline: DEADLINE, breaker, ..link_settings() });
    let (all, bob) = (deliveries(40), users(&["bob"]));
    assert_eq!(link.forward(&proxy.endpoint, &all[0], &bob).await, Ok(vec![3]));
    proxy.set(Wire::Hole);
    let begun = Instant::now();
    let answers = join_all(all.iter().map(|delivery| link.forward(&proxy.endpoint, delivery, &bob)));
    assert_eq!(timeout(PATIENCE, answers).await, Ok(vec![Err(LinkError::Deadline); 40]));
    assert!(begun.elapsed() < 2 * DEADLINE);
    assert_eq!(link.counts().circuit_openings, 1);
    // The old connection stays lost: a fresh one is made.
    proxy.set(Wire::Open);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(timeout(PATIENCE, link.forward(&proxy.endpoint, &all[0], &bob)).await, Ok(Ok(vec![3])), "the probe");
    assert_eq!(link.forward(&proxy.endpoint, &all[1], &bob).await, Ok(vec![3]));
    assert_eq!((link.counts().streams, link.counts().reconnects), (2, 1));
}

/// A recorder that takes its time over some deliveries.
struct Slow {
    recorder: Recorder,
    takes: fn(u128) -> Duration,
}

impl PeerNode for Slow {
    fn deliver(&self, delivery: &Delivery, users: &[Arc<str>]) -> Vec<u32> {
        tokio::task::block_in_place(|| std::thread::sleep((self.takes)(delivery.id >> 64)));
        self.recorder.deliver(delivery, users)
    }

    fn answer(&self, call: PeerCall) -> PeerAnswer {
        self.recorder.answer(call)
    }
}

#[tokio::test]
async fn a_slow_peer_that_still_answers_fails_what_is_late_and_nothing_else() {
    let takes = |number| if number == 1 { DEADLINE * 4 / 3 } else { Duration::ZERO };
    let node = Arc::new(Slow { recorder: Recorder::default(), takes });
    let (server, endpoint) = start(node, None);
    let (here, _) = start(Arc::<Recorder>::default(), None);
    let link = link(&here, &LinkSettings { deadline: DEADLINE, ..link_settings() });
    let (all, bob) = (deliveries(3), users(&["bob"]));
    assert_eq!(link.forward(&endpoint, &all[0], &bob).await, Ok(vec![3]));
    let late = link.forward(&endpoint, &all[1], &bob);
    sleep(DEADLINE * 2 / 3).await;
    let behind = link.forward(&endpoint, &all[2], &bob);
    assert_eq!(link.call(&endpoint, nudge()).await, Ok(PeerAnswer::Done), "the peer is alive");
    assert_eq!(late.await, Err(LinkError::Deadline));
    assert_eq!(behind.await, Ok(vec![3]));
    assert_eq!((link.counts().reconnects, link.counts().forward_failures), (0, vec![("DeadlineExceeded", 1)]));
    drop(server);
}

#[tokio::test]
async fn a_connection_that_breaks_in_mid_stream_is_replaced_and_the_rest_repeated_under_the_same_ids() {
    let node = Arc::<Recorder>::default();
    let (server, behind) = start(node.clone(), None);
    let proxy = Proxy::to(&behind).await;
    let link = link(&server, &link_settings());
    let (all, bob) = (deliveries(1_000), users(&["bob"]));
    assert_eq!(link.forward(&proxy.endpoint, &all[0], &bob).await, Ok(vec![3]));
    proxy.set(Wire::Deaf);
    let answers = join_all(all[1..].iter().map(|delivery| link.forward(&proxy.endpoint, delivery, &bob)));
    let breaking = async {
        eventually("many arrived, none was answered", || node.deliveries().len() > 300).await;
        proxy.cut();
        proxy.set(Wire::Open);
    };
    let (answers, ()) =
        timeout(PATIENCE, futures_util::future::join(answers, breaking)).await.expect("no forward hangs");
    assert_eq!(answers, vec![Ok(vec![3]); 999]);
    let arrivals = arrivals(&node);
    assert_eq!(arrivals.len(), 1_000, "no identity but those given");
    let repeated = arrivals.values().filter(|times| **times == 2).count();
    assert!(repeated >= 300 && arrivals.values().all(|times| *times <= 2), "{repeated} came twice, none thrice");
    // The repetitions keep the order.
    let seen: Vec<u128> = node.deliveries().iter().map(|(delivery, _)| delivery.id).collect();
    let first_again = seen.iter().rposition(|id| *id == all[1].id).expect("the first unanswered one came again");
    assert!(seen[first_again..].is_sorted());
    let counts = link.counts();
    assert_eq!((counts.streams, counts.reconnects, counts.forward_failures.len()), (2, 1, 0));
    assert_eq!(counts.forwards, 1_000);
}

#[tokio::test]
async fn a_second_break_ends_the_forward() {
    let node = Arc::<Recorder>::default();
    let (server, behind) = start(node.clone(), None);
    let proxy = Proxy::to(&behind).await;
    let link = link(&server, &link_settings());
    let (all, bob) = (deliveries(2), users(&["bob"]));
    assert_eq!(link.forward(&proxy.endpoint, &all[0], &bob).await, Ok(vec![3]));
    proxy.set(Wire::Deaf);
    let breaking = async {
        eventually("the forward arrived", || node.deliveries().len() == 2).await;
        let mut accepted = proxy.accepted();
        loop {
            proxy.cut();
            eventually("another connection", || proxy.accepted() > accepted).await;
            accepted = proxy.accepted();
        }
    };
    let answer = tokio::select! {
        answer = timeout(PATIENCE, link.forward(&proxy.endpoint, &all[1], &bob)) => answer.expect("no forward hangs"),
        () = breaking => panic!("breaks for ever"),
    };
    assert!(matches!(answer, Err(LinkError::Unavailable(_))), "{answer:?}");
    assert_eq!(link.counts().reconnects, 2);
}

#[tokio::test]
async fn a_repetition_has_what_is_left_of_the_deadline() {
    let node = Arc::<Recorder>::default();
    let (server, behind) = start(node.clone(), None);
    let proxy = Proxy::to(&behind).await;
    let link = link(&server, &LinkSettings { deadline: DEADLINE, ..link_settings() });
    let (all, bob) = (deliveries(2), users(&["bob"]));
    assert_eq!(link.forward(&proxy.endpoint, &all[0], &bob).await, Ok(vec![3]));
    proxy.set(Wire::Deaf);
    let begun = Instant::now();
    let answer = link.forward(&proxy.endpoint, &all[1], &bob);
    eventually("the forward arrived", || node.deliveries().len() == 2).await;
    sleep(DEADLINE / 2).await;
    proxy.set(Wire::Hole);
    proxy.cut();
    assert_eq!(timeout(PATIENCE, answer).await, Ok(Err(LinkError::Deadline)));
    assert!(begun.elapsed() < DEADLINE * 4 / 3, "not a deadline per attempt");
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_older_peers_connection_that_breaks_is_replaced_and_the_rest_repeated_in_order() {
    let node = Arc::<Recorder>::default();
    let (server, _) = start(Arc::<Recorder>::default(), None);
    let proxy = Proxy::to(&older::serve(node.clone()).await).await;
    let link = link(&server, &link_settings());
    let bob = users(&["bob"]);
    // A call carries a message, so it has to be one.
    let message = |n: i64| mics_proto::message::MessageRequest { timestamp_ms: n, ..Default::default() };
    let all: Vec<Delivery> = (1..20)
        .map(|n| Delivery { request: prost::Message::encode_to_vec(&message(n)).into(), ..delivery(1) })
        .collect();
    assert_eq!(link.forward(&proxy.endpoint, &all[0], &bob).await, Ok(vec![1]));
    proxy.set(Wire::Deaf);
    let answers = join_all(all.iter().map(|delivery| link.forward(&proxy.endpoint, delivery, &bob)));
    let breaking = async {
        eventually("the first arrived", || node.deliveries().len() == 2).await;
        proxy.cut();
        proxy.set(Wire::Open);
    };
    let (answers, ()) =
        timeout(PATIENCE, futures_util::future::join(answers, breaking)).await.expect("no forward hangs");
    assert_eq!(answers, vec![Ok(vec![1]); 19]);
    let seen: Vec<_> = node.deliveries().into_iter().map(|(delivery, _)| delivery.request).collect();
    let expected: Vec<_> =
        all[..1].iter().chain(&all[..1]).chain(&all).map(|delivery| delivery.request.clone()).collect();
    assert_eq!(seen, expected, "the one under way came twice, the rest once, all in order");
}

#[tokio::test]
async fn a_peer_killed_in_the_middle_leaves_no_forward_hanging_and_its_successor_is_reached() {
    let node = Arc::new(Slow { recorder: Recorder::default(), takes: |_| Duration::from_millis(1) });
    let (here, _) = start(Arc::<Recorder>::default(), None);
    let (there, endpoint) = start(node.clone(), None);
    let breaker = BreakerPolicy { failure_threshold: 100_000, open_ms: 1 };
    let link = link(&here, &LinkSettings { breaker, ..link_settings() });
    let (all, bob) = (deliveries(1_000), users(&["bob"]));
    let answers = join_all(all.iter().map(|delivery| link.forward(&endpoint, delivery, &bob)));
    let killing = async {
        eventually("half-way", || node.recorder.deliveries().len() > 300).await;
        drop(there);
    };
    let (answers, ()) =
        timeout(PATIENCE, futures_util::future::join(answers, killing)).await.expect("no forward hangs");
    let arrivals = arrivals(&node.recorder);
    for (answer, delivery) in answers.iter().zip(&all) {
        match answer {
            Ok(reached) => assert!(*reached == [3] && arrivals.contains_key(&delivery.id)),
            Err(error) => assert!(matches!(error, LinkError::Unavailable(_)), "{error:?}"),
        }
    }
    assert!(answers.iter().any(Result::is_err), "the peer died before the end");
    let address: SocketAddr = endpoint["http://".len()..].parse().expect("an address");
    let successor = NodeServer::start(&server_settings(None), node, grpc::next_id()).expect("a server");
    eventually("the port is free", || successor.listen(address).is_ok()).await;
    assert_eq!(link.forward(&endpoint, &all[0], &bob).await, Ok(vec![3]));
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unavailable_at_once_and_opens_its_own_circuit_only() {
    let (server, endpoint) = start(Arc::<Recorder>::default(), None);
    let link = link(&server, &link_settings());
    let gone = std::net::TcpListener::bind(LOOPBACK).expect("a port").local_addr().expect("an address");
    let (gone, forwarded, bob) = (format!("http://{gone}"), delivery(1), users(&["bob"]));
    for _ in 0..2 {
        let answer =
            timeout(PATIENCE / 2, link.forward(&gone, &forwarded, &bob)).await.expect("sooner than its deadline");
        assert!(matches!(answer, Err(LinkError::Unavailable(_))), "{answer:?}");
    }
    assert_eq!(link.forward(&gone, &forwarded, &bob).await, Err(LinkError::CircuitOpen));
    assert_eq!(link.forward(&endpoint, &forwarded, &bob).await, Ok(vec![3]));
    assert_eq!(link.counts().forward_failures, [("Unavailable", 2)]);
}

#[tokio::test]
async fn a_call_is_repeated_once_when_its_connection_breaks() {
    let node = Arc::<Recorder>::default();
    let (server, behind) = start(node.clone(), None);
    let proxy = Proxy::to(&behind).await;
    let link = link(&server, &link_settings());
    proxy.set(Wire::Deaf);
    let breaking = async {
        eventually("the call arrived", || node.calls().len() == 1).await;
        proxy.cut();
        proxy.set(Wire::Open);
    };
    let answer = link.call(&proxy.endpoint, nudge());
    let (answer, ()) = timeout(PATIENCE, futures_util::future::join(answer, breaking)).await.expect("no call hangs");
    assert_eq!((answer, node.calls().len()), (Ok(PeerAnswer::Done), 2));
}

#[tokio::test]
async fn a_call_without_an_answer_ends_at_its_deadline_and_the_next_takes_a_fresh_connection() {
    let (server, behind) = start(Arc::<Recorder>::default(), None);
    let proxy = Proxy::to(&behind).await;
    let link = link(&server, &LinkSettings { deadline: DEADLINE, ..link_settings() });
    assert_eq!(link.call(&proxy.endpoint, nudge()).await, Ok(PeerAnswer::Done));
    proxy.set(Wire::Hole);
    assert_eq!(timeout(PATIENCE, link.call(&proxy.endpoint, nudge())).await, Ok(Err(LinkError::Deadline)));
    proxy.set(Wire::Open);
    assert_eq!(link.call(&proxy.endpoint, nudge()).await, Ok(PeerAnswer::Done));
    assert_eq!((link.counts().reconnects, proxy.accepted()), (1, 2));
    assert_eq!(link.counts().call_failures, [("DeadlineExceeded", 1)]);
}

#[tokio::test]
async fn more_forwards_than_may_wait_are_refused_at_once() {
    let (server, _) = start(Arc::<Recorder>::default(), None);
    let link = link(&server, &LinkSettings { deadline: DEADLINE, ..link_settings() });
    let silent = std::net::TcpListener::bind(LOOPBACK).expect("a socket that nobody serves");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let (all, bob) = (deliveries(20_000), users(&["bob"]));
    let answers = join_all(all.iter().map(|delivery| link.forward(&endpoint, delivery, &bob)));
    let answers = timeout(PATIENCE, answers).await.expect("no forward hangs");
    let late = answers.iter().filter(|answer| **answer == Err(LinkError::Deadline)).count();
    let refused = answers.iter().filter(|answer| matches!(answer, Err(LinkError::Unavailable(_)))).count();
    assert_eq!(late + refused, 20_000);
    assert!((4_096..=8_192).contains(&late), "{late} waited");
    assert_eq!((link.counts().forwards, link.counts().overflows), (late as u64, refused as u64));
}
