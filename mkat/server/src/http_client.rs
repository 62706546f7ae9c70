//! The one outgoing HTTP client: rustls with ring and the roots compiled in, so a bare container needs no files.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

pub fn build() -> Result<reqwest::Client> {
    // A POST that is redirected would become a GET, and might lead anywhere.
    build_with(reqwest::redirect::Policy::none())
}

pub fn build_with(redirects: reqwest::redirect::Policy) -> Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .user_agent(concat!("mkat/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects)
        .timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(4)
        .build()
        .map_err(Error::internal)
}

fn tls() -> Result<rustls::ClientConfig> {
    let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let versions = builder.with_safe_default_protocol_versions().map_err(Error::internal)?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}
