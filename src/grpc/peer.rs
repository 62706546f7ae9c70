//! What this node knows about one other node: the connection, the circuit breaker, when it was last heard of. Must not
//! know what is sent over the connection.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mics_actors::quiet::Quiet;
use mics_domain::breaker::{Admit, Breaker, BreakerPolicy};
use mics_domain::ports::LinkError;
use mics_proto::node::node_gateway_client::NodeGatewayClient;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::counts::Counters;
use super::link::LinkSettings;
use super::told::About;
use super::{CONNECTION_WINDOW, STREAM_WINDOW, TOKEN_HEADER};

/// A dead connection is noticed after about this long plus [`KEEP_ALIVE_ANSWER`], if nothing else notices it.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(2);
/// Between a failed attempt and its repetition.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of forwards that may wait for one peer.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Calls, other than forwards, that may wait for one peer.
const MAX_CALLS: usize = 1024;

pub(super) type Client = NodeGatewayClient<InterceptedService<Channel, ShowToken>>;

/// Shows the cluster's token with every call.
#[derive(Clone)]
pub(super) struct ShowToken(pub Option<MetadataValue<Ascii>>);

impl Interceptor for ShowToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert(TOKEN_HEADER, token.clone());
        }
        Ok(request)
    }
}

/// True when a repetition may help. A connection that breaks in mid-call shows as one of several codes.
pub(super) fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::Aborted
    )
}

/// The port's word for a status.
pub(super) fn link_error(status: &Status) -> LinkError {
    let text = || format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::DeadlineExceeded => LinkError::Deadline,
        Code::Unauthenticated => LinkError::Unauthenticated,
        code if may_pass(code) => LinkError::Unavailable(text()),
        _ => LinkError::Refused(text()),
    }
}

/// The connection in use; the generation tells who gives up which.
struct Line {
    generation: u64,
    client: Client,
}

pub(super) struct Peer {
    pub endpoint: Arc<str>,
    target: Endpoint,
    token: ShowToken,
    pub max_message_bytes: usize,
    line: Mutex<Line>,
    breaker: Mutex<Breaker>,
    policy: BreakerPolicy,
    started: Instant,
    /// Microseconds since `started`.
    heard_us: AtomicU64,
    waiting_bytes: AtomicUsize,
    pub deadline: Duration,
    pub calls: Arc<Semaphore>,
    pub counters: Arc<Counters>,
    /// What the log has about this peer.
    pub told: Quiet<(About, i32)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    /// Connects when first used. To be called inside the link's runtime. Error: `endpoint` is none.
    pub fn new(
        endpoint: &str,
        token: ShowToken,
        settings: &LinkSettings,
        counters: Arc<Counters>,
    ) -> Result<Self, LinkError> {
        let target = Endpoint::from_shared(endpoint.to_owned())
            .map_err(|_| LinkError::Refused(format!("'{endpoint}' is no endpoint")))?
            .connect_timeout(settings.deadline)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_ANSWER)
            .keep_alive_while_idle(true);
        let client = client(&target, &token, settings.max_message_bytes);
        Ok(Peer {
            endpoint: endpoint.into(),
            target,
            token,
            max_message_bytes: settings.max_message_bytes,
            line: Mutex::new(Line { generation: 0, client }),
            breaker: Mutex::default(),
            policy: settings.breaker,
            started: Instant::now(),
            heard_us: AtomicU64::new(0),
            waiting_bytes: AtomicUsize::new(0),
            deadline: settings.deadline,
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            counters,
            told: Quiet::default(),
        })
    }

    pub fn client(&self) -> (u64, Client) {
        let line = lock(&self.line);
        (line.generation, line.client.clone())
    }

    /// Gives the connection up, unless somebody did already. To be called inside the link's runtime.
    pub fn reconnect(&self, generation: u64) {
        let mut line = lock(&self.line);
        if line.generation == generation {
            let client = client(&self.target, &self.token, self.max_message_bytes);
            *line = Line { generation: generation + 1, client };
            Counters::add(&self.counters.reconnects, 1);
        }
    }

    /// Microseconds since this peer is known.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    /// The peer answered something.
    pub fn heard(&self) {
        self.heard_us.store(self.now_us(), Ordering::Relaxed);
    }

    pub fn silent_since(&self, us: u64) -> bool {
        self.heard_us.load(Ordering::Relaxed) < us
    }

    fn admit(&self) -> Result<Admit, LinkError> {
        match lock(&self.breaker).admit(self.now_ms(), self.policy) {
            Admit::Refused => Err(self.circuit_open()),
            admit => Ok(admit),
        }
    }

    fn failed(&self, admit: Admit, code: Code) {
        if lock(&self.breaker).failure(admit, self.now_ms(), self.policy) {
            Counters::add(&self.counters.circuit_openings, 1);
            tracing::warn!(endpoint = %self.endpoint, status = ?code, "grpc_circuit_opened");
        }
    }

    /// Too many of `what` wait already.
    pub fn overflow(&self, what: &str) -> LinkError {
        Counters::add(&self.counters.overflows, 1);
        LinkError::Unavailable(format!("too many {what} wait"))
    }

    fn circuit_open(&self) -> LinkError {
        Counters::add(&self.counters.circuit_refusals, 1);
        LinkError::CircuitOpen
    }
}

fn client(target: &Endpoint, token: &ShowToken, max_message_bytes: usize) -> Client {
    NodeGatewayClient::with_interceptor(target.connect_lazy(), token.clone())
        .max_decoding_message_size(max_message_bytes)
        .max_encoding_message_size(max_message_bytes)
}

/// A forward that was admitted. Ends in exactly one of [`Pass::success`], [`Pass::failure`] and [`Pass::refused`];
/// dropped, it never happened.
pub(super) struct Pass {
    pub peer: Arc<Peer>,
    admit: Admit,
    bytes: usize,
    spent: bool,
}

impl Pass {
    /// Errors: the circuit is open, or too many bytes wait already.
    pub fn admit(peer: &Arc<Peer>, bytes: usize) -> Result<Self, LinkError> {
        if peer.waiting_bytes.load(Ordering::Relaxed) > MAX_WAITING_BYTES {
            return Err(peer.overflow("bytes"));
        }
        let admit = peer.admit()?;
        peer.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Pass { peer: peer.clone(), admit, bytes, spent: false })
    }

    pub fn success(mut self) {
        self.spent = true;
        lock(&self.peer.breaker).success(self.admit);
    }

    pub fn failure(mut self, code: Code) {
        self.spent = true;
        self.peer.counters.forward_failures.add(code);
        self.peer.failed(self.admit, code);
    }

    /// The peer answered, and said no: nothing for the breaker, which would only hide why.
    pub fn refused(self, code: Code) {
        self.peer.counters.forward_failures.add(code);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.peer.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if !self.spent {
            lock(&self.peer.breaker).release(self.admit);
        }
    }
}

/// A call that was admitted; otherwise like [`Pass`].
pub(super) struct CallPass {
    peer: Arc<Peer>,
    admit: Option<Admit>,
}

impl CallPass {
    /// Error: the circuit is open.
    pub fn admit(peer: &Arc<Peer>) -> Result<Self, LinkError> {
        Ok(CallPass { peer: peer.clone(), admit: Some(peer.admit()?) })
    }

    pub fn success(mut self) {
        if let Some(admit) = self.admit.take() {
            lock(&self.peer.breaker).success(admit);
        }
    }

    pub fn failure(mut self, code: Code) {
        if let Some(admit) = self.admit.take() {
            self.peer.failed(admit, code);
        }
    }
}

impl Drop for CallPass {
    fn drop(&mut self) {
        if let Some(admit) = self.admit.take() {
            lock(&self.peer.breaker).release(admit);
        }
    }
}
