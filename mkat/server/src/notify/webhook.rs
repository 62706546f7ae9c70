//! A web address of the operator's own as a channel: one signed JSON document per alert. Must not know what the receiver
//! makes of it.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use sha2::Sha256;

use super::config::{Field, Fields, Reader, plain, secret};
use super::{Message, Notice, Outcome, SEND_TIMEOUT, Sender, format, http};
use crate::domain::{Timestamp, token};

pub const FIELDS: &[Field] = &[plain("url"), secret("secret"), secret("headers")];

const DELIVERY_HEADER: &str = "x-mkat-delivery";
const TIMESTAMP_HEADER: &str = "x-mkat-timestamp";
const SIGNATURE_HEADER: &str = "x-mkat-signature";
const MAX_HEADERS: usize = 20;

#[derive(Clone)]
pub struct Webhook {
    url: reqwest::Url,
    secret: Option<String>,
    headers: HeaderMap,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({})", self.url.host_str().unwrap_or_default())
    }
}

impl Webhook {
    pub fn parse(fields: Fields) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(fields);
        let text = reader.required("url");
        let url = match http::target(&text) {
            Ok(url) => Some(url),
            Err(problem) => {
                if !text.is_empty() {
                    reader.problem(format!("url {problem}"));
                }
                None
            }
        };
        let secret = reader.text("secret");
        let headers = headers(&mut reader);
        reader.finish(url.map(|url| Webhook { url, secret, headers }))
    }

    pub fn target(&self) -> String {
        format!("webhook:{}", self.url)
    }

    pub async fn send(&self, sender: &Sender, message: Message<'_>) -> Outcome {
        let (delivery, body) = match message {
            Message::Test => ("test".to_owned(), test_body(&sender.instance)),
            Message::Alerts([notice]) => (notice.delivery_id.to_string(), alert_body(notice, &sender.instance)),
            Message::Alerts(_) => return Outcome::refused("a webhook takes one alert at a time"),
        };
        let timestamp = (Timestamp::now().micros() / 1_000_000).to_string();
        let mut request = sender
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(DELIVERY_HEADER, delivery)
            .header(TIMESTAMP_HEADER, &timestamp);
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE_HEADER, sign(secret, &timestamp, &body));
        }
        match http::exchange(request.body(body), SEND_TIMEOUT).await {
            Ok(answer) => outcome(answer.status, answer.retry_after),
            Err(error) => error.into(),
        }
    }
}

fn headers(reader: &mut Reader) -> HeaderMap {
    let given: BTreeMap<_, _> = reader.object("headers").into_iter().collect();
    let mut headers = HeaderMap::new();
    if given.len() > MAX_HEADERS {
        reader.problem(format!("headers must not be more than {MAX_HEADERS}"));
        return headers;
    }
    for (name, value) in given {
        let header = HeaderName::from_bytes(name.as_bytes());
        let value = value.as_str().map(HeaderValue::from_str);
        match (header, value) {
            (Ok(header), _) if is_ours(&header) => reader.problem(format!("headers must not set {header}")),
            (Ok(header), Some(Ok(mut value))) => {
                value.set_sensitive(true);
                headers.insert(header, value);
            }
            _ => reader.problem("headers must be an object of header names and texts"),
        }
    }
    headers
}

fn is_ours(header: &HeaderName) -> bool {
    let fixed = ["content-type", "content-length", "host", "connection", "transfer-encoding"];
    header.as_str().starts_with("x-mkat-") || fixed.contains(&header.as_str())
}

/// `v1=` and the hex HMAC-SHA256 of `timestamp.body` under the secret.
pub fn sign(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", token::hex(&mac.finalize().into_bytes()))
}

fn alert_body(notice: &Notice, instance: &str) -> Vec<u8> {
    let body = json!({
        "event": if notice.is_recovery() { "recovery" } else { "failure" },
        "instance": instance,
        "deliveryId": notice.delivery_id,
        "possiblyRepeated": notice.possibly_repeated,
        "alert": {
            "id": notice.alert_id,
            "serviceId": notice.service_id,
            "serviceName": notice.service_name,
            "type": notice.kind,
            "severity": notice.severity,
            "message": notice.message,
            "createdAt": notice.created_at,
        },
    });
    body.to_string().into_bytes()
}

fn test_body(instance: &str) -> Vec<u8> {
    json!({ "event": "test", "instance": instance, "message": format::TEST_TEXT }).to_string().into_bytes()
}

/// Most refusals are mended on the receiver's side (a deployment, a route), so they are tried again; a document that the
/// receiver cannot accept is not, and an address that is gone disables the channel.
fn outcome(status: u16, retry_after: Option<std::time::Duration>) -> Outcome {
    let reason = format!("HTTP {status}");
    match status {
        200..=299 => Outcome::delivered(),
        300..=399 => Outcome::retry(format!("{reason}: redirects are not followed")),
        400 | 413 | 415 | 422 => Outcome::refused(reason),
        410 => Outcome::permanent(format!("{reason}: the address is gone")),
        _ => Outcome::retry_after(retry_after, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Defaults;
    use super::super::{Channel, format::tests::notice};
    use super::*;
    use crate::domain::{AlertType, ChannelType};

    fn parse(text: &str) -> Result<Channel, Vec<String>> {
        Channel::parse(ChannelType::Webhook, text, &Defaults::default())
    }

    #[test]
    fn the_signature_covers_time_and_body() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac topsecret
        let expected = "v1=9ec0a0b3a9ebf7b4b512e23475f03d264dd11ea5aec41b6acdd5fff59a6a947c";
        assert_eq!(sign("topsecret", "1700000000", b"{}"), expected);
        assert_ne!(sign("topsecret", "1700000001", b"{}"), expected);
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        assert!(
            parse(r#"{"url":"https://example.com/x","secret":"s","headers":{"Authorization":"Bearer a"}}"#).is_ok()
        );
        for text in [
            r#"{}"#,
            r#"{"url":"nowhere"}"#,
            r#"{"url":"http://169.254.169.254/"}"#,
            r#"{"url":"http://h","headers":{"Host":"x"}}"#,
            r#"{"url":"http://h","headers":{"X-Mkat-Signature":"x"}}"#,
            r#"{"url":"http://h","headers":{"a b":"x"}}"#,
            r#"{"url":"http://h","headers":{"A":5}}"#,
            r#"{"url":"http://h","headers":[]}"#,
        ] {
            let problems = parse(text).unwrap_err();
            assert!(!problems.is_empty(), "{text}");
        }
    }

    #[test]
    fn only_an_address_that_is_gone_closes_the_channel() {
        assert_eq!(outcome(204, None), Outcome::delivered());
        for status in [302, 401, 403, 404, 429, 500, 503] {
            assert!(matches!(outcome(status, None), Outcome::Retry { .. }), "{status}");
        }
        assert!(matches!(outcome(400, None), Outcome::Refused { .. }));
        assert!(matches!(outcome(410, None), Outcome::Permanent { .. }));
    }

    #[test]
    fn the_document_says_what_happened_and_names_the_delivery() {
        let body: serde_json::Value =
            serde_json::from_slice(&alert_body(&notice(AlertType::Recovery, "api", "back"), "alpha")).unwrap();
        assert_eq!(body["event"], "recovery");
        assert_eq!(body["deliveryId"], 7);
        assert_eq!(body["alert"]["type"], 1);
        assert_eq!(body["alert"]["createdAt"], "2023-11-14T22:13:20.000000Z");
    }
}
