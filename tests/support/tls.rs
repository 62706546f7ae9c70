//! Certificates made for a test, and both sides' settings for them.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use mics::certificate::{Certificate, Shown, server_config};
use rcgen::CertifiedKey;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// A certificate for `localhost`, signed by itself, and its key (PKCS#8).
#[derive(Clone)]
pub struct Identity {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    pub key_pem: String,
    key: Vec<u8>,
}

impl Identity {
    pub fn new() -> Identity {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Identity {
            certificate: cert.der().clone(),
            certificate_pem: cert.pem(),
            key_pem: signing_key.serialize_pem(),
            key: signing_key.serialize_der(),
        }
    }

    /// One for all gateways of the process.
    pub fn shared() -> &'static Identity {
        static SHARED: OnceLock<Identity> = OnceLock::new();
        SHARED.get_or_init(Identity::new)
    }

    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let certificate = Certificate::new(vec![self.certificate.clone()], key).unwrap();
        server_config(Shown::new(&certificate)).unwrap()
    }

    /// Trusts this certificate and no other.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// A certificate's and a key's file, which go when this does.
pub struct Files(PathBuf);

impl Files {
    pub fn new(name: &str, identity: &Identity) -> Files {
        let folder = std::env::temp_dir().join(format!("mics-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = Files(folder);
        files.write(&identity.certificate_pem, &identity.key_pem);
        files
    }

    pub fn write(&self, certificate: &str, key: &str) {
        std::fs::write(self.path("tls.crt"), certificate).unwrap();
        std::fs::write(self.path("tls.key"), key).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
