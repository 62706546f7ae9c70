//! Connections to back ends: names looked up and judged, TCP, TLS, and no end of a stream unnoticed. Must not know what is
//! asked or which hosts the operator allows.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_rt::net::{ActixStream, Ready, TcpStream};
use actix_service::{Service, fn_service};
use actix_tls::connect::rustls_0_23::reexports::{AsyncTlsStream, ClientConfig};
use actix_tls::connect::rustls_0_23::{TlsConnector, webpki_roots_cert_store};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector, Resolve, Resolver};
use awc::http::Uri;
use futures_util::future::LocalBoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);
/// Far above the permits of all tenants, so that no call waits in the client's own queue.
const CONNECTION_LIMIT: usize = 4096;

/// The connection pools of one thread.
#[derive(Clone)]
pub(super) struct Clients {
    plain: awc::Client,
    tls: awc::Client,
}

impl Clients {
    /// Back ends with TLS must satisfy `tls`.
    pub(super) fn new(tls: ClientConfig) -> Self {
        let handshake = TlsConnector::service(Arc::new(tls));
        let plain = |to: ConnectInfo<Uri>| async { Ok(whole(dial(to).await?)) };
        let secured = move |to: ConnectInfo<Uri>| {
            let handshake = handshake.clone();
            async move { Ok(whole(handshake.call(dial(to).await?).await.map_err(ConnectError::Io)?)) }
        };
        Clients { plain: pool(fn_service(plain)), tls: pool(fn_service(secured)) }
    }

    /// A POST to an http(s) URL; none when the URL has no host.
    pub(super) fn post(&self, url: Uri) -> Option<awc::ClientRequest> {
        if url.scheme_str() != Some("https") {
            return Some(self.plain.post(url));
        }
        // This pool's connections are TLS already. Under `https` awc would put another TLS on top, below which the end
        // of a stream is not seen.
        let authority = format!("{}:{}", url.host()?, url.port_u16().unwrap_or(443));
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let inner = Uri::builder().scheme("http").authority(authority).path_and_query(path).build().ok()?;
        Some(self.tls.post(inner))
    }
}

/// TLS that trusts the public certificate authorities.
pub(super) fn public_tls() -> ClientConfig {
    tls_trusting(webpki_roots_cert_store())
}

fn tls_trusting(roots: rustls::RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        versions.expect("the provider has the default versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

fn pool<S, Io>(connect: S) -> awc::Client
where
    S: Service<ConnectInfo<Uri>, Response = Connection<Uri, Io>, Error = ConnectError> + Clone + 'static,
    Io: ActixStream + Debug + 'static,
{
    let connector = awc::Connector::new().connector(connect).limit(CONNECTION_LIMIT).conn_lifetime(CONNECTION_LIFETIME);
    awc::Client::builder().connector(connector).disable_timeout().disable_redirects().finish()
}

async fn dial(to: ConnectInfo<Uri>) -> Result<Connection<Uri, TcpStream>, ConnectError> {
    let connection = Connector::new(Resolver::custom(Names)).service().call(to).await?;
    // TLS writes a long request in several records, the last of which would wait for the peer's delayed ACK (40 ms).
    connection.io_ref().set_nodelay(true).map_err(ConnectError::Io)?;
    Ok(connection)
}

fn whole<Io>(connection: Connection<Uri, Io>) -> Connection<Uri, Whole<Io>> {
    let (io, to) = connection.into_parts();
    Connection::new(to, Whole(io))
}

/// A stream whose end is an error: the HTTP codec reads on only while something is missing, and would take the end of
/// the stream for the end of what it reads.
#[derive(Debug)]
struct Whole<Io>(Io);

impl<Io: AsyncRead + Unpin> AsyncRead for Whole<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        let ended = room > 0 && buf.remaining() == room;
        Poll::Ready(if ended { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Whole<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl ActixStream for Whole<TcpStream> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(&self.0, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(&self.0, cx)
    }
}

impl ActixStream for Whole<AsyncTlsStream<TcpStream>> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.0.get_ref().0, cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.0.get_ref().0, cx)
    }
}

/// Looks names up with the system's resolver; a name never leads to a link-local address. What is returned is what is
/// connected to.
struct Names;

impl Resolve for Names {
    fn lookup<'a>(&'a self, host: &'a str, port: u16) -> LocalBoxFuture<'a, Result<Vec<SocketAddr>, Box<dyn Error>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host(format!("{host}:{port}")).await?;
            // An IPv6 address, which comes here in brackets, was judged where the URL was.
            let literal = host.starts_with('[') && host.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok();
            Ok(found.filter(|address| literal || !is_link_local(address.ip())).collect())
        })
    }
}

/// Addresses that mean "this machine's own surroundings", among them the clouds' metadata services.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6 == METADATA_V6
                || v6.to_ipv4().is_some_and(|v4: Ipv4Addr| v4.is_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    /// Self-signed for `localhost`, with its key: for these tests alone.
    const CERTIFICATE: &[u8] = include_bytes!("testdata/localhost.crt");
    const KEY: &[u8] = include_bytes!("testdata/localhost.key");

    fn certificate() -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(CERTIFICATE).unwrap()
    }

    fn trusting_the_test() -> Clients {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate()).unwrap();
        Clients::new(tls_trusting(roots))
    }

    /// A back end with TLS that answers each request of one connection with the next response, then says goodbye.
    fn tls_server(responses: &'static [&'static [u8]]) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = versions.unwrap().with_no_client_auth().with_single_cert(vec![certificate()], key).unwrap();
        let served = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, socket);
            let answer = |response: &&[u8]| {
                let mut request = vec![0; 16 * 1024];
                let read = tls.read(&mut request).unwrap_or(0);
                let _ = tls.write_all(response);
                String::from_utf8_lossy(&request[..read]).into_owned()
            };
            let requests = responses.iter().map(answer).collect();
            tls.conn.send_close_notify();
            let _ = tls.flush();
            requests
        });
        (port, served)
    }

    async fn body(clients: &Clients, url: &str) -> Result<Vec<u8>, String> {
        let request = clients.post(url.parse().unwrap()).unwrap();
        let mut response = request.send_body("ask").await.map_err(|error| format!("{error:?}"))?;
        response.body().await.map(Vec::from).map_err(|error| format!("{error:?}"))
    }

    #[actix_rt::test]
    async fn a_body_cut_by_a_proper_end_of_tls_is_an_error() {
        let clients = trusting_the_test();
        let (port, _) = tls_server(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"]);
        let error = body(&clients, &format!("https://localhost:{port}/x")).await.unwrap_err();
        assert!(error.contains("UnexpectedEof"), "{error}");
        let (port, _) = tls_server(&[b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi"]);
        let error = body(&clients, &format!("https://localhost:{port}/x")).await.unwrap_err();
        assert!(error.contains("UnexpectedEof"), "{error}");
    }

    #[actix_rt::test]
    async fn requests_over_tls_share_a_connection_and_name_the_host() {
        let clients = trusting_the_test();
        let (port, served) = tls_server(&[
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyou",
        ]);
        let url = format!("https://localhost:{port}/base/auth?x=1");
        assert_eq!(body(&clients, &url).await.unwrap(), b"hi");
        assert_eq!(body(&clients, &url).await.unwrap(), b"you");
        for request in served.join().unwrap() {
            let request = request.to_ascii_lowercase();
            assert!(request.starts_with("post /base/auth?x=1 http/1.1\r\n"), "{request}");
            assert!(request.contains(&format!("\r\nhost: localhost:{port}\r\n")), "{request}");
        }
    }

    #[actix_rt::test]
    async fn https_is_never_answered_in_plain_text_nor_by_strangers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        });
        assert!(body(&trusting_the_test(), &format!("https://localhost:{port}/x")).await.is_err());

        let answer: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"];
        let (port, _) = tls_server(answer);
        let error = body(&Clients::new(public_tls()), &format!("https://localhost:{port}/x")).await.unwrap_err();
        assert!(error.contains("InvalidCertificate"), "{error}");
        let (port, _) = tls_server(answer);
        let error = body(&trusting_the_test(), &format!("https://127.0.0.1:{port}/x")).await.unwrap_err();
        assert!(error.contains("InvalidCertificate"), "{error}");
    }

    #[actix_rt::test]
    async fn small_writes_are_not_held_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        assert!(dial(ConnectInfo::new(url)).await.unwrap().io_ref().nodelay().unwrap());
    }

    #[actix_rt::test]
    async fn names_never_lead_to_link_local_addresses() {
        let ports = |found: Vec<SocketAddr>| found.iter().map(SocketAddr::port).collect::<Vec<_>>();
        assert!(ports(Names.lookup("localhost", 81).await.unwrap()).contains(&81));
        // The system's resolver reads these names as addresses: 127.0.0.1, and three times 169.254.169.254.
        assert_eq!(Names.lookup("2130706433", 80).await.unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        for name in ["2852039166", "0xa9fea9fe", "169.254.43518"] {
            let system = tokio::net::lookup_host((name, 80)).await.unwrap().collect::<Vec<_>>();
            assert_eq!(system, ["169.254.169.254:80".parse().unwrap()], "{name}");
            assert_eq!(Names.lookup(name, 80).await.unwrap(), [], "{name}");
            let url: Uri = format!("http://{name}/latest").parse().unwrap();
            let dialled = dial(ConnectInfo::new(url)).await;
            assert!(matches!(dialled, Err(ConnectError::NoRecords)), "{name}: {dialled:?}");
        }
        assert_eq!(Names.lookup("[fe80::1%1]", 80).await.unwrap(), [], "an address with a zone");
        assert_eq!(ports(Names.lookup("[fe80::1]", 80).await.unwrap()), [80], "an address as the operator lists it");
    }

    #[test]
    fn link_local_is_recognised_in_every_form() {
        for address in [
            "169.254.0.1",
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
        ] {
            assert!(is_link_local(address.parse().unwrap()), "{address}");
        }
        for address in
            ["127.0.0.1", "10.0.0.7", "192.168.1.1", "172.16.0.1", "169.253.0.1", "::1", "fd00::1", "fec0::1"]
        {
            assert!(!is_link_local(address.parse().unwrap()), "{address}");
        }
    }
}
