//! What the tests of the node-to-node link share: a node at the far end, a link to it, and a wire that can fail.

pub mod older;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mics::grpc::{GrpcLink, LinkSettings, NextId, NodeServer, ServerSettings};
use mics_actors::ports::PeerNode;
use mics_domain::breaker::BreakerPolicy;
use tokio::time::{Instant, sleep};

pub const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// No machine is so busy that nothing happens for this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Identities 1000, 1001, ...
pub fn next_id() -> NextId {
    let last = AtomicU64::new(999);
    Arc::new(move || u128::from(last.fetch_add(1, Ordering::Relaxed) + 1))
}

pub fn server_settings(token: Option<&str>) -> ServerSettings {
    let unauthorized = prometheus::IntCounter::new("unauthorized", "Refused calls.").expect("a counter");
    ServerSettings { token: token.map(str::to_owned), max_message_bytes: 16 << 20, threads: 1, unauthorized }
}

pub fn start(node: Arc<dyn PeerNode>, token: Option<&str>) -> (NodeServer, String) {
    let server = NodeServer::start(&server_settings(token), node, next_id()).expect("a server");
    let address = server.listen(LOOPBACK).expect("a port");
    (server, format!("http://{address}"))
}

/// Deadlines that no busy machine misses; a circuit that opens at the second failure and stays open.
pub fn link_settings() -> LinkSettings {
    LinkSettings {
        token: None,
        breaker: BreakerPolicy { failure_threshold: 2, open_ms: 600_000 },
        idle: Duration::from_secs(600),
        max_message_bytes: 16 << 20,
        deadline: PATIENCE,
    }
}

/// On the runtime of `server`.
pub fn link(server: &NodeServer, settings: &LinkSettings) -> GrpcLink {
    GrpcLink::new(settings, server.handle().clone()).expect("a link")
}

pub async fn eventually(what: &str, mut true_now: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !true_now() {
        assert!(Instant::now() < give_up, "never: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
