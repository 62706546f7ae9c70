//! The certificate that the node shows to clients who connect over TLS: read and checked as a whole, exchanged while the
//! node runs. It must not know sockets or settings.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// What is spoken within the encryption; HTTP/2 is for nodes, which come without TLS.
const ALPN: &[u8] = b"http/1.1";

/// A certificate, those of the authorities that signed it, and its private key, which is never printed.
#[derive(Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({} in the chain)", self.0.cert.len())
    }
}

impl Certificate {
    /// Error: the key is of an unknown kind, or another certificate's.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Certificate, String> {
        match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
            Ok(certified) => Ok(Certificate(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(_)) => Err("is not the key of this certificate".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Reads a PEM file of certificates, the node's own first.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| problem(&error))?;
    match chain.is_empty() {
        false => Ok(chain),
        true => Err("has no certificate (PEM)".to_owned()),
    }
}

/// Reads the first private key of a PEM file: PKCS#8, PKCS#1 or SEC1, without a password.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| problem(&error))
}

/// Without any of the text, which is secret.
fn problem(error: &PemError) -> String {
    match error {
        PemError::Io(error) => format!("cannot be read: {error}"),
        PemError::NoItemsFound => "has no private key (PEM, without a password)".to_owned(),
        _ => "is not PEM".to_owned(),
    }
}

/// The certificate that new connections are shown.
#[derive(Debug)]
pub struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    pub fn new(certificate: &Certificate) -> Arc<Shown> {
        Arc::new(Shown(ArcSwap::new(certificate.0.clone())))
    }

    /// Shows this one from now on; open connections stay. False if it is the one that is shown.
    pub fn renew(&self, certificate: &Certificate) -> bool {
        let before = self.0.swap(certificate.0.clone());
        Certificate(before) != *certificate
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// TLS 1.2 and 1.3, as the library recommends. Clients who come back skip the costly part, with tickets that only they keep.
pub fn server_config(shown: Arc<Shown>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = ring::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
