//! The tenant's back end over HTTP/1.1 keep-alive: one attempt per call, within one budget. Must not retry, degrade or
//! count; where a call may go is decided by [`HostRules`].

use std::cell::OnceCell;
use std::net::IpAddr;
use std::time::Duration;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{self, HeaderMap};
use awc::http::{StatusCode, Uri};
use bytes::Bytes;
use mics_domain::policy::{HookFailure, HookOp};
use mics_domain::ports::HookTarget;
use mics_domain::trace::TraceParent;

use super::connect::{self, Clients, is_link_local};
use super::{HOOK_BUDGET, HookPort, Transport};

/// How the HTTP client behaves.
#[derive(Debug, Clone)]
pub struct HttpHookSettings {
    pub budget: Duration,
    /// Longer response bodies are a decode failure.
    pub max_response_bytes: usize,
    pub hosts: HostRules,
}

impl Default for HttpHookSettings {
    fn default() -> Self {
        HttpHookSettings { budget: HOOK_BUDGET, max_response_bytes: 8 << 20, hosts: HostRules::default() }
    }
}

/// Which hosts may be called. Without patterns: any, except link-local and metadata addresses. A pattern allows those
/// only as the literal address: a name that leads there is never followed.
#[derive(Debug, Clone, Default)]
pub struct HostRules {
    /// Lower case; a host, or `*.suffix` for every host below it.
    patterns: Vec<String>,
}

impl HostRules {
    /// `patterns`: exact hosts (IPv6 without brackets) or `*.suffix`; none = any host.
    pub fn new(patterns: impl IntoIterator<Item = String>) -> Self {
        HostRules { patterns: patterns.into_iter().map(|pattern| pattern.trim().to_ascii_lowercase()).collect() }
    }

    /// True when `host` (as in a URL, IPv6 with or without brackets) may be called.
    pub fn allow(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if self.patterns.is_empty() {
            return match host.parse::<IpAddr>() {
                Ok(address) => !is_link_local(address),
                Err(_) => !ends_in_number(&host),
            };
        }
        self.patterns.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some(suffix) => suffix.starts_with('.') && host.len() > suffix.len() && host.ends_with(suffix),
            None => *pattern == host,
        })
    }
}

/// Resolvers read `2852039166` or `0xa9.254.1` as IPv4 addresses; no real host name ends in a number.
fn ends_in_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    let digits = last.strip_prefix("0x");
    match digits {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    }
}

/// Carries hook calls over HTTP. Each thread that calls gets a connection pool of its own.
#[derive(Debug, Clone, Default)]
pub struct Http {
    settings: HttpHookSettings,
}

/// The `Hooks` port over HTTP.
pub type HttpHooks = HookPort<Http>;

impl HttpHooks {
    pub fn new(settings: HttpHookSettings) -> Self {
        let budget = settings.budget;
        HookPort::over(Http { settings }, budget)
    }
}

impl Default for HttpHooks {
    fn default() -> Self {
        HttpHooks::new(HttpHookSettings::default())
    }
}

impl Transport for Http {
    async fn exchange(&self, op: HookOp, to: &HookTarget, body: Vec<u8>) -> Result<Bytes, HookFailure> {
        let url = self.url(op, &to.base_url)?;
        post(&clients(), url, to.trace, body, self.settings.max_response_bytes).await
    }
}

impl Http {
    /// Where the operation is asked; anything that is no allowed http(s) URL counts as unreachable.
    fn url(&self, op: HookOp, base: &str) -> Result<Uri, HookFailure> {
        let url = format!("{}{}", base.trim_end_matches('/'), super::path(op));
        let url: Uri = url.parse().map_err(|_| HookFailure::Network)?;
        let web = matches!(url.scheme_str(), Some("http" | "https"));
        match url.host() {
            Some(host) if web && !host.is_empty() && self.settings.hosts.allow(host) => Ok(url),
            _ => Err(HookFailure::Network),
        }
    }
}

thread_local! {
    /// `awc::Client` belongs to one thread.
    static CLIENTS: OnceCell<Clients> = const { OnceCell::new() };
}

fn clients() -> Clients {
    CLIENTS.with(|cell| cell.get_or_init(|| Clients::new(connect::public_tls())).clone())
}

/// One exchange: the whole body of a 2xx answer, or why there is none.
async fn post(
    clients: &Clients,
    url: Uri,
    trace: Option<TraceParent>,
    body: Vec<u8>,
    max_response_bytes: usize,
) -> Result<Bytes, HookFailure> {
    let request = clients.post(url).ok_or(HookFailure::Network)?;
    let mut request = request.insert_header((header::CONTENT_TYPE, super::CONTENT_TYPE));
    if let Some(trace) = trace {
        request = request.insert_header(("traceparent", trace.to_string()));
    }
    let mut response = request.send_body(body).await.map_err(send_failure)?;
    status_failure(response.status().as_u16())?;
    match framing(response.status(), response.headers()) {
        Framing::Empty => Ok(Bytes::new()),
        Framing::Told => response.body().limit(max_response_bytes).await.map_err(body_failure),
        Framing::UntilClose => Err(HookFailure::Network),
    }
}

/// How a response tells where its body ends.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Empty,
    /// By a length or by chunks.
    Told,
    /// By the end of the connection, which a broken connection has as well: half a protobuf may well parse. (Of such a
    /// body awc reads nothing in HTTP/1.1, and no end in HTTP/1.0.)
    UntilClose,
}

fn framing(status: StatusCode, headers: &HeaderMap) -> Framing {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let chunked = value(header::TRANSFER_ENCODING).is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let length = value(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    match length {
        _ if status == StatusCode::NO_CONTENT => Framing::Empty,
        _ if chunked => Framing::Told,
        Some(0) => Framing::Empty,
        Some(_) => Framing::Told,
        None => Framing::UntilClose,
    }
}

/// What an HTTP status means: 2xx is an answer.
pub fn status_failure(status: u16) -> Result<(), HookFailure> {
    match status {
        200..=299 => Ok(()),
        400..=499 => Err(HookFailure::Http4xx),
        500..=599 => Err(HookFailure::Http5xx),
        _ => Err(HookFailure::HttpOther),
    }
}

fn send_failure(error: SendRequestError) -> HookFailure {
    match error {
        SendRequestError::Timeout | SendRequestError::Connect(ConnectError::Timeout) => HookFailure::Timeout,
        _ => HookFailure::Network,
    }
}

fn body_failure(error: PayloadError) -> HookFailure {
    match error {
        PayloadError::Overflow => HookFailure::Decode,
        _ => HookFailure::Network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(patterns: &[&str]) -> HostRules {
        HostRules::new(patterns.iter().map(|p| (*p).to_owned()))
    }

    #[test]
    fn without_patterns_everything_but_link_local_is_allowed() {
        for host in ["hooks.example", "localhost", "10.0.0.7", "[::1]", "h2.0x.example", "0xcafe.example"] {
            assert!(rules(&[]).allow(host), "{host}");
        }
        let refused = [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.169.254]",
            "[fd00:ec2::254]",
            "2852039166",
            "0xa9fea9fe",
            "169.254.43518",
            "169.254.169.254.",
        ];
        for host in refused {
            assert!(!rules(&[]).allow(host), "{host}");
        }
    }

    #[test]
    fn patterns_are_exact_or_suffixes() {
        let rules = rules(&["Hooks.Example", "*.tenant.example", "169.254.1.1", "fe80::1"]);
        for host in
            ["hooks.example", "HOOKS.example", "a.tenant.example", "a.b.tenant.example", "169.254.1.1", "[fe80::1]"]
        {
            assert!(rules.allow(host), "{host}");
        }
        for host in ["tenant.example", "eviltenant.example", "x.hooks.example", "127.0.0.1", ".tenant.example"] {
            assert!(!rules.allow(host), "{host}");
        }
    }

    #[test]
    fn urls_are_base_without_trailing_slashes_plus_path() {
        let hooks = Http::default();
        let url = |base| hooks.url(HookOp::CheckMessage, base).map(|url| url.to_string());
        assert_eq!(url("http://h:1/base//").unwrap(), "http://h:1/base/check-message");
        assert_eq!(url("https://h").unwrap(), "https://h/check-message");
        for bad in ["", "h", "h:80", "ftp://h", "http://", "http:///x", "/x", "http://h h", "http://u@169.254.169.254"]
        {
            assert_eq!(url(bad), Err(HookFailure::Network), "{bad}");
        }
    }
}
