//! Node to node over the loopback: the real service, the real link.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use mics::grpc::{GrpcLink, LinkSettings, NodeServer, OfflineAccess, SendFuture, ServerSettings};
use mics_actors::ports::LocalDelivery;
use mics_domain::breaker::BreakerPolicy;
use mics_domain::message::{Kind, Message};
use mics_domain::ports::{LinkError, PeerLink};
use mics_proto::node::node_gateway_client::NodeGatewayClient;
use mics_proto::node::{BufferOfflineRequest, DrainOfflineRequest, ForwardBatchRequest};
use tokio::time::{Instant, sleep, timeout};
use tonic::Code;

/// Has as many sessions of a user as the user's name has letters; `nobody` has none.
#[derive(Default)]
struct Node {
    seen: Mutex<Vec<Message>>,
    buffered: Mutex<Vec<(String, String, Bytes, u64)>>,
}

impl LocalDelivery for Node {
    fn deliver(&self, message: &Message, users: &[Arc<str>]) -> Vec<u32> {
        self.seen.lock().unwrap().push(message.clone());
        users.iter().map(|user| if &**user == "nobody" { 0 } else { user.len() as u32 }).collect()
    }
}

impl OfflineAccess for Node {
    fn put<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        frame: Bytes,
        ttl_ms: u64,
    ) -> SendFuture<'a, Result<(), String>> {
        Box::pin(async move {
            if user == "full" {
                return Err("offline buffer full".to_owned());
            }
            self.buffered.lock().unwrap().push((tenant.to_owned(), user.to_owned(), frame, ttl_ms));
            Ok(())
        })
    }

    fn take<'a>(&'a self, _tenant: &'a str, _user: &'a str) -> SendFuture<'a, Vec<Bytes>> {
        Box::pin(async move { self.buffered.lock().unwrap().drain(..).map(|(.., frame, _)| frame).collect() })
    }
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn start(token: Option<&str>) -> (NodeServer, Arc<Node>, String) {
    let node = Arc::new(Node::default());
    let settings = ServerSettings { token: token.map(str::to_owned), max_request_bytes: 16 << 20, threads: 1 };
    let server = NodeServer::start(&settings, node.clone(), node.clone()).expect("a server");
    let address = server.listen(LOOPBACK).expect("a port");
    (server, node, format!("http://{address}"))
}

fn link(server: &NodeServer, token: Option<&str>) -> GrpcLink {
    let settings = LinkSettings {
        token: token.map(str::to_owned),
        breaker: BreakerPolicy { failure_threshold: 2, open_ms: 600_000 },
        idle: Duration::from_secs(600),
    };
    GrpcLink::new(&settings, server.handle().expect("a running server")).expect("a link")
}

fn message() -> Message {
    Message {
        tenant: "t1".into(),
        user: "alice".into(),
        device: "phone".into(),
        msg_id: "m1".into(),
        kind: Kind::Group,
        to_user: String::new(),
        group: "g1".into(),
        body: Bytes::from_static(b"\x00body"),
        timestamp_ms: 42,
        unknown_fields: Bytes::new(),
    }
}

fn users(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

/// A busy machine may miss a first deadline of 250 ms; forwards are safe to repeat.
async fn forward(link: &GrpcLink, endpoint: &str, names: &[&str]) -> Result<Vec<u32>, LinkError> {
    let give_up = Instant::now() + Duration::from_secs(20);
    loop {
        match link.forward(endpoint, &message(), &users(names)).await {
            Err(LinkError::Deadline) if Instant::now() < give_up => sleep(Duration::from_millis(20)).await,
            answer => return answer,
        }
    }
}

#[tokio::test]
async fn answers_how_many_sessions_each_user_had() {
    let (server, node, endpoint) = start(None);
    let link = link(&server, None);
    assert_eq!(forward(&link, &endpoint, &["bob", "nobody", "carol"]).await, Ok(vec![3, 0, 5]));
    assert_eq!(forward(&link, &endpoint, &["nobody"]).await, Ok(vec![0]));
    assert_eq!(forward(&link, &endpoint, &[]).await, Ok(vec![]));
    assert_eq!(link.peers(), 1, "one channel serves all calls");
    let seen = node.seen.lock().unwrap();
    let (got, sent) = (&seen[0], message());
    assert_eq!((&got.tenant, &got.user, &got.device, got.kind), (&sent.tenant, &sent.user, &sent.device, sent.kind));
    assert_eq!((&got.msg_id, &got.group, &got.body, got.timestamp_ms), (&sent.msg_id, &sent.group, &sent.body, 42));
}

#[tokio::test]
async fn ten_thousand_recipients_fit_one_call() {
    let (server, _node, endpoint) = start(None);
    let link = link(&server, None);
    let names: Vec<String> = (0..10_000).map(|n| format!("user-{n:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(forward(&link, &endpoint, &names).await, Ok(vec![10; 10_000]));
}

#[tokio::test]
async fn callers_without_the_token_are_refused_and_counted() {
    let (server, node, endpoint) = start(Some("s3cret"));
    for wrong in [None, Some(""), Some("s3cre"), Some("s3crets")] {
        let answer = forward(&link(&server, wrong), &endpoint, &["bob"]).await;
        assert!(matches!(answer, Err(LinkError::Refused(_))), "{wrong:?}: {answer:?}");
    }
    assert!(server.unauthorized() >= 4, "repetitions count as well");
    assert!(node.seen.lock().unwrap().is_empty());
    assert_eq!(forward(&link(&server, Some("s3cret")), &endpoint, &["bob"]).await, Ok(vec![3]));
}

#[tokio::test]
async fn a_black_holed_peer_costs_its_deadlines_and_then_nothing() {
    let (server, ..) = start(None);
    let link = link(&server, None);
    let silent = TcpListener::bind(LOOPBACK).expect("a socket that nobody serves");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    for calls in 1..=2 {
        let answer = timeout(Duration::from_secs(20), link.forward(&endpoint, &message(), &users(&["bob"]))).await;
        assert_eq!(answer.expect("ends by itself"), Err(LinkError::Deadline));
        assert_eq!(link.attempts(), 2 * calls, "one repetition per call");
    }
    let answer = link.forward(&endpoint, &message(), &users(&["bob"])).await;
    assert_eq!(answer, Err(LinkError::Unavailable("circuit open".to_owned())));
    assert_eq!((link.attempts(), link.refused_by_breaker()), (4, 1), "an open breaker sends nothing");
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_unavailable_and_does_not_affect_others() {
    let (server, _node, endpoint) = start(None);
    let link = link(&server, None);
    let gone = TcpListener::bind(LOOPBACK).expect("a port").local_addr().expect("an address");
    for _ in 0..4 {
        let answer = link.forward(&format!("http://{gone}"), &message(), &users(&["bob"])).await;
        assert!(matches!(answer, Err(LinkError::Unavailable(_) | LinkError::Deadline)), "{answer:?}");
    }
    assert_eq!(forward(&link, &endpoint, &["bob"]).await, Ok(vec![3]));
    let answer = link.forward("not an endpoint", &message(), &users(&["bob"])).await;
    assert!(matches!(answer, Err(LinkError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn channels_that_nobody_uses_are_closed() {
    let (server, _node, endpoint) = start(None);
    let settings = LinkSettings {
        token: None,
        breaker: BreakerPolicy { failure_threshold: 100, open_ms: 1 },
        idle: Duration::from_millis(200),
    };
    let link = GrpcLink::new(&settings, server.handle().expect("a runtime")).expect("a link");
    assert_eq!(forward(&link, &endpoint, &["bob"]).await, Ok(vec![3]));
    let give_up = Instant::now() + Duration::from_secs(20);
    while link.peers() > 0 {
        assert!(Instant::now() < give_up, "the channel was never closed");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(forward(&link, &endpoint, &["bob"]).await, Ok(vec![3]));
}

#[tokio::test]
async fn offline_frames_are_put_and_taken() {
    let (_server, node, endpoint) = start(None);
    let mut peer = NodeGatewayClient::connect(endpoint).await.expect("a connection");
    let put = |user: &str, ttl_seconds| BufferOfflineRequest {
        tenant_id: "t1".into(),
        to_user_id: user.into(),
        server_frame: Bytes::from_static(b"frame"),
        ttl_seconds,
    };
    assert!(peer.buffer_offline(put("bob", 0)).await.expect("an answer").into_inner().ok);
    assert!(peer.buffer_offline(put("bob", 7)).await.expect("an answer").into_inner().ok);
    let full = peer.buffer_offline(put("full", 7)).await.expect("an answer").into_inner();
    assert_eq!((full.ok, full.reason.as_str()), (false, "offline buffer full"));
    let ttls: Vec<u64> = node.buffered.lock().unwrap().iter().map(|(.., ttl)| *ttl).collect();
    assert_eq!(ttls, [300_000, 7_000]);
    let drain = DrainOfflineRequest { tenant_id: "t1".into(), user_id: "bob".into() };
    assert_eq!(peer.drain_offline(drain).await.expect("an answer").into_inner().server_frames.len(), 2);
    let empty = ForwardBatchRequest { tenant_id: "t1".into(), to_user_ids: vec![], message: None };
    assert_eq!(peer.forward_batch(empty).await.expect_err("no message").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn sockets_accepted_elsewhere_can_be_handed_over_and_refused_after_the_stop() {
    let (server, ..) = start(None);
    let sockets = server.sockets();
    let listener = tokio::net::TcpListener::bind(LOOPBACK).await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let link = link(&server, None);
    let handing_over = async {
        let (socket, _) = listener.accept().await.expect("a caller");
        sockets.hand_over(socket.into_std().expect("a socket")).expect("room");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = handing_over => {}
        answer = forward(&link, &endpoint, &["bob"]) => assert_eq!(answer, Ok(vec![3])),
    }
    drop(link);
    server.stop(Duration::from_secs(5)).await;
    let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a socket");
    assert!(sockets.hand_over(client).is_err(), "a stopped server takes nothing");
}
