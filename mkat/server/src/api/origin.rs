//! Where a request came from and how its sender reaches us: client address, base path, public URL.

use crate::config::Config;
use actix_web::{HttpMessage, HttpRequest};
use std::net::{IpAddr, Ipv4Addr};

/// The base path as the request spelled it; empty at the root. Set by the middleware.
#[derive(Debug, Clone, Default)]
pub struct PathBase(pub String);

pub fn path_base(request: &HttpRequest) -> String {
    request.extensions().get::<PathBase>().cloned().unwrap_or_default().0
}

/// `{scheme}://{host}{base path}` without trailing slash: MKAT_PUBLIC_URL if set, else the forwarded values of a
/// trusted proxy, else the request's own.
pub fn base_url(request: &HttpRequest, config: &Config) -> String {
    let base = path_base(request);
    if let Some(url) = &config.public_url {
        return format!("{url}{base}");
    }
    let forwarded = |name: &str| {
        let value = request.headers().get(name)?.to_str().ok()?.split(',').next()?.trim().to_owned();
        (trusted(config, peer_address(request.peer_addr())) && !value.is_empty()).then_some(value)
    };
    let connection = request.app_config();
    let scheme = forwarded("x-forwarded-proto")
        .filter(|scheme| matches!(scheme.as_str(), "http" | "https"))
        .unwrap_or_else(|| if connection.secure() { "https".into() } else { "http".into() });
    let own = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_else(|| connection.host());
    let host = forwarded("x-forwarded-host").unwrap_or_else(|| own.to_owned());
    format!("{scheme}://{host}{base}")
}

/// Address of the client: that of the connection, or the last untrusted one in X-Forwarded-For behind trusted proxies.
pub fn client_address(request: &HttpRequest, config: &Config) -> IpAddr {
    let direct = peer_address(request.peer_addr());
    if !trusted(config, direct) {
        return direct;
    }
    let hops: Vec<IpAddr> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    hops.into_iter().rev().find(|hop| !trusted(config, *hop)).unwrap_or(direct)
}

fn peer_address(address: Option<std::net::SocketAddr>) -> IpAddr {
    address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical())
}

fn trusted(config: &Config, address: IpAddr) -> bool {
    config.trusted_proxies.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn config(proxies: &str) -> Config {
        Config::read(|name| (name == "MKAT_TRUSTED_PROXIES").then(|| proxies.to_owned())).unwrap()
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let table = [
            ("", "10.0.0.9:1", "1.1.1.1", "10.0.0.9"),
            ("10.0.0.0/8", "10.0.0.9:1", "1.1.1.1", "1.1.1.1"),
            ("10.0.0.0/8", "10.0.0.9:1", "6.6.6.6, 1.1.1.1, 10.0.0.7", "1.1.1.1"),
            ("10.0.0.0/8", "10.0.0.9:1", "nonsense", "10.0.0.9"),
            ("10.0.0.0/8", "9.9.9.9:1", "1.1.1.1", "9.9.9.9"),
            ("::1, 10.0.0.0/8", "[::ffff:10.0.0.9]:1", "1.1.1.1", "1.1.1.1"),
        ];
        for (proxies, peer, forwarded, expected) in table {
            let request =
                TestRequest::default().peer_addr(peer.parse().unwrap()).insert_header(("x-forwarded-for", forwarded));
            let address = client_address(&request.to_http_request(), &config(proxies));
            assert_eq!(address.to_string(), expected, "{proxies} {peer} {forwarded}");
        }
    }
}
