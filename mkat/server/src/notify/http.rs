//! One bounded HTTP request: where it may go, how long it may take, how much of the answer is read. Must not know what
//! is said.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Url};

/// Longer answers are cut: only their beginning says anything.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// A far end that says "in a day" is asked earlier all the same.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// From the `Retry-After` header, seconds only.
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Status 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// No answer.
#[derive(Debug, Clone)]
pub struct HttpError {
    pub reason: String,
    /// The request may have reached the far end.
    pub maybe_arrived: bool,
}

/// Sends the request and reads its answer.
pub async fn exchange(request: RequestBuilder, timeout: Duration) -> Result<Answer, HttpError> {
    let mut response = request.timeout(timeout).send().await.map_err(failure)?;
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER_BYTES {
            body.truncate(MAX_ANSWER_BYTES);
            break;
        }
    }
    Ok(Answer { status, retry_after, body })
}

/// Says what went wrong without the URL, which may hold a token.
fn failure(error: reqwest::Error) -> HttpError {
    let maybe_arrived = !error.is_connect() && !error.is_builder();
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let reason = match cause.downcast_ref::<reqwest::Error>() {
        Some(_) => what.to_owned(),
        None => format!("{what}: {cause}"),
    };
    HttpError { reason, maybe_arrived }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(seconds)
}

/// A `retry_after` of an API's answer, in seconds.
pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER)
}

/// An absolute http(s) URL whose host is no link-local address: those lead to cloud metadata services.
pub fn target(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "must be an absolute http or https URL".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("must be an absolute http or https URL".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".to_owned());
    }
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) if is_link_local(address) => Err("must not be a link-local address".to_owned()),
        _ => Ok(url),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_absolute_web_addresses() {
        for good in ["https://example.com/hook?x=1", "http://127.0.0.1:9000", "http://[::1]:80/"] {
            assert!(target(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "/hook",
            "ftp://example.com",
            "file:///etc/passwd",
            "http://169.254.169.254/latest",
            "http://0xa9fea9fe/",
            "http://2852039166/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
            "http://user:secret@example.com/",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }
}
