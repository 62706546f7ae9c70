//! Who is asking, and whether that is so: the operator by a token (or by being on this machine, where no token is set),
//! a tenant by a signature with its secret. Must not know what is asked for.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::Mac;
use mics_actors::node::{Node, clock_ms, unix_ms};
use mics_actors::tenant::Tenant;
use sha2::{Digest, Sha256};

use super::nonces::{Nonces, Taken};
use super::problem::{Code, Problem};
use crate::grpc::same_secret;
use crate::hooks::sign;

/// How old a signed request may be, and how far ahead its clock.
pub const FRESH_MS: i64 = 60_000;
/// A nonce is remembered for as long as its request could be fresh.
const REMEMBER_MS: u64 = 2 * FRESH_MS as u64;
/// Of HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;
/// First line of what is signed.
const SCHEME: &str = "MICS-ADMIN-1";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Showed the token.
    Operator,
    /// No token is set, and the caller is on this machine.
    Loopback,
    /// Signed with this tenant's secret.
    Tenant(Arc<str>),
}

impl Caller {
    /// For the audit log.
    pub fn name(&self) -> String {
        match self {
            Caller::Operator => "operator".into(),
            Caller::Loopback => "loopback".into(),
            Caller::Tenant(tenant) => format!("tenant:{tenant}"),
        }
    }
}

/// What tells callers apart.
pub struct Access {
    token: Option<String>,
    node: Arc<Node>,
    nonces: Mutex<Nonces>,
}

/// A request as its signature covers it.
pub struct Signed<'a> {
    pub method: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
    pub body: &'a [u8],
}

/// What a tenant signs: seven lines, the last without a line end.
pub fn signed_text(request: &Signed<'_>, tenant: &str, timestamp_ms: i64, nonce: &str) -> String {
    let digest = Sha256::digest(request.body);
    let body: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{SCHEME}\n{}\n{}\n{tenant}\n{timestamp_ms}\n{nonce}\n{body}", request.method, request.target)
}

/// Base64 of HMAC-SHA256.
pub fn signature(key: &[u8], text: &str) -> String {
    sign::sign(key, &[text.as_bytes()])
}

/// Who asks, before the body is read.
pub enum Asker {
    Known(Caller),
    /// Whether a tenant signed it is seen with the body.
    Claims(Claims),
}

/// What the headers of a signed request say.
pub struct Claims {
    tenant: Arc<Tenant>,
    signature: Vec<u8>,
    timestamp_ms: i64,
    nonce: String,
}

/// The same words whether there is such a tenant or not.
fn wrong() -> Problem {
    unauthorized("the signature does not verify")
}

fn unauthorized(message: &str) -> Problem {
    Problem::new(Code::Unauthorized, message)
}

impl Access {
    pub fn new(token: Option<String>, node: Arc<Node>) -> Self {
        Access { token, node, nonces: Mutex::default() }
    }

    /// As far as the headers tell.
    pub fn asker(&self, request: &HttpRequest) -> Result<Asker, Problem> {
        if request.headers().contains_key("x-mics-signature") {
            return self.claims(request.headers()).map(Asker::Claims);
        }
        self.operator(request.headers(), request.peer_addr().map(|peer| peer.ip())).map(Asker::Known)
    }

    fn operator(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Caller, Problem> {
        let Some(token) = &self.token else { return loopback(headers, peer) };
        let given = text(headers, AUTHORIZATION.as_str()).and_then(|value| value.split_once(' '));
        match given {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => {
                let same = same_secret(given.trim().as_bytes(), token.as_bytes());
                if same { Ok(Caller::Operator) } else { Err(unauthorized("the token is not right")) }
            }
            _ => Err(unauthorized("no token: send `Authorization: Bearer <ADMIN_TOKEN>`, or a tenant's signature")),
        }
    }

    /// Refused when the headers alone tell that the signature can't be good.
    fn claims(&self, headers: &HeaderMap) -> Result<Claims, Problem> {
        let header = |name: &str| {
            text(headers, name).ok_or_else(|| unauthorized(&format!("a signed request needs a header {name}")))
        };
        let (tenant, signature) = (header("x-mics-tenant")?, header("x-mics-signature")?);
        let (timestamp, nonce) = (header("x-mics-timestamp")?, header("x-mics-nonce")?);
        let in_nonce = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if !(16..=128).contains(&nonce.len()) || !nonce.chars().all(in_nonce) {
            return Err(unauthorized("a nonce is 16 to 128 of A-Z a-z 0-9 - _"));
        }
        let timestamp_ms: i64 = timestamp.parse().map_err(|_| unauthorized("x-mics-timestamp is Unix milliseconds"))?;
        if unix_ms().saturating_sub(timestamp_ms).saturating_abs() > FRESH_MS {
            return Err(Problem::new(Code::StaleSignature, "the request was not signed within the last 60 s"));
        }
        let tenant = self.node.tenants().get(tenant).ok_or_else(wrong)?;
        let signature = STANDARD.decode(signature).ok().filter(|given| given.len() == SIGNATURE_BYTES);
        Ok(Claims { tenant, signature: signature.ok_or_else(wrong)?, timestamp_ms, nonce: nonce.to_owned() })
    }

    /// The tenant that signed this request.
    pub async fn signer(&self, claims: Claims, request: &HttpRequest, body: &[u8]) -> Result<Caller, Problem> {
        let Claims { tenant, signature, timestamp_ms, nonce } = claims;
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let request = Signed { method: request.method().as_str(), target, body };
        let signed = signed_text(&request, &tenant.id, timestamp_ms, &nonce);
        let keys = tenant.caller_secrets();
        let verifies = |key: &[u8]| sign::mac(key, &[signed.as_bytes()]).verify_slice(&signature).is_ok();
        if !keys.iter().filter_map(|secret| secret.key()).any(verifies) {
            return Err(wrong());
        }
        self.once(&tenant.id, &nonce)?;
        self.once_in_the_cluster(&tenant.id, &nonce).await?;
        Ok(Caller::Tenant(tenant.id.clone()))
    }

    /// A signed request is good once on this node.
    fn once(&self, tenant: &Arc<str>, nonce: &str) -> Result<(), Problem> {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        match nonces.take(tenant, nonce, clock_ms(), REMEMBER_MS) {
            Taken::Now => Ok(()),
            Taken::Before => Err(repeated()),
            Taken::NoRoom => {
                Err(Problem::new(Code::TooManyRequests, "too many signed requests; wait for up to two minutes"))
            }
        }
    }

    /// And once on all nodes, as far as they share a directory that answers.
    async fn once_in_the_cluster(&self, tenant: &str, nonce: &str) -> Result<(), Problem> {
        let directory = &self.node.directory;
        if directory.standalone() {
            return Ok(());
        }
        let digest = Sha256::digest(format!("{SCHEME}\n{tenant}\n{nonce}").as_bytes());
        let key = digest[..16].iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte));
        if directory.claim(tenant, key, REMEMBER_MS).await == Ok(false) { Err(repeated()) } else { Ok(()) }
    }
}

fn repeated() -> Problem {
    Problem::new(Code::RepeatedRequest, "this nonce was used before; sign every request anew")
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What a reverse proxy adds: who asks is behind it, on whichever machine.
const PROXY_HEADERS: [&str; 3] = ["forwarded", "x-forwarded-for", "via"];

/// Without a token this machine's own programs may ask. A web page that a browser on it shows may not: neither one of
/// another origin, nor one whose name was made to point here.
fn loopback(headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Caller, Problem> {
    let refused = |why: &str| Err(Problem::new(Code::Forbidden, why));
    if !peer.is_some_and(|peer| peer.to_canonical().is_loopback()) {
        return refused("without ADMIN_TOKEN only this machine may ask");
    }
    if let Some(proxy) = PROXY_HEADERS.iter().find(|name| headers.contains_key(**name)) {
        return refused(&format!("without ADMIN_TOKEN no proxy may ask for others (there is a header {proxy})"));
    }
    let host = text(headers, HOST.as_str()).unwrap_or_default();
    if !is_loopback_name(host) {
        return refused("without ADMIN_TOKEN the host must be a loopback address");
    }
    let origin = text(headers, ORIGIN.as_str());
    if headers.contains_key(ORIGIN) && origin.and_then(|origin| origin.split_once("://")).map(|o| o.1) != Some(host) {
        return refused("asked by a page of another origin");
    }
    Ok(Caller::Loopback)
}

/// `localhost`, `127.0.0.1:9090`, `[::1]:9090`.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(header).collect()
    }

    #[test]
    fn without_a_token_only_programs_of_this_machine_may_ask() {
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        type Pairs = &'static [(&'static str, &'static str)];
        let cases: [(Pairs, Option<IpAddr>, bool); 12] = [
            (&[("host", "127.0.0.1:9090")], here, true),
            (&[("host", "localhost")], here, true),
            (&[("host", "[::1]:9090")], here, true),
            (&[("host", "127.0.0.1:9090"), ("origin", "http://127.0.0.1:9090")], here, true),
            (&[("host", "127.0.0.1:9090"), ("origin", "http://evil.test")], here, false),
            (&[("host", "127.0.0.1:9090"), ("origin", "null")], here, false),
            (&[("host", "evil.test:9090")], here, false),
            (&[("host", "localhost"), ("forwarded", "for=192.0.2.1")], here, false),
            (&[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")], here, false),
            (&[("host", "localhost"), ("via", "1.1 proxy")], here, false),
            (&[], here, false),
            (&[("host", "localhost")], Some(IpAddr::from([10, 0, 0, 1])), false),
        ];
        for (pairs, peer, allowed) in cases {
            assert_eq!(loopback(&headers(pairs), peer).is_ok(), allowed, "{pairs:?} {peer:?}");
        }
    }

    #[test]
    fn the_signed_text_covers_everything() {
        let request = Signed { method: "POST", target: "/admin/v1/tenants/t1/messages?x=1", body: b"{}" };
        let text = signed_text(&request, "t1", 1_770_000_000_000, "0123456789abcdef");
        let body = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let lines =
            ["MICS-ADMIN-1", "POST", request.target, "t1", "1770000000000", "0123456789abcdef", body].join("\n");
        assert_eq!(text, lines);
        assert_eq!(signature(b"a secret of the tenant", &text), "Tum62eSztCYKVivwOck98E/GkVTnmrngQFQrly4wTyY=");
    }
}
