//! Clients that come over TLS, as the binary serves them: who gets in, who does not, and certificates that are renewed. What
//! a session then does is the same as without TLS: `flow_tls.rs`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mics::config::{GatewayConfig, Mode, Source};
use mics_client::{ConnectParams, Event, MicsClient, MicsClientOptions};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use support::client::{dial_tcp, http_get_over, masked, secured, single};
use support::tls::Identity;
use support::{Client, Gateway, PATIENCE, wait_until};

#[allow(dead_code, unused_imports)]
mod support;

/// The gateways of `Setup` are none of this file's.
const SECURED: bool = false;

/// A certificate's and a key's file, which go when this does.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, identity: &Identity) -> Files {
        let folder = std::env::temp_dir().join(format!("mics-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Files(folder);
        files.write(&cert_pem(identity), &key_pem(identity));
        files
    }

    fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.path("tls.crt"), certificate).unwrap();
        std::fs::write(self.path("tls.key"), key).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn cert_pem(identity: &Identity) -> String {
    identity.0.cert.pem()
}

fn key_pem(identity: &Identity) -> String {
    identity.0.signing_key.serialize_pem()
}

/// A gateway with the mock's tenants behind two ports, one of them for TLS.
struct Secured {
    gateway: Gateway,
    address: SocketAddr,
    files: Files,
}

impl Secured {
    fn start(name: &str, identity: &Identity) -> Secured {
        Secured::start_as(name, identity, Mode::Dev, &[])
    }

    fn start_as(name: &str, identity: &Identity, mode: Mode, more: &[(&'static str, String)]) -> Secured {
        let files = Files::new(name, identity);
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut variables = vec![
            ("TLS_PORT", address.port().to_string()),
            ("TLS_CERT_FILE", files.path("tls.crt")),
            ("TLS_KEY_FILE", files.path("tls.key")),
        ];
        variables.extend_from_slice(more);
        Secured { gateway: Gateway::from_variables(&variables, mode), address, files }
    }

    /// A connection whose handshake is still to be done.
    fn dial(&self, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
        secured(dial_tcp(self.address, None), config.clone())
    }

    /// A client that was let in.
    fn connect(&self, config: &Arc<ClientConfig>, user: &str) -> Client {
        let query = format!("tenantId=t1&token=valid:{user}&deviceId=d");
        let mut client = Client::over(Box::new(self.dial(config)), &query);
        client.welcome();
        client
    }

    /// Whether a newcomer who trusts only this certificate gets through the handshake.
    fn shows(&self, identity: &Identity) -> bool {
        let mut stream = self.dial(&identity.client(rustls::ALL_VERSIONS));
        stream.conn.complete_io(&mut stream.sock).is_ok()
    }

    fn refused(&self) -> u64 {
        self.gateway.node.metrics.ws_handshakes_refused_total.with_label_values(&["tls"]).get()
    }
}

#[test]
fn clients_of_tls_1_2_and_1_3_send_and_receive() {
    let identity = Identity::new();
    let secured = Secured::start("versions", &identity);
    let bodies: Vec<Vec<u8>> = (0..12).map(|n| vec![n as u8; 40_000 + n * 1_024]).collect();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = identity.client(&[version]);
        let (mut sender, mut reader) = (secured.connect(&config, "u1"), secured.connect(&config, "u2"));
        for (n, body) in bodies.iter().enumerate() {
            sender.send(single(&format!("{:?}-{n}", version.version), "u2", body));
        }
        for _ in &bodies {
            assert_eq!(sender.ack().reason, "");
        }
        for body in &bodies {
            assert!(reader.delivery().msg_body == *body, "whole and in order");
        }
    }
    assert_eq!(secured.refused(), 0);
}

#[test]
fn metrics_stay_on_the_port_within_the_cluster() {
    let identity = Identity::new();
    let tenants = [("TENANT_AUTH_MAP", r#"{"t1":"http://127.0.0.1:1"}"#.to_owned())];
    let secured = Secured::start_as("metrics", &identity, Mode::Gateway, &tenants);
    let config = identity.client(rustls::ALL_VERSIONS);
    let get = |path| http_get_over(Box::new(secured.dial(&config)), path).0;
    assert_eq!(["/healthz", "/readyz", "/metrics", "/debug/actors"].map(get), [200, 200, 404, 404]);
    assert_eq!(secured.gateway.get("/metrics").0, 200);
}

#[test]
fn http_is_served_too_and_only_http_1() {
    let identity = Identity::new();
    let secured = Secured::start("http", &identity);
    let config = identity.client(rustls::ALL_VERSIONS);
    let get = |path| http_get_over(Box::new(secured.dial(&config)), path);
    assert_eq!(get("/healthz").0, 200);
    let (status, page) = get("/");
    assert!(status == 200 && page.contains("<html"), "the chat page of mics dev: {page:.200}");

    let offers = |protocols: &[&str]| {
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut stream = secured.dial(&Arc::new(config));
        let done = stream.conn.complete_io(&mut stream.sock);
        done.map(|_| stream.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(offers(&["h2", "http/1.1"]).unwrap().as_deref(), Some(&b"http/1.1"[..]));
    assert!(offers(&["h2"]).is_err(), "node gRPC is not for clients");

    // The developer's view is a WebSocket of another kind.
    let mut console = secured.dial(&config);
    let upgrade = "GET /debug/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    console.write_all(upgrade.as_bytes()).unwrap();
    let mut answer = [0; 12];
    console.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[test]
fn a_connection_ends_as_tls_wants_it() {
    let identity = Identity::new();
    let secured = Secured::start("end", &identity);
    let mut stream = secured.dial(&identity.client(rustls::ALL_VERSIONS));
    let head = "GET /ws?tenantId=t1&token=wrong&deviceId=d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(&[head.as_bytes(), &masked(8, true, &1000u16.to_be_bytes())].concat()).unwrap();
    let mut answer = Vec::new();
    // An end without `close_notify` would be an error.
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101"));
}

#[test]
fn a_client_that_hangs_up_is_gone_at_once() {
    let identity = Identity::new();
    let secured = Secured::start("gone", &identity);
    let config = identity.client(rustls::ALL_VERSIONS);
    let orderly = {
        let mut stream = secured.dial(&config);
        stream.conn.complete_io(&mut stream.sock).unwrap();
        stream
    };
    let gone = secured.connect(&config, "u1");
    wait_until("it is there", || secured.gateway.sessions("t1") == 1);
    drop((gone, orderly));
    wait_until("it is gone", || secured.gateway.sessions("t1") == 0);
}

#[test]
fn who_does_not_speak_tls_is_closed_and_others_are_served_meanwhile() {
    let identity = Identity::new();
    let secured = Secured::start("garbage", &identity);
    let config = identity.client(rustls::ALL_VERSIONS);
    let mut silent = dial_tcp(secured.address, None);
    let mut half = dial_tcp(secured.address, None);
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let mut idle = secured.dial(&config);
    idle.conn.complete_io(&mut idle.sock).unwrap();

    let requests: [&[u8]; 4] = [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0xFF; 70_000],
        &[0x16, 3, 1, 0, 0],
    ];
    for request in requests {
        let mut stream = dial_tcp(secured.address, None);
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    wait_until("they are counted", || secured.refused() == requests.len() as u64);
    assert_eq!(http_get_over(Box::new(secured.dial(&config)), "/healthz").0, 200);

    // Those who say too little have 10 s.
    assert!(matches!(silent.read(&mut [0]), Ok(0)), "closed, not timed out");
    let _ = half.read_to_end(&mut Vec::new());
    let _ = idle.sock.read_to_end(&mut Vec::new());
    wait_until("only the handshake that was begun counts", || secured.refused() == requests.len() as u64 + 1);
}

#[test]
fn a_renewed_certificate_is_shown_to_newcomers_and_a_wrong_one_to_nobody() {
    let (first, second) = (Identity::new(), Identity::new());
    let secured = Secured::start("renewed", &first);
    let mut early = secured.connect(&first.client(rustls::ALL_VERSIONS), "u1");
    assert!(secured.shows(&first) && !secured.shows(&second));

    let good = || secured.gateway.node.metrics.config_last_reload_successful.with_label_values::<&str>(&[]).get();
    secured.files.write(&cert_pem(&second), &key_pem(&first));
    wait_until("the mistake is noticed", || good() == 0);
    assert!(secured.shows(&first), "the last good one stays");
    secured.files.write(&cert_pem(&second), &key_pem(&second));
    wait_until("the new one is shown", || secured.shows(&second));
    assert!(good() == 1 && !secured.shows(&first));

    early.ping();
    early.pong();
    secured.connect(&second.client(rustls::ALL_VERSIONS), "u2");
}

#[test]
fn the_client_sdk_comes_over_wss() {
    let identity = Identity::new();
    let secured = Secured::start("sdk", &identity);
    let params = |user: &str| ConnectParams {
        url: format!("wss://localhost:{}/ws", secured.address.port()),
        tenant_id: "t1".into(),
        token: format!("valid:{user}").into(),
        device_id: "d".into(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let own = || MicsClientOptions { tls: Some(identity.client(rustls::ALL_VERSIONS)), ..Default::default() };
        let (_reader, mut events) = MicsClient::connect(params("u2"), own()).await.unwrap();
        let (sender, _events) = MicsClient::connect(params("u1"), own()).await.unwrap();
        let ack = sender.send_single_chat("u2", vec![7; 60_000], None).await.unwrap();
        assert_eq!(ack.reason, "");
        let delivery = async {
            loop {
                if let Some(Event::Delivery(delivery)) = events.next().await {
                    return delivery.message.msg_body.len();
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, delivery).await.unwrap(), 60_000);
        let strangers = MicsClientOptions { connect_timeout: Duration::from_secs(20), ..Default::default() };
        let refused = MicsClient::connect(params("u3"), strangers).await.err().unwrap().to_string();
        assert!(refused.contains("certificate"), "no public authority signed this: {refused}");
    });
}

/// Every mistake of a configuration, sorted.
fn mistakes(pairs: &[(&str, &str)]) -> Vec<String> {
    let errors = GatewayConfig::load(&Source::from_pairs(pairs.iter().copied()), Mode::Dev).unwrap_err();
    let mut lines: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn a_wrong_certificate_is_a_mistake_at_the_start_and_all_are_named() {
    let (identity, other) = (Identity::new(), Identity::new());
    let files = Files::new("mistakes", &identity);
    let (cert, key) = (files.path("tls.crt"), files.path("tls.key"));
    let with = |cert: &str, key: &str| {
        mistakes(&[("TLS_PORT", "8443"), ("TLS_CERT_FILE", cert), ("TLS_KEY_FILE", key)]).join("\n")
    };
    let missing = mistakes(&[("TLS_PORT", "8443")]);
    assert!(
        missing.len() == 2 && missing.iter().all(|line| line.contains("is required: TLS_PORT is set")),
        "{missing:?}"
    );
    let gone = with("/nowhere/tls.crt", "/nowhere/tls.key");
    assert_eq!(gone.matches("cannot be read").count(), 2, "{gone}");
    let swapped = with(&key, &cert);
    assert!(swapped.contains("has no certificate") && swapped.contains("has no private key"), "{swapped}");
    files.write(&cert_pem(&identity), &key_pem(&other));
    assert!(with(&cert, &key).contains("is not the key of this certificate"), "{}", with(&cert, &key));
    files.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN PRIVATE KEY-----\n%\n");
    let broken = with(&cert, &key);
    assert!(broken.starts_with("TLS_KEY_FILE"), "{broken}");
    files.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key_pem(&identity));
    assert_eq!(with(&cert, &key).lines().count(), 1, "{}", with(&cert, &key));

    files.write(&cert_pem(&identity), &key_pem(&identity));
    let same = [("PORT", "8443"), ("TLS_PORT", "8443"), ("TLS_CERT_FILE", &*cert), ("TLS_KEY_FILE", &*key)];
    assert_eq!(mistakes(&same), ["TLS_PORT=8443: is also PORT; leave it 0 or choose another"]);
    let unused = Source::from_pairs([("TLS_CERT_FILE", &*cert), ("TLS_KEY_FILE", &*key)]);
    let (config, warnings) = GatewayConfig::load(&unused, Mode::Dev).unwrap();
    assert!(config.tls_certificate.is_none() && warnings.iter().all(|line| line.contains("TLS_PORT is not set")));
    assert_eq!(warnings.len(), 2);
}

#[test]
fn keys_of_every_usual_kind_are_read() {
    let files = Files::new("kinds", &Identity::new());
    let (cert, key) = (files.path("tls.crt"), files.path("tls.key"));
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl").args(arguments).output().expect("openssl is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let kinds = [
        ("RSA PRIVATE KEY", &["genrsa", "-traditional", "-out", &key, "2048"][..]),
        ("EC PRIVATE KEY", &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key]),
        ("PRIVATE KEY", &["genpkey", "-algorithm", "RSA", "-out", &key]),
    ];
    for (kind, make) in kinds {
        openssl(make);
        let text = std::fs::read_to_string(&key).unwrap();
        assert!(text.starts_with(&format!("-----BEGIN {kind}-----")), "{kind}");
        openssl(&["req", "-x509", "-new", "-key", &key, "-out", &cert, "-days", "2", "-subj", "/CN=localhost"]);
        let source = Source::from_pairs([("TLS_PORT", "8443"), ("TLS_CERT_FILE", &cert), ("TLS_KEY_FILE", &key)]);
        let (config, _) = GatewayConfig::load(&source, Mode::Dev).unwrap_or_else(|errors| panic!("{kind}: {errors}"));
        assert!(config.tls_certificate.is_some() && !format!("{config:?}").contains("PRIVATE"));
    }
}
