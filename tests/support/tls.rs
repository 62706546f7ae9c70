//! Certificates made for a test, and both sides' settings for them.

use std::sync::{Arc, OnceLock};

use mics::certificate::{Certificate, Shown, server_config};
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate for `localhost`, signed by itself, and its key.
pub struct Identity(pub CertifiedKey<KeyPair>);

impl Identity {
    pub fn new() -> Identity {
        Identity(rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap())
    }

    /// One for all gateways of the process.
    pub fn shared() -> &'static Identity {
        static SHARED: OnceLock<Identity> = OnceLock::new();
        SHARED.get_or_init(Identity::new)
    }

    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.0.signing_key.serialize_der()).unwrap();
        let certificate = Certificate::new(vec![self.0.cert.der().clone()], key).unwrap();
        server_config(Shown::new(&certificate)).unwrap()
    }

    /// Trusts this certificate and no other.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}
