//! One TCP port for three protocols: a connection that opens with the HTTP/2 preface goes to the node-to-node server,
//! everything else is HTTP/1.1, where an upgrade on `/ws` becomes a session. A second port serves the latter over TLS.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_codec::Framed;
use actix_http::h1::Codec;
use actix_http::{HttpService, Request};
use actix_rt::net::TcpStream;
use actix_server::{Server, ServerBuilder};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_factory, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer};
use actix_web_prom::PrometheusMetrics;
use mics_actors::node::Node;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing_actix_web::TracingLogger;

use super::app::{self, Surface};
use super::console;
use crate::admin::{self, Admin};
use crate::ws::tls::TlsStream;
use crate::ws::upgrade::upgrade;
use crate::ws::wire::Socket;

/// Start of every HTTP/2 connection.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const BACKLOG: i32 = 4096;
/// New connections that a worker thread serves at once until they are upgraded, and how long each counts.
const TURNS: usize = 32;
const TURN: Duration = Duration::from_millis(10);
/// What is written to a client of the operators' port and not taken by it: bytes that wait, and for how long.
const ADMIN_SEND_BUFFER: usize = 64 << 10;
#[cfg(target_os = "linux")]
const ADMIN_STALLED: Duration = Duration::from_secs(15);
/// Sockets of the operators' port; more wait.
const ADMIN_CONNECTIONS: usize = 256;

/// Takes sockets that speak HTTP/2 (node-to-node gRPC); `None` closes them.
pub type H2Sockets = Option<Arc<dyn Fn(std::net::TcpStream) + Send + Sync>>;

/// The socket of the TLS port, and how to speak there.
pub type TlsPort = (TcpListener, Arc<ServerConfig>);

/// Binds before anything else starts, so that a taken port is an error and port 0 is known.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves the main port, and the same to clients who come with TLS. The server stops when its handle says so; sessions
/// live on until they are closed.
pub fn serve(
    listener: TcpListener,
    tls: Option<TlsPort>,
    workers: usize,
    node: Arc<Node>,
    surface: Surface,
    http: PrometheusMetrics,
    h2: H2Sockets,
) -> io::Result<Server> {
    let builder: ServerBuilder = Server::build().workers(workers).backlog(BACKLOG as u32).disable_signals();
    let builder = builder.max_concurrent_connections(usize::MAX >> 8).shutdown_timeout(1);
    let site = Site { node, surface, http };
    let plain = {
        let site = site.clone();
        move || {
            let (site, h2) = (site.clone(), h2.clone());
            fn_factory(move || worker(site.clone(), h2.clone()))
        }
    };
    let mut builder = builder.listen("mics", listener, plain)?;
    if let Some((listener, config)) = tls {
        // Nothing stands in front of it that would keep the metrics in.
        let site = Site { surface: if surface == Surface::Public { Surface::Clients } else { surface }, ..site };
        let secured = move || {
            let (site, config) = (site.clone(), config.clone());
            fn_factory(move || tls_worker(site.clone(), config.clone()))
        };
        builder = builder.listen("mics-tls", listener, secured)?;
    }
    Ok(builder.run())
}

/// What is served.
#[derive(Clone)]
struct Site {
    node: Arc<Node>,
    surface: Surface,
    http: PrometheusMetrics,
}

/// The services of one worker thread behind one accept function.
async fn worker(site: Site, h2: H2Sockets) -> Result<impl Service<TcpStream, Response = (), Error = ()>, ()> {
    let http1 = Rc::new(http1::<TcpStream>(&site).await?);
    let turns = Rc::new(Semaphore::new(TURNS));
    Ok(fn_service(move |stream: TcpStream| {
        let (http1, h2, turns) = (http1.clone(), h2.clone(), turns.clone());
        async move {
            let mut first = [0; 32];
            let seen = timeout(REQUEST_TIMEOUT, stream.peek(&mut first)).await;
            let Ok(Ok(count @ 1..)) = seen else { return Ok(()) };
            let first = &first[..count];
            if first.starts_with(&PREFACE[..first.len().min(PREFACE.len())]) {
                hand_over(stream, h2);
                return Ok(());
            }
            let peer = stream.peer_addr().ok();
            in_turn(&turns, http1.call((stream, peer, is_console(first)))).await
        }
    }))
}

/// The same behind TLS, and without the other nodes.
async fn tls_worker(
    site: Site,
    config: Arc<ServerConfig>,
) -> Result<impl Service<TcpStream, Response = (), Error = ()>, ()> {
    let http1 = Rc::new(http1::<TlsStream>(&site).await?);
    let turns = Rc::new(Semaphore::new(TURNS));
    let node = site.node;
    Ok(fn_service(move |stream: TcpStream| {
        let (http1, turns, node, config) = (http1.clone(), turns.clone(), node.clone(), config.clone());
        async move {
            // Whoever says nothing costs a socket for a while, and no more.
            let seen = timeout(REQUEST_TIMEOUT, stream.peek(&mut [0])).await;
            let Ok(Ok(1..)) = seen else { return Ok(()) };
            let peer = stream.peer_addr().ok();
            let serving = async {
                let Some(mut stream) = accept(&node, stream, config).await else { return Ok(()) };
                let seen = timeout(REQUEST_TIMEOUT, stream.peek()).await;
                let Ok(Ok(first @ [_, ..])) = seen else { return Ok(()) };
                let console = is_console(first);
                http1.call((stream, peer, console)).await
            };
            in_turn(&turns, serving).await
        }
    }))
}

/// The TLS handshake; it is one of those that a node does so many of at once.
async fn accept(node: &Arc<Node>, stream: TcpStream, config: Arc<ServerConfig>) -> Option<TlsStream> {
    let refused = |reason: &str| node.metrics.ws_handshakes_refused_total.with_label_values(&[reason]).inc();
    let _place = node.open_handshake().inspect_err(|reason| refused(reason)).ok()?;
    let _ = stream.set_nodelay(true);
    match timeout(REQUEST_TIMEOUT, TlsStream::accept(stream, config)).await {
        Ok(Ok(stream)) => Some(stream),
        _ => {
            refused("tls");
            None
        }
    }
}

/// HTTP/1.1 on sockets of one kind: (socket, its peer, whether it asks for the console).
async fn http1<S: Socket + AsyncRead + AsyncWrite + Unpin>(
    site: &Site,
) -> Result<impl Service<(S, Option<SocketAddr>, bool), Response = (), Error = ()> + use<S>, ()> {
    let app = {
        let Site { node, surface, http } = site.clone();
        move || {
            let node = node.clone();
            let app = App::new().wrap(http.clone()).wrap(TracingLogger::default());
            app.configure(|config| app::routes(config, node, surface))
                .into_factory()
                .map_err(|error| error.error_response())
        }
    };
    let node = site.node.clone();
    let sessions = fn_service(move |(request, framed): (Request, Framed<S, Codec>)| {
        let upgraded = upgrade(node.clone(), request, framed);
        async move { upgraded.await.map_err(actix_web::Error::from) }
    });
    let main = HttpService::build()
        .client_request_timeout(REQUEST_TIMEOUT)
        .tcp_nodelay(true)
        .upgrade(sessions)
        .h1(map_config(app(), |()| AppConfig::default()))
        .new_service(())
        .await
        .map_err(drop)?;
    let plain = HttpService::build()
        .client_request_timeout(REQUEST_TIMEOUT)
        .h1(map_config(app(), |()| AppConfig::default()))
        .new_service(())
        .await;
    let (main, plain) = (Rc::new(main), Rc::new(plain.map_err(drop)?));
    Ok(fn_service(move |(stream, peer, console): (S, Option<SocketAddr>, bool)| {
        let (main, plain) = (main.clone(), plain.clone());
        async move {
            // An upgrade service takes every upgrade; the console's sockets are the app's own.
            let served = match console {
                true => plain.call((stream, peer)).await,
                false => main.call((stream, peer)).await,
            };
            // A connection that breaks is everyday business.
            served.map_err(drop)
        }
    }))
}

fn is_console(first: &[u8]) -> bool {
    first.starts_with(format!("GET {}", console::PATH).as_bytes())
}

/// Serves new connections that have begun to speak a few at a time: thousands who come back at once must not stand
/// between the sessions of this thread and their sockets. A turn ends with the upgrade, or after [`TURN`] for whoever
/// takes its time.
async fn in_turn<F: Future>(turns: &Semaphore, serving: F) -> F::Output {
    // It is never closed.
    let turn = turns.acquire().await;
    let mut serving = pin!(serving);
    match timeout(TURN, serving.as_mut()).await {
        Ok(served) => served,
        Err(_) => {
            drop(turn);
            serving.await
        }
    }
}

fn hand_over(stream: TcpStream, h2: H2Sockets) {
    if let (Some(h2), Ok(stream)) = (h2, stream.into_std()) {
        h2(stream);
    }
}

/// Serves the operators' port: the console's page, health, metrics, debug views and the admin API.
pub fn serve_admin(listener: TcpListener, node: Arc<Node>, admin: Arc<Admin>) -> io::Result<actix_web::dev::Server> {
    // Its connections inherit this. A stream whose client stops reading is not polled any more: the kernel ends it.
    let options = socket2::SockRef::from(&listener);
    options.set_send_buffer_size(ADMIN_SEND_BUFFER)?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(ADMIN_STALLED))?;
    let server = HttpServer::new(move || {
        let (node, admin) = (node.clone(), admin.clone());
        let app = App::new().wrap(from_fn(admin::guard_debug_views));
        app.configure(|config| admin::routes(config, admin))
            // Before the plain routes, whose `/` is another's.
            .configure(admin::page::routes)
            .configure(|config| app::routes(config, node, Surface::Debug))
    });
    Ok(server.workers(1).max_connections(ADMIN_CONNECTIONS).disable_signals().listen(listener)?.run())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[actix_rt::test]
    async fn who_takes_its_time_gives_its_turn_to_the_next() {
        let turns = Semaphore::new(1);
        let (mut slow, mut next) = (pin!(in_turn(&turns, pending::<()>())), pin!(in_turn(&turns, ready(1))));
        assert!(futures_util::poll!(slow.as_mut()).is_pending());
        assert!(futures_util::poll!(next.as_mut()).is_pending(), "one at a time");
        let served = tokio::select! {
            () = slow => 0,
            served = next => served,
        };
        assert_eq!(served, 1);
    }
}
