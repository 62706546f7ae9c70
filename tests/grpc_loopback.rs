//! Node to node over the loopback: the real service, the real link, nothing failing.

mod grpc;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use grpc::{LOOPBACK, PATIENCE, eventually, link, link_settings, older, server_settings, start};
use mics::grpc::{GrpcLink, LinkSettings, NodeServer};
use mics_actors::contract::link::{self as contract, Linked, Recorder, delivery, users, waiting};
use mics_actors::frame;
use mics_actors::ports::PeerNode;
use mics_domain::delivery::Delivery;
use mics_domain::ports::{LinkError, PeerAnswer, PeerCall, PeerLink};
use mics_proto::message::MessageRequest;
use mics_proto::node::node_gateway_client::NodeGatewayClient;
use mics_proto::node::{
    BufferOfflineRequest, DrainOfflineRequest, ForwardAck, ForwardBatchRequest, ForwardSingleRequest,
};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tonic::Code;

fn nudge() -> PeerCall {
    PeerCall::Nudge { tenant: "t1".into(), users: users(&["bob"]) }
}

#[tokio::test]
async fn keeps_the_contract_of_the_port() {
    contract::run_all(|node| async move {
        let (server, endpoint) = start(node, None);
        Linked { link: link(&server, &link_settings()), endpoint, held: Box::new(server) }
    })
    .await;
}

#[tokio::test]
async fn callers_without_the_token_are_refused_and_counted() {
    let node = Arc::<Recorder>::default();
    let settings = server_settings(Some("s3cret"));
    let server = NodeServer::start(&settings, node.clone(), grpc::next_id()).expect("a server");
    let endpoint = format!("http://{}", server.listen(LOOPBACK).expect("a port"));
    let with =
        |token: Option<&str>| link(&server, &LinkSettings { token: token.map(str::to_owned), ..link_settings() });
    for wrong in [None, Some(""), Some("s3cre"), Some("s3crets")] {
        let link = with(wrong);
        // More than open a circuit: the reason is not to be hidden behind one.
        for _ in 0..4 {
            let forwarded = link.forward(&endpoint, &delivery(1), &users(&["bob"])).await;
            assert_eq!(forwarded, Err(LinkError::Unauthenticated), "{wrong:?}");
            assert_eq!(link.call(&endpoint, nudge()).await, Err(LinkError::Unauthenticated), "{wrong:?}");
        }
        assert_eq!(link.counts().forward_failures, [("Unauthenticated", 4)]);
        assert_eq!(link.counts().call_failures, [("Unauthenticated", 4)]);
    }
    assert_eq!(settings.unauthorized.get(), 4 * 2 * 4);
    assert!(node.deliveries().is_empty() && node.calls().is_empty());
    let right = with(Some("s3cret"));
    assert_eq!(right.forward(&endpoint, &delivery(1), &users(&["bob"])).await, Ok(vec![3]));
    assert!(right.call(&endpoint, nudge()).await.is_ok());
    assert!(
        GrpcLink::new(
            &LinkSettings { token: Some("line\nbreak".to_owned()), ..link_settings() },
            server.handle().clone()
        )
        .is_err()
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nothing_back() {
    let node = Arc::<Recorder>::default();
    let (server, endpoint) = start(node.clone(), None);
    let link = link(&server, &link_settings());
    drop(link.forward(&endpoint, &delivery(1), &users(&["bob"])));
    drop(link.call(&endpoint, nudge()));
    eventually("both arrive", || node.deliveries().len() == 1 && node.calls().len() == 1).await;
}

#[tokio::test]
async fn what_is_no_endpoint_is_refused() {
    let (server, _) = start(Arc::<Recorder>::default(), None);
    let link = link(&server, &link_settings());
    let answer = link.forward("not an endpoint", &delivery(1), &users(&["bob"])).await;
    assert!(matches!(answer, Err(LinkError::Refused(_))), "{answer:?}");
    assert_eq!(link.peers(), 0);
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed() {
    let node = Arc::<Recorder>::default();
    let (server, endpoint) = start(node.clone(), None);
    let link = link(&server, &LinkSettings { idle: Duration::from_millis(200), ..link_settings() });
    assert_eq!(link.forward(&endpoint, &delivery(1), &users(&["bob"])).await, Ok(vec![3]));
    eventually("the connection is closed", || link.peers() == 0).await;
    assert_eq!(link.forward(&endpoint, &delivery(2), &users(&["bob"])).await, Ok(vec![3]));
    assert_eq!(link.counts().streams, 2);
}

/// A thread's forwards of 256 bytes, `window` of them under way at a time.
fn caller(link: &GrpcLink, endpoint: &str, caller: u128, each: u128, window: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (bob, request) = (users(&["bob"]), Bytes::from(vec![7; 256]));
    let deliveries: Vec<_> =
        (0..each).map(|n| Delivery { request: request.clone(), ..delivery(caller << 32 | n) }).collect();
    let forwards = deliveries.iter().map(|delivery| link.forward(endpoint, delivery, &bob));
    let answers = stream::iter(forwards).buffered(window);
    let failed = answers.filter(|answer| std::future::ready(*answer != Ok(vec![3])));
    assert_eq!(runtime.block_on(failed.collect::<Vec<_>>()), []);
}

/// Callers of a thread each, all at once.
fn callers(link: &GrpcLink, endpoint: &str, count: u128, each: u128, window: usize) {
    std::thread::scope(|scope| {
        for n in 0..count {
            scope.spawn(move || caller(link, endpoint, n, each, window));
        }
    });
}

#[test]
fn forwards_of_each_of_several_threads_arrive_in_order() {
    let node = Arc::<Recorder>::default();
    let (server, endpoint) = start(node.clone(), None);
    let link = link(&server, &link_settings());
    let (count, each) = (4, 3_000);
    callers(&link, &endpoint, count, each, 200);
    let seen: Vec<u128> = node.deliveries().iter().map(|(delivery, _)| delivery.id >> 64).collect();
    for caller in 0..count {
        let of_caller: Vec<u128> = seen.iter().filter(|n| *n >> 32 == caller).map(|n| n & 0xffff_ffff).collect();
        assert_eq!(of_caller, (0..each).collect::<Vec<_>>(), "caller {caller}");
    }
    let counts = link.counts();
    assert_eq!((counts.forwards, counts.sent, counts.streams, counts.reconnects), (12_000, 12_000, 1, 0));
    assert!(counts.batches < counts.sent, "under load several forwards share a write: {counts:?}");
}

#[tokio::test]
async fn a_forward_beyond_the_limit_is_refused_and_holds_nobody_up() {
    let node = Arc::<Recorder>::default();
    let (server, endpoint) = start(node.clone(), None);
    let link = link(&server, &LinkSettings { max_message_bytes: 10_000, ..link_settings() });
    let mut large = delivery(1);
    large.request = Bytes::from(vec![0; 10_000]);
    let answer = link.forward(&endpoint, &large, &users(&["bob"])).await;
    assert!(matches!(answer, Err(LinkError::Refused(_))), "{answer:?}");
    // Batches keep within the limit as well.
    large.request.truncate(5_000);
    let bob = users(&["bob"]);
    let answers = futures_util::future::join_all((0..50).map(|_| link.forward(&endpoint, &large, &bob))).await;
    assert_eq!(answers, vec![Ok(vec![3]); 50]);
    assert_eq!((link.counts().forwards, link.counts().reconnects), (50, 0));
}

#[tokio::test]
async fn a_peer_with_a_lower_limit_costs_the_large_forward_only() {
    let node = Arc::<Recorder>::default();
    let settings = mics::grpc::ServerSettings { max_message_bytes: 10_000, ..server_settings(None) };
    let server = NodeServer::start(&settings, node.clone(), grpc::next_id()).expect("a server");
    let endpoint = format!("http://{}", server.listen(LOOPBACK).expect("a port"));
    let link = link(&server, &link_settings());
    let (mut large, small, bob) = (delivery(1), delivery(2), users(&["bob"]));
    large.request = Bytes::from(vec![0; 20_000]);
    let answer = link.forward(&endpoint, &large, &bob).await;
    assert!(matches!(answer, Err(LinkError::Unavailable(_))), "{answer:?}");
    assert_eq!(link.forward(&endpoint, &small, &bob).await, Ok(vec![3]));
}

fn message(tenant: &str) -> MessageRequest {
    MessageRequest { tenant_id: tenant.to_owned(), msg_id: "m1".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn the_reference_nodes_forwards_work() {
    let node = Arc::<Recorder>::default();
    let (_server, endpoint) = start(node.clone(), None);
    let mut peer = NodeGatewayClient::connect(endpoint).await.expect("a connection");
    let mut single = ForwardSingleRequest {
        tenant_id: "t1".to_owned(),
        to_user_id: "bob".to_owned(),
        message: Some(message("forged")),
        delivery_id: Bytes::new(),
    };
    let ack = peer.forward_single(single.clone()).await.expect("an answer").into_inner();
    assert_eq!(ack, ForwardAck { ok: true, reason: String::new(), sessions_reached: vec![3] });
    single.delivery_id = Bytes::copy_from_slice(&7_u128.to_be_bytes());
    peer.forward_single(single.clone()).await.expect("an answer");
    let to_user_ids = vec!["carol".to_owned(), "nobody".to_owned()];
    let batch = ForwardBatchRequest {
        tenant_id: "t1".to_owned(),
        to_user_ids,
        message: Some(message("")),
        delivery_id: Bytes::new(),
    };
    let ack = peer.forward_batch(batch).await.expect("an answer").into_inner();
    assert_eq!(ack.sessions_reached, [5, 0]);
    let seen = node.deliveries();
    assert_eq!(seen.iter().map(|(delivery, _)| delivery.id).collect::<Vec<_>>(), [1000, 7, 1001]);
    for (delivery, _) in &seen {
        assert_eq!(&*delivery.tenant, "t1");
        assert_eq!(MessageRequest::decode(delivery.request.clone()), Ok(message("t1")), "the call's tenant counts");
    }
    single.delivery_id = Bytes::from_static(b"short");
    assert_eq!(peer.forward_single(single).await.expect_err("no id").code(), Code::InvalidArgument);
    let empty = ForwardBatchRequest { tenant_id: "t1".to_owned(), ..Default::default() };
    assert_eq!(peer.forward_batch(empty).await.expect_err("no message").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_reference_nodes_offline_calls_work() {
    let node = Arc::<Recorder>::default();
    let (_server, endpoint) = start(node.clone(), None);
    let mut peer = NodeGatewayClient::connect(endpoint).await.expect("a connection");
    let put = |user: &str, ttl_seconds| BufferOfflineRequest {
        tenant_id: "t1".to_owned(),
        to_user_id: user.to_owned(),
        server_frame: Bytes::from_static(b"a server frame"),
        ttl_seconds,
    };
    for (ttl_seconds, ttl_ms) in [(0, 300_000), (-1, 300_000), (7, 7_000)] {
        assert!(peer.buffer_offline(put("bob", ttl_seconds)).await.expect("an answer").into_inner().ok);
        let Some(PeerCall::Place { tenant, kept, .. }) = node.calls().pop() else { panic!("{:?}", node.calls()) };
        assert_eq!((&*tenant, &*kept[0].user, kept[0].ttl_ms, kept[0].devices.len()), ("t1", "bob", ttl_ms, 0));
        assert_eq!(kept[0].frame, frame::binary(b"a server frame"));
    }
    let full = peer.buffer_offline(put("full", 7)).await.expect("an answer").into_inner();
    assert_eq!((full.ok, full.reason.as_str()), (false, "offline buffer full"));
    let drain = DrainOfflineRequest { tenant_id: "t1".to_owned(), user_id: "bob".to_owned() };
    let drained = peer.drain_offline(drain).await.expect("an answer").into_inner().server_frames;
    let expected: Vec<Bytes> = waiting("bob").iter().map(|kept| frame::payload(&kept.frame)).collect();
    assert_eq!(drained, expected);
    let calls = node.calls();
    let [.., PeerCall::Lease { device, hold_ms: 5_000, .. }, PeerCall::Settle { taken, released, .. }] = &calls[..]
    else {
        panic!("{calls:?}")
    };
    assert_eq!((&**device, taken, released.len()), ("", &waiting("bob").iter().map(|k| k.id).collect(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_older_peer_is_forwarded_to_one_by_one() {
    let node = Arc::<Recorder>::default();
    let (server, _) = start(node.clone(), None);
    let endpoint = older::serve(node.clone()).await;
    let link = link(&server, &link_settings());
    let deliveries: Vec<_> = (0..100_u8)
        .map(|n| MessageRequest { msg_id: n.to_string(), ..message("t1") }.encode_to_vec().into())
        .map(|request| Delivery { request, ..delivery(1) })
        .collect();
    let (one, two) = (users(&["bob"]), users(&["bob", "carol"]));
    let forwards = deliveries.iter().enumerate().map(|(n, delivery)| {
        let to = if n % 2 == 0 { &one } else { &two };
        link.forward(&endpoint, delivery, to)
    });
    let answers = futures_util::future::join_all(forwards).await;
    let believed = |n: usize| Ok(vec![1_u32; 1 + n % 2]);
    assert_eq!(answers, (0..100).map(believed).collect::<Vec<_>>());
    let seen: Vec<Bytes> = node.deliveries().into_iter().map(|(delivery, _)| delivery.request).collect();
    assert_eq!(seen, deliveries.iter().map(|delivery| delivery.request.clone()).collect::<Vec<_>>());
    let garbage = link.forward(&endpoint, &delivery(1), &one).await;
    assert!(
        matches!(garbage, Err(LinkError::Refused(_))),
        "what can't be decoded can't be sent as a call: {garbage:?}"
    );
    let answer = link.call(&endpoint, nudge()).await;
    assert!(matches!(answer, Err(LinkError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn sockets_accepted_elsewhere_can_be_handed_over_and_refused_after_the_stop() {
    let (server, ..) = start(Arc::<Recorder>::default(), None);
    let (sockets, handle) = (server.sockets(), server.handle().clone());
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let link = GrpcLink::new(&link_settings(), handle).expect("a link");
    let handing_over = async {
        let (socket, _) = listener.accept().await.expect("a caller");
        sockets.hand_over(socket.into_std().expect("a socket")).expect("room");
        std::future::pending::<()>().await;
    };
    let (forwarded, bob) = (delivery(1), users(&["bob"]));
    tokio::select! {
        () = handing_over => {}
        answer = link.forward(&endpoint, &forwarded, &bob) => assert_eq!(answer, Ok(vec![3])),
    }
    // The open stream of forwards does not hold the stop up.
    timeout(PATIENCE, server.stop(2 * PATIENCE)).await.expect("ends before the deadline");
    let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a socket");
    assert!(sockets.hand_over(client).is_err(), "a stopped server takes nothing");
}

/// A measurement, not a check: `cargo test --release --test grpc_loopback -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn forwards_per_second() {
    for (count, window) in [(1, 1), (1, 256), (4, 256), (4, 1000)] {
        let node = Arc::<Counting>::default();
        let (server, endpoint) = start(node, None);
        let link = link(&server, &link_settings());
        let each = if window == 1 { 10_000 } else { 400_000 / count };
        let begun = Instant::now();
        callers(&link, &endpoint, count, each, window);
        let (took, forwards) = (begun.elapsed().as_secs_f64(), (count * each) as f64);
        let batch = forwards / link.counts().batches as f64;
        println!("{count} callers, {window} under way: {:.0} forwards/s, {batch:.1} per write", forwards / took);
    }
}

#[derive(Default)]
struct Counting;

impl PeerNode for Counting {
    fn deliver(&self, _: &Delivery, users: &[Arc<str>]) -> Vec<u32> {
        vec![3; users.len()]
    }
    fn answer(&self, _: PeerCall) -> PeerAnswer {
        PeerAnswer::Done
    }
}
