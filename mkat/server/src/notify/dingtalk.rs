//! A DingTalk group robot as a channel. Source of the signature and of the error numbers: DingTalk's page "custom robot
//! access" and what its robots answer.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::config::{Field, Fields, Reader, plain, secret};
use super::{Message, Outcome, Sender, robot};
use crate::domain::Timestamp;

pub const FIELDS: &[Field] = &[
    secret("accessToken"),
    secret("secret"),
    plain("keyword"),
    plain("atMobiles"),
    plain("atAll"),
    plain("apiBaseUrl"),
];

const API_BASE: &str = "https://oapi.dingtalk.com";
/// A robot takes 20 messages a minute and then nothing for 10 minutes.
const TOO_FAST: Duration = Duration::from_secs(60);
const MAX_TEXT_BYTES: usize = 18_000;

#[derive(Clone)]
pub struct DingTalk {
    access_token: String,
    secret: Option<String>,
    keyword: Option<String>,
    at_mobiles: Vec<String>,
    at_all: bool,
    api_base: String,
}

impl std::fmt::Debug for DingTalk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DingTalk({})", self.api_base)
    }
}

impl DingTalk {
    pub fn parse(fields: Fields) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(fields);
        let access_token = robot::key(&mut reader, "accessToken", "access_token");
        let api_base = reader.api_base(API_BASE);
        let channel = DingTalk {
            access_token,
            secret: reader.text("secret"),
            keyword: reader.text("keyword"),
            at_mobiles: reader.list("atMobiles"),
            at_all: reader.flag("atAll"),
            api_base,
        };
        reader.finish(channel)
    }

    pub fn target(&self) -> String {
        format!("dingtalk:{}", crate::domain::token::hex(&crate::domain::token::sha256(&self.access_token)))
    }

    pub async fn send(&self, sender: &Sender, message: Message<'_>) -> Outcome {
        let text = robot::text(message, MAX_TEXT_BYTES);
        // A robot that is secured by a keyword drops messages without it.
        let text = match &self.keyword {
            Some(keyword) if !text.contains(keyword) => format!("[{keyword}] {text}"),
            _ => text,
        };
        let Some(url) = self.url(Timestamp::now().micros() / 1000) else {
            return Outcome::permanent("the address is not valid");
        };
        let body = json!({
            "msgtype": "text",
            "text": { "content": text },
            "at": { "atMobiles": self.at_mobiles, "isAtAll": self.at_all },
        });
        robot::post(sender, url, &body, judge).await
    }

    /// `now_ms`: milliseconds since 1970.
    fn url(&self, now_ms: i64) -> Option<reqwest::Url> {
        let mut url = reqwest::Url::parse(&format!("{}/robot/send", self.api_base)).ok()?;
        url.query_pairs_mut().append_pair("access_token", &self.access_token);
        if let Some(secret) = &self.secret {
            let timestamp = now_ms.to_string();
            let sign = sign(secret, &timestamp);
            url.query_pairs_mut().append_pair("timestamp", &timestamp).append_pair("sign", &sign);
        }
        Some(url)
    }
}

/// Base64 of the HMAC-SHA256 of `timestamp\nsecret` under the secret; goes into the query URL-encoded.
fn sign(secret: &str, timestamp: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{timestamp}\n{secret}").as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn judge(code: i64, reason: String) -> Outcome {
    match code {
        // Busy, or too many messages.
        -1 => Outcome::retry(reason),
        130101 | 130102 | 410100 | 88 | 90018 => Outcome::retry_after(Some(TOO_FAST), reason),
        // Unknown token, robot disabled or removed, group dissolved, security settings not met.
        300001 | 300005 | 310000 | 400101 | 400102 | 400105 | 400013 | 40014 | 33012 => Outcome::permanent(reason),
        _ => Outcome::refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Channel;
    use super::super::config::Defaults;
    use super::*;
    use crate::domain::ChannelType;

    fn parse(text: &str) -> Result<DingTalk, Vec<String>> {
        match Channel::parse(ChannelType::DingTalk, text, &Defaults::default())? {
            Channel::DingTalk(channel) => Ok(channel),
            _ => unreachable!(),
        }
    }

    #[test]
    fn the_signature_follows_the_rule() {
        // printf '1700000000000\nSECabc' | openssl dgst -sha256 -hmac SECabc -binary | base64
        assert_eq!(sign("SECabc", "1700000000000"), "jcUpW0QmtKduN03n4JqQ0PBosVjqnM8gU7fIIvsDmCM=");
        let url = parse(r#"{"accessToken":"t","secret":"SECabc"}"#).unwrap().url(1_700_000_000_000).unwrap();
        let query: Vec<_> = url.query_pairs().collect();
        assert_eq!(query[1].1, "1700000000000");
        assert_eq!(query[2].1, "jcUpW0QmtKduN03n4JqQ0PBosVjqnM8gU7fIIvsDmCM=");
        assert!(!url.query().unwrap().contains('+') && url.query().unwrap().ends_with("%3D"), "{url}");
    }

    #[test]
    fn the_whole_address_may_be_pasted() {
        let channel = parse(r#"{"accessToken":"https://oapi.dingtalk.com/robot/send?access_token=abc"}"#).unwrap();
        assert_eq!(channel.access_token, "abc");
        assert_eq!(channel.url(0).unwrap().as_str(), "https://oapi.dingtalk.com/robot/send?access_token=abc");
        for text in [r#"{}"#, r#"{"accessToken":"a/b"}"#, r#"{"accessToken":"a","atAll":"x"}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        assert!(matches!(judge(310000, String::new()), Outcome::Permanent { .. }));
        assert!(matches!(judge(130101, String::new()), Outcome::Retry { after: Some(TOO_FAST), .. }));
        assert!(matches!(judge(40035, String::new()), Outcome::Refused { .. }));
    }
}
