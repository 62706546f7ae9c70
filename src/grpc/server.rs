//! The node-to-node service, over sockets that someone else accepted. Must not decide anything about a message: it
//! translates, asks this node, and answers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use mics_actors::encode;
use mics_actors::ports::LocalDelivery;
use mics_domain::message::Message;
use mics_domain::tenant::TenantConfig;
use mics_proto::message::MessageRequest;
use mics_proto::node::node_gateway_server::{NodeGateway, NodeGatewayServer};
use mics_proto::node::{
    BufferOfflineRequest, DrainOfflineRequest, DrainOfflineResponse, ForwardAck, ForwardBatchRequest,
    ForwardSingleRequest,
};
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

use super::TOKEN_HEADER;

pub type SendFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Sockets handed over and not yet served.
const WAITING_SOCKETS: usize = 1024;
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

/// This node's offline buffer, as other nodes use it.
pub trait OfflineAccess: Send + Sync {
    /// `frame` is a serialised `ServerFrame`. Err: why it was refused.
    fn put<'a>(
        &'a self,
        tenant: &'a str,
        user: &'a str,
        frame: Bytes,
        ttl_ms: u64,
    ) -> SendFuture<'a, Result<(), String>>;

    /// What waits for the user, oldest first; gone from the buffer afterwards.
    fn take<'a>(&'a self, tenant: &'a str, user: &'a str) -> SendFuture<'a, Vec<Bytes>>;
}

#[derive(Clone)]
pub struct ServerSettings {
    /// What callers must show; `None` = open.
    pub token: Option<String>,
    /// Largest request, in bytes: a message and its recipients.
    pub max_request_bytes: usize,
    /// Threads of the gRPC runtime, at least 1.
    pub threads: usize,
}

struct Service {
    delivery: Arc<dyn LocalDelivery>,
    offline: Arc<dyn OfflineAccess>,
}

impl Service {
    fn deliver(
        &self,
        tenant: &str,
        users: Vec<String>,
        message: Option<MessageRequest>,
    ) -> Result<Response<ForwardAck>, Status> {
        let request = message.ok_or_else(|| Status::invalid_argument("no message"))?;
        let users: Vec<Arc<str>> = users.into_iter().map(Arc::from).collect();
        let sessions_reached = self.delivery.deliver(&to_domain(tenant, request), &users);
        Ok(Response::new(ForwardAck { ok: true, reason: String::new(), sessions_reached }))
    }
}

/// The tenant is the one the peer named for the call, not the one inside the message.
fn to_domain(tenant: &str, request: MessageRequest) -> Message {
    Message {
        tenant: tenant.into(),
        user: request.user_id.into(),
        device: request.device_id.into(),
        msg_id: request.msg_id,
        kind: encode::kind(request.msg_type),
        to_user: request.to_user_id,
        group: request.group_id,
        body: request.msg_body,
        timestamp_ms: request.timestamp_ms,
        unknown_fields: Bytes::new(),
    }
}

#[tonic::async_trait]
impl NodeGateway for Service {
    async fn forward_single(&self, request: Request<ForwardSingleRequest>) -> Result<Response<ForwardAck>, Status> {
        let ForwardSingleRequest { tenant_id, to_user_id, message } = request.into_inner();
        self.deliver(&tenant_id, vec![to_user_id], message)
    }

    async fn forward_batch(&self, request: Request<ForwardBatchRequest>) -> Result<Response<ForwardAck>, Status> {
        let ForwardBatchRequest { tenant_id, to_user_ids, message } = request.into_inner();
        self.deliver(&tenant_id, to_user_ids, message)
    }

    async fn buffer_offline(&self, request: Request<BufferOfflineRequest>) -> Result<Response<ForwardAck>, Status> {
        let BufferOfflineRequest { tenant_id, to_user_id, server_frame, ttl_seconds } = request.into_inner();
        let ttl_ms = TenantConfig::seconds_or(ttl_seconds, TenantConfig::DEFAULT_OFFLINE_TTL_SECONDS);
        let answer = self.offline.put(&tenant_id, &to_user_id, server_frame, ttl_ms).await;
        let (ok, reason) = answer.map_or_else(|reason| (false, reason), |()| (true, String::new()));
        Ok(Response::new(ForwardAck { ok, reason, sessions_reached: Vec::new() }))
    }

    async fn drain_offline(
        &self,
        request: Request<DrainOfflineRequest>,
    ) -> Result<Response<DrainOfflineResponse>, Status> {
        let DrainOfflineRequest { tenant_id, user_id } = request.into_inner();
        let server_frames = self.offline.take(&tenant_id, &user_id).await;
        Ok(Response::new(DrainOfflineResponse { server_frames }))
    }
}

/// Compares digests, so that the time taken says nothing about how much of a guess was right.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(b.iter()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Lets calls through that show the token.
#[derive(Clone)]
struct Guard {
    token: Option<Arc<str>>,
    refused: Arc<AtomicU64>,
}

impl tonic::service::Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.token else { return Ok(request) };
        let shown = request.metadata().get(TOKEN_HEADER);
        if shown.is_some_and(|shown| same_secret(shown.as_bytes(), token.as_bytes())) {
            return Ok(request);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(peer = ?request.remote_addr(), "grpc_unauthorized");
        Err(Status::unauthenticated("unauthorized"))
    }
}

/// Where accepted sockets are handed over. The service reads the HTTP/2 preface itself: look, but don't take bytes.
#[derive(Clone)]
pub struct Sockets(mpsc::Sender<std::net::TcpStream>);

impl Sockets {
    /// Never blocks. The socket comes back when the server is stopped or overrun; closing it is then right.
    pub fn hand_over(&self, socket: std::net::TcpStream) -> Result<(), std::net::TcpStream> {
        self.0.try_send(socket).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(socket) | mpsc::error::TrySendError::Closed(socket) => socket,
        })
    }
}

/// Registers each socket with the runtime that polls this stream; sockets that broke meanwhile are dropped.
fn incoming(sockets: mpsc::Receiver<std::net::TcpStream>) -> impl Stream<Item = io::Result<TcpStream>> {
    let adopt = |socket: std::net::TcpStream| {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        TcpStream::from_std(socket)
    };
    stream::unfold(sockets, move |mut sockets| async move {
        loop {
            if let Ok(socket) = adopt(sockets.recv().await?) {
                return Some((Ok(socket), sockets));
            }
        }
    })
}

/// The running service and its runtime.
pub struct NodeServer {
    runtime: Option<Runtime>,
    sockets: Sockets,
    refused: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl NodeServer {
    /// Starts the runtime and serves whatever is handed over. Errors are the operating system's.
    pub fn start(
        settings: &ServerSettings,
        delivery: Arc<dyn LocalDelivery>,
        offline: Arc<dyn OfflineAccess>,
    ) -> io::Result<Self> {
        let threads = settings.threads.max(1);
        let runtime =
            Builder::new_multi_thread().worker_threads(threads).thread_name("mics-grpc").enable_all().build()?;
        let refused = Arc::new(AtomicU64::new(0));
        let token = settings.token.as_deref().map(Arc::from);
        let guard = Guard { token, refused: refused.clone() };
        let gateway =
            NodeGatewayServer::new(Service { delivery, offline }).max_decoding_message_size(settings.max_request_bytes);
        let (sender, receiver) = mpsc::channel(WAITING_SOCKETS);
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
            .add_service(InterceptedService::new(gateway, guard))
            .serve_with_incoming_shutdown(incoming(receiver), async move {
                // A dropped sender means stop as well.
                let _ = stopped.await;
            });
        let serving = runtime.spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "grpc_server_ended");
            }
        });
        Ok(NodeServer {
            runtime: Some(runtime),
            sockets: Sockets(sender),
            refused,
            stop: Some(stop),
            serving: Some(serving),
        })
    }

    pub fn sockets(&self) -> Sockets {
        self.sockets.clone()
    }

    /// The runtime's handle, for the link to the other nodes. `None` once stopped.
    pub fn handle(&self) -> Option<Handle> {
        self.runtime.as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Calls refused for want of the token.
    pub fn unauthorized(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Serves a port of its own as well. Answers the address, so that port 0 can be asked for.
    pub fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let runtime = self.runtime.as_ref().ok_or_else(|| io::Error::other("the server was stopped"))?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        let _context = runtime.enter();
        runtime.spawn(accept(TcpListener::from_std(listener)?, self.sockets.clone()));
        Ok(bound)
    }

    /// Takes no further call and waits for those that run, at most `deadline`.
    pub async fn stop(mut self, deadline: Duration) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            let _ = tokio::time::timeout(deadline, serving).await;
        }
    }
}

impl Drop for NodeServer {
    fn drop(&mut self) {
        // A runtime must not wait for its threads inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, sockets: Sockets) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if let Ok(socket) = socket.into_std() {
                    let _ = sockets.hand_over(socket);
                }
            }
            // Out of descriptors, mostly: wait for some to come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::same_secret;

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret(b"token", b"token"));
        for other in [&b"toke"[..], b"tokem", b"token ", b""] {
            assert!(!same_secret(b"token", other));
        }
    }
}
