//! The link to the other nodes: finds the peer of an endpoint and hands it what is to be sent. Must not know routes or
//! buffers; what to do about a peer that does not answer is the caller's decision.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use mics_domain::breaker::BreakerPolicy;
use mics_domain::delivery::Delivery;
use mics_domain::ports::{LinkError, LocalFuture, PeerAnswer, PeerCall, PeerLink};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};
use tonic::metadata::MetadataValue;

use super::calls;
use super::counts::{Counters, LinkCounts};
use super::forwarder::{Forwarder, Job};
use super::peer::{Peer, ShowToken};
use super::wire;

/// Forwards that may wait for one peer's forwarder to take them.
const QUEUE: usize = 4096;

#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// Shown to every peer.
    pub token: Option<String>,
    pub breaker: BreakerPolicy,
    /// A connection that nobody used for this long is closed.
    pub idle: Duration,
    /// Largest message in either direction, in bytes; all nodes need the same.
    pub max_message_bytes: usize,
    /// How long a forward may take, connecting and repeating included. Normally [`LinkSettings::DEADLINE`].
    pub deadline: Duration,
}

impl LinkSettings {
    pub const DEADLINE: Duration = Duration::from_millis(250);
}

/// A peer and the way to its forwarder, which ends when this is dropped.
struct Entry {
    peer: Arc<Peer>,
    queue: mpsc::Sender<Job>,
    last_used_ms: AtomicU64,
}

struct Shared {
    peers: DashMap<Arc<str>, Arc<Entry>>,
    settings: LinkSettings,
    token: ShowToken,
    started: Instant,
    counters: Arc<Counters>,
}

/// See [`PeerLink`] for the promises. A forward or call starts when it is asked for, not when its future is first polled,
/// and does not end when the future is dropped.
pub struct GrpcLink {
    shared: Arc<Shared>,
    runtime: Handle,
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn drop_idle(&self) {
        let idle = u64::try_from(self.settings.idle.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.now_ms().saturating_sub(idle);
        self.peers.retain(|_, entry| entry.last_used_ms.load(Ordering::Relaxed) >= oldest);
    }
}

impl GrpcLink {
    /// `runtime` is the gRPC runtime's. Error: the token cannot be sent as metadata (only visible ASCII can).
    pub fn new(settings: &LinkSettings, runtime: Handle) -> Result<Self, String> {
        let token = settings.token.as_deref().map(MetadataValue::try_from).transpose();
        let token = ShowToken(token.map_err(|_| "the cluster token must be visible ASCII".to_owned())?);
        let shared = Arc::new(Shared {
            peers: DashMap::new(),
            settings: settings.clone(),
            token,
            started: Instant::now(),
            counters: Arc::default(),
        });
        runtime.spawn(sweep(Arc::downgrade(&shared), settings.idle.max(Duration::from_millis(10)) / 2));
        Ok(GrpcLink { shared, runtime })
    }

    pub fn counts(&self) -> LinkCounts {
        self.shared.counters.read()
    }

    /// Peers with a connection, or about to have one.
    pub fn peers(&self) -> usize {
        self.shared.peers.len()
    }

    fn entry(&self, endpoint: &str) -> Result<Arc<Entry>, LinkError> {
        let shared = &self.shared;
        if let Some(entry) = shared.peers.get(endpoint) {
            entry.last_used_ms.store(shared.now_ms(), Ordering::Relaxed);
            return Ok(entry.value().clone());
        }
        let make = || {
            let _runtime = self.runtime.enter();
            let peer = Peer::new(endpoint, shared.token.clone(), &shared.settings, shared.counters.clone())?;
            let (queue, jobs) = mpsc::channel(QUEUE);
            let peer = Arc::new(peer);
            self.runtime.spawn(Forwarder::new(peer.clone(), jobs).run());
            Ok(Arc::new(Entry { peer, queue, last_used_ms: AtomicU64::new(shared.now_ms()) }))
        };
        Ok(shared.peers.entry(endpoint.into()).or_try_insert_with(make)?.value().clone())
    }

    fn start_forward(
        &self,
        endpoint: &str,
        delivery: &Delivery,
        users: &[Arc<str>],
    ) -> Result<oneshot::Receiver<Result<Vec<u32>, LinkError>>, LinkError> {
        let entry = self.entry(endpoint)?;
        let forward = wire::forward(delivery, users);
        let (job, answer) = Job::new(&entry.peer, forward)?;
        match entry.queue.try_send(job) {
            Ok(()) => {
                Counters::add(&self.shared.counters.forwards, 1);
                Ok(answer)
            }
            // The job's pass is released with it: the peer is not to blame yet.
            Err(_) => Err(entry.peer.overflow("forwards")),
        }
    }
}

async fn sweep(shared: Weak<Shared>, every: Duration) {
    loop {
        sleep(every).await;
        match shared.upgrade() {
            Some(shared) => shared.drop_idle(),
            None => return,
        }
    }
}

fn stopping<T>() -> Result<T, LinkError> {
    Err(LinkError::Unavailable("the node is stopping".to_owned()))
}

impl PeerLink for GrpcLink {
    fn forward<'a>(
        &'a self,
        endpoint: &'a str,
        delivery: &'a Delivery,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<u32>, LinkError>> {
        if users.is_empty() {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let started = self.start_forward(endpoint, delivery, users);
        Box::pin(async move { started?.await.unwrap_or_else(|_| stopping()) })
    }

    fn call<'a>(&'a self, endpoint: &'a str, call: PeerCall) -> LocalFuture<'a, Result<PeerAnswer, LinkError>> {
        let started = self.entry(endpoint).and_then(|entry| calls::start(&entry.peer, call, &self.runtime));
        Box::pin(async move { started?.await.unwrap_or_else(|_| stopping()) })
    }
}
