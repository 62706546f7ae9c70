//! Runs the node-to-node service over sockets that someone else accepted, and lets in only who shows the token. Must not
//! know what the service is asked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use mics_actors::ports::PeerNode;
use mics_proto::node::node_gateway_server::NodeGatewayServer;
use prometheus::IntCounter;
use sha2::{Digest, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use super::service::{NextId, Service};
use super::{CONNECTION_WINDOW, STREAM_WINDOW, TOKEN_HEADER};
use crate::background::Background;

/// Sockets handed over and not yet served.
const WAITING_SOCKETS: usize = 1024;
const WARN_EVERY_S: u64 = 5;
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub struct ServerSettings {
    /// What callers must show; `None` = open.
    pub token: Option<String>,
    /// Largest request and answer, in bytes. A forward is a message and its recipients; all nodes need the same limit.
    pub max_message_bytes: usize,
    /// Threads of the gRPC runtime, at least 1.
    pub threads: usize,
    /// Counts calls refused for want of the token.
    pub unauthorized: IntCounter,
}

/// Compares digests, so that the time taken says nothing about how much of a guess was right.
pub(crate) fn same_secret(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    a.iter().zip(b.iter()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// Lets calls through that show the token.
#[derive(Clone)]
struct Guard {
    token: Option<Arc<str>>,
    unauthorized: IntCounter,
    started: Instant,
    last_warning_s: Arc<AtomicU64>,
}

impl tonic::service::Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(token) = &self.token else { return Ok(request) };
        let shown = request.metadata().get(TOKEN_HEADER);
        if shown.is_some_and(|shown| same_secret(shown.as_bytes(), token.as_bytes())) {
            return Ok(request);
        }
        self.unauthorized.inc();
        let (now, last) = (self.started.elapsed().as_secs(), self.last_warning_s.load(Ordering::Relaxed));
        // Anybody can ask on the public port: a line per refusal would be a way to fill the disk.
        if now >= last + WARN_EVERY_S || self.unauthorized.get() == 1 {
            self.last_warning_s.store(now, Ordering::Relaxed);
            tracing::warn!(peer = ?request.remote_addr(), total = self.unauthorized.get(), "grpc_unauthorized");
        }
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
    background: Background,
    sockets: Sockets,
    stop: Option<watch::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl NodeServer {
    /// Starts the runtime and serves whatever is handed over. Errors are the operating system's.
    pub fn start(settings: &ServerSettings, node: Arc<dyn PeerNode>, next_id: NextId) -> io::Result<Self> {
        let threads = settings.threads.max(1);
        let background = Background::start("mics-grpc", threads)?;
        let token = settings.token.as_deref().map(Arc::from);
        let guard = Guard {
            token,
            unauthorized: settings.unauthorized.clone(),
            started: Instant::now(),
            last_warning_s: Arc::default(),
        };
        let (stop, mut stopped) = watch::channel(());
        let gateway = NodeGatewayServer::new(Service { node, next_id, stopping: stopped.clone() })
            .max_decoding_message_size(settings.max_message_bytes)
            .max_encoding_message_size(settings.max_message_bytes);
        let (sender, receiver) = mpsc::channel(WAITING_SOCKETS);
        let serve = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE_EVERY))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .add_service(InterceptedService::new(gateway, guard))
            .serve_with_incoming_shutdown(incoming(receiver), async move {
                // A dropped sender means stop as well.
                let _ = stopped.changed().await;
            });
        let serving = background.handle().spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "grpc_server_ended");
            }
        });
        Ok(NodeServer { background, sockets: Sockets(sender), stop: Some(stop), serving: Some(serving) })
    }

    pub fn sockets(&self) -> Sockets {
        self.sockets.clone()
    }

    /// Where the link to the other nodes runs as well.
    pub fn handle(&self) -> &Handle {
        self.background.handle()
    }

    /// Serves a port of its own as well. Answers the address, so that port 0 can be asked for.
    pub fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        let _context = self.handle().enter();
        self.handle().spawn(accept(TcpListener::from_std(listener)?, self.sockets.clone()));
        Ok(bound)
    }

    /// Takes no further call, ends the streams of forwards after the batch at hand, and waits for the calls that run, at
    /// most `deadline`.
    pub async fn stop(mut self, deadline: Duration) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            let _ = tokio::time::timeout(deadline, serving).await;
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
