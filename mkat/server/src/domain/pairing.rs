//! The pairing token: what an operator carries from one instance to another.

use super::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// How long a pairing token is good for, in seconds.
pub const LIFETIME: i64 = 600;
/// Longest address of an instance, in characters.
pub const URL_MAX: usize = 500;
/// Longest name of an instance, in characters.
pub const NAME_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairingToken {
    /// Address of the instance that made it, with base path and without trailing slash.
    pub url: String,
    pub name: String,
    /// 64 lower-case hex digits.
    pub secret: String,
    pub expires_at: Timestamp,
}

impl PairingToken {
    /// Base64 of a JSON object.
    pub fn encode(&self) -> String {
        let Self { url, name, secret, expires_at } = self;
        STANDARD.encode(json!({"url": url, "name": name, "secret": secret, "expiresAt": expires_at}).to_string())
    }

    /// None for anything that no instance would have made.
    pub fn decode(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_slice(&STANDARD.decode(text.trim()).ok()?).ok()?;
        let field = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let token = Self {
            url: field("url")?.trim_end_matches('/').to_owned(),
            name: field("name")?,
            secret: field("secret")?,
            expires_at: Timestamp::parse(&field("expiresAt")?)?,
        };
        let (url, name) = (token.url.chars().count(), token.name.chars().count());
        let fine = url <= URL_MAX && name <= NAME_MAX && !token.name.trim().is_empty() && is_secret(&token.secret);
        fine.then_some(token)
    }
}

fn is_secret(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a text may be a token of a foreign instance: it becomes part of an address.
pub fn is_token(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: &Value) -> String {
        STANDARD.encode(value.to_string())
    }

    #[test]
    fn a_token_survives_the_way() {
        let token = PairingToken {
            url: "http://a:8080/mkat".into(),
            name: "Älpha".into(),
            secret: super::super::token::new_secret(),
            expires_at: Timestamp::parse("2026-11-20T17:18:47.523799Z").unwrap(),
        };
        assert_eq!(PairingToken::decode(&format!(" {}\n", token.encode())), Some(token));
    }

    #[test]
    fn the_expiry_is_utc_whatever_its_spelling() {
        let with = |at: &str| {
            let secret = "a".repeat(64);
            PairingToken::decode(&encoded(&json!({"expiresAt": at, "secret": secret, "url": "http://a/", "name": "A"})))
        };
        let noon = Timestamp::parse("2026-11-20T12:00:00Z").unwrap();
        for at in ["2026-11-20T12:00:00.0000000Z", "2026-11-20T07:00:00-05:00", "2026-11-20T12:00:00"] {
            let token = with(at).unwrap();
            assert_eq!((token.expires_at, token.url.as_str()), (noon, "http://a"), "{at}");
        }
        assert_eq!(with("soon"), None);
    }

    #[test]
    fn what_no_instance_would_have_made_is_refused() {
        let good =
            json!({"url": "http://a", "name": "A", "secret": "a".repeat(64), "expiresAt": "2026-11-20T12:00:00Z"});
        assert!(PairingToken::decode(&encoded(&good)).is_some());
        for field in ["url", "name", "secret", "expiresAt"] {
            for wrong in [Value::Null, json!(7), json!("")] {
                let mut token = good.clone();
                token[field] = wrong;
                let fine = PairingToken::decode(&encoded(&token)).is_some();
                assert_eq!(fine, field == "url" && token["url"] == "", "{field}: the address is checked by the caller");
            }
        }
        for text in ["", "%%%", "aGVsbG8=", "W10=", "bnVsbA=="] {
            assert_eq!(PairingToken::decode(text), None, "{text}");
        }
        assert!(is_token("0af-_Z") && !is_token("") && !is_token("a/b") && !is_token("a?b") && !is_token(".."));
    }
}
