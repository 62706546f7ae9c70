//! Opens the socket: name, TCP, TLS, WebSocket handshake. Nothing here knows what the frames mean.

use crate::error::MicsError;
use crate::options::MicsClientOptions;
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{Error as WsError, protocol::WebSocketConfig};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};
use url::{Host, Url};

pub(crate) type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Thousands of clients may live in one process, so buffers start small; they grow with larger frames.
const READ_BUFFER: usize = 2048;
/// Frames of one burst are gathered up to this size before a system call; allocated only when used.
const WRITE_BUFFER: usize = 4096;

/// Dials `url`, which must be `ws` or `wss`. The caller bounds the time.
pub(crate) async fn open(url: &Url, options: &MicsClientOptions) -> Result<Ws, MicsError> {
    let stream = dial(url, options.local_address).await?;
    stream.set_nodelay(true).map_err(|e| MicsError::Connect(e.to_string()))?;
    reset_when_dropped(&stream, true);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(options.max_frame_bytes))
        .max_frame_size(Some(options.max_frame_bytes));
    let connector = match (url.scheme(), &options.tls) {
        ("wss", Some(own)) => Connector::Rustls(own.clone()),
        ("wss", None) => Connector::Rustls(tls_config()?),
        _ => Connector::Plain,
    };
    match client_async_tls_with_config(url.as_str(), stream, Some(config), Some(connector)).await {
        Ok((ws, _)) => Ok(ws),
        Err(WsError::Http(response)) => Err(MicsError::HttpRefused(response.status().as_u16())),
        // The other variants carry no part of the URL, hence no token.
        Err(e) => Err(MicsError::Connect(e.to_string())),
    }
}

/// The connection has its session: dropping it closes it.
pub(crate) fn keep(ws: &Ws) {
    match ws.get_ref() {
        MaybeTlsStream::Plain(stream) => reset_when_dropped(stream, false),
        MaybeTlsStream::Rustls(stream) => reset_when_dropped(stream.get_ref().0, false),
        _ => {}
    }
}

/// An attempt that is given up is reset instead of closed. A gateway that was silent would otherwise read the old request
/// later, take it for a newer connection of this device, and end the one that followed it with 4409.
#[allow(deprecated)] // for positive times, which would block
fn reset_when_dropped(stream: &TcpStream, on: bool) {
    // Fails only when the connection is gone already.
    let _ = stream.set_linger(on.then_some(std::time::Duration::ZERO));
}

/// Tries every address of the host in turn.
async fn dial(url: &Url, local: Option<IpAddr>) -> Result<TcpStream, MicsError> {
    let failed = |e: std::io::Error| MicsError::Connect(e.to_string());
    let port = url.port_or_known_default().unwrap_or(80);
    let addresses: Vec<SocketAddr> = match url.host() {
        Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
        Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
        Some(Host::Domain(name)) => tokio::net::lookup_host((name, port)).await.map_err(failed)?.collect(),
        None => Vec::new(),
    };
    let mut last = MicsError::Connect("host has no address".into());
    for address in addresses {
        match dial_one(address, local).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = failed(e),
        }
    }
    Err(last)
}

async fn dial_one(address: SocketAddr, local: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(ip) = local {
        socket.bind((ip, 0).into())?;
    }
    socket.connect(address).await
}

/// One TLS configuration for all clients of the process without their own. The crypto provider is named, not taken from the process
/// default, which fails when an application links two.
fn tls_config() -> Result<Arc<ClientConfig>, MicsError> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| MicsError::Connect(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}
