//! Forwards to other nodes: one channel and one breaker per endpoint, a deadline on every attempt. Must not know routes
//! or buffers; what to do about a peer that does not answer is the caller's decision.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dashmap::DashMap;
use mics_actors::encode;
use mics_domain::breaker::{Admit, Breaker, BreakerPolicy};
use mics_domain::message::Message;
use mics_domain::ports::{LinkError, LocalFuture, PeerLink};
use mics_proto::node::node_gateway_client::NodeGatewayClient;
use mics_proto::node::{ForwardAck, ForwardBatchRequest, ForwardSingleRequest};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::TOKEN_HEADER;

/// Per attempt, connecting included.
const DEADLINE: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPTS: u32 = 2;
/// A dead connection is noticed after about this long plus [`KEEP_ALIVE_ANSWER`].
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// Shown to every peer.
    pub token: Option<String>,
    pub breaker: BreakerPolicy,
    /// A channel that nobody used for this long is closed.
    pub idle: Duration,
}

struct Peer {
    client: NodeGatewayClient<Channel>,
    breaker: Mutex<Breaker>,
    last_used_ms: AtomicU64,
}

/// What every call shares, on whichever thread it runs.
struct Shared {
    peers: DashMap<Arc<str>, Arc<Peer>>,
    token: Option<MetadataValue<Ascii>>,
    policy: BreakerPolicy,
    started: Instant,
    refused_by_breaker: AtomicU64,
    attempts: AtomicU64,
}

fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls run on the gRPC runtime, whichever thread asks.
pub struct GrpcLink {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Clone)]
enum Call {
    Single(ForwardSingleRequest),
    Batch(ForwardBatchRequest),
}

impl Call {
    fn new(message: &Message, users: &[Arc<str>]) -> Self {
        let (tenant_id, message) = (message.tenant.to_string(), Some(encode::request(message)));
        match users {
            [user] => Call::Single(ForwardSingleRequest { tenant_id, to_user_id: user.to_string(), message }),
            _ => {
                let to_user_ids = users.iter().map(|user| user.to_string()).collect();
                Call::Batch(ForwardBatchRequest { tenant_id, to_user_ids, message })
            }
        }
    }

    async fn send(
        self,
        client: &mut NodeGatewayClient<Channel>,
        token: Option<&MetadataValue<Ascii>>,
    ) -> Result<ForwardAck, Status> {
        fn with_token<T>(message: T, token: Option<&MetadataValue<Ascii>>) -> Request<T> {
            let mut request = Request::new(message);
            if let Some(token) = token {
                request.metadata_mut().insert(TOKEN_HEADER, token.clone());
            }
            request
        }
        let answer = match self {
            Call::Single(request) => client.forward_single(with_token(request, token)).await,
            Call::Batch(request) => client.forward_batch(with_token(request, token)).await,
        };
        answer.map(tonic::Response::into_inner)
    }
}

/// Status of a failed attempt, and whether another may help.
fn read_status(status: &Status) -> (LinkError, bool) {
    match status.code() {
        Code::DeadlineExceeded => (LinkError::Deadline, true),
        // A connection that breaks in mid-call shows as one of the last three.
        Code::Unavailable | Code::ResourceExhausted | Code::Unknown | Code::Internal | Code::Cancelled => {
            (LinkError::Unavailable(format!("{:?}: {}", status.code(), status.message())), true)
        }
        code => (LinkError::Refused(format!("{code:?}: {}", status.message())), false),
    }
}

/// Sessions reached per user. A peer that cannot say, and took the message, is believed to have reached everybody.
fn read_ack(ack: ForwardAck, users: usize) -> Result<Vec<u32>, LinkError> {
    match ack.sessions_reached {
        _ if !ack.ok => Err(LinkError::Refused(ack.reason)),
        reached if reached.len() == users => Ok(reached),
        reached if reached.is_empty() => Ok(vec![1; users]),
        _ => Err(LinkError::Refused("answer does not match the users asked for".to_owned())),
    }
}

impl Shared {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn peer(&self, endpoint: &str) -> Result<Arc<Peer>, LinkError> {
        if let Some(peer) = self.peers.get(endpoint) {
            peer.last_used_ms.store(self.now_ms(), Ordering::Relaxed);
            return Ok(peer.value().clone());
        }
        let target = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|_| LinkError::Refused(format!("'{endpoint}' is no endpoint")))?
            .connect_timeout(DEADLINE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER);
        let make = || {
            Arc::new(Peer {
                client: NodeGatewayClient::new(target.connect_lazy()),
                breaker: Mutex::default(),
                last_used_ms: AtomicU64::new(self.now_ms()),
            })
        };
        Ok(self.peers.entry(endpoint.into()).or_insert_with(make).value().clone())
    }

    async fn attempt(&self, peer: &Peer, call: Call, users: usize) -> Result<Vec<u32>, (LinkError, bool)> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let mut client = peer.client.clone();
        match timeout(DEADLINE, call.send(&mut client, self.token.as_ref())).await {
            Ok(Ok(ack)) => read_ack(ack, users).map_err(|error| (error, false)),
            Ok(Err(status)) => Err(read_status(&status)),
            Err(_) => Err((LinkError::Deadline, true)),
        }
    }

    /// One call with its repetition; one success or failure for the breaker.
    async fn forward(&self, endpoint: &str, call: Call, users: usize) -> Result<Vec<u32>, LinkError> {
        let peer = self.peer(endpoint)?;
        let pass = lock(&peer.breaker).admit(self.now_ms(), self.policy);
        if pass == Admit::Refused {
            self.refused_by_breaker.fetch_add(1, Ordering::Relaxed);
            return Err(LinkError::Unavailable("circuit open".to_owned()));
        }
        let pass = Pass { peer: &peer, pass, spent: false };
        let mut tried = 1;
        loop {
            match self.attempt(&peer, call.clone(), users).await {
                Ok(reached) => {
                    pass.success();
                    return Ok(reached);
                }
                Err((_, true)) if tried < ATTEMPTS => sleep(PAUSE * tried).await,
                Err((error, _)) => {
                    if pass.failure(self.now_ms(), self.policy) {
                        tracing::warn!(endpoint, %error, "grpc_circuit_opened");
                    }
                    return Err(error);
                }
            }
            tried += 1;
        }
    }

    fn drop_idle(&self, idle: Duration) {
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.now_ms().saturating_sub(idle);
        self.peers.retain(|_, peer| peer.last_used_ms.load(Ordering::Relaxed) >= oldest);
    }
}

/// An admitted call; gives a probe's slot back when the call is dropped half-way.
struct Pass<'a> {
    peer: &'a Peer,
    pass: Admit,
    spent: bool,
}

impl Pass<'_> {
    fn success(mut self) {
        self.spent = true;
        lock(&self.peer.breaker).success(self.pass);
    }

    /// True when this opened the breaker.
    fn failure(mut self, now_ms: u64, policy: BreakerPolicy) -> bool {
        self.spent = true;
        lock(&self.peer.breaker).failure(self.pass, now_ms, policy)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.spent {
            lock(&self.peer.breaker).release(self.pass);
        }
    }
}

impl GrpcLink {
    /// `runtime` is the gRPC runtime's. Error: the token cannot be sent as metadata (only visible ASCII can).
    pub fn new(settings: &LinkSettings, runtime: Handle) -> Result<Self, String> {
        let token = settings.token.as_deref().map(MetadataValue::try_from).transpose();
        let token = token.map_err(|_| "the cluster token must be visible ASCII".to_owned())?;
        let shared = Arc::new(Shared {
            peers: DashMap::new(),
            token,
            policy: settings.breaker,
            started: Instant::now(),
            refused_by_breaker: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
        });
        runtime.spawn(sweep(Arc::downgrade(&shared), settings.idle.max(Duration::from_millis(10))));
        Ok(GrpcLink { shared, runtime })
    }

    /// Calls not made because the peer's breaker was open.
    pub fn refused_by_breaker(&self) -> u64 {
        self.shared.refused_by_breaker.load(Ordering::Relaxed)
    }

    /// Requests sent, repetitions included.
    pub fn attempts(&self) -> u64 {
        self.shared.attempts.load(Ordering::Relaxed)
    }

    /// Peers with a channel.
    pub fn peers(&self) -> usize {
        self.shared.peers.len()
    }
}

async fn sweep(shared: Weak<Shared>, idle: Duration) {
    loop {
        sleep(idle / 2).await;
        match shared.upgrade() {
            Some(shared) => shared.drop_idle(idle),
            None => return,
        }
    }
}

impl PeerLink for GrpcLink {
    fn forward<'a>(
        &'a self,
        endpoint: &'a str,
        message: &'a Message,
        users: &'a [Arc<str>],
    ) -> LocalFuture<'a, Result<Vec<u32>, LinkError>> {
        Box::pin(async move {
            if users.is_empty() {
                return Ok(Vec::new());
            }
            let (shared, endpoint) = (self.shared.clone(), endpoint.to_owned());
            let (call, count) = (Call::new(message, users), users.len());
            // Not cancelled with the caller: it ends by its deadlines, and the breaker learns how it went.
            let running = self.runtime.spawn(async move { shared.forward(&endpoint, call, count).await });
            running.await.unwrap_or_else(|_| Err(LinkError::Unavailable("the node is stopping".to_owned())))
        })
    }
}
