//! A WeCom (WeChat Work) group robot as a channel. Source of limits and error numbers: WeCom's page "group robot" and its
//! table of global error codes.

use std::time::Duration;

use serde_json::json;

use super::config::{Field, Fields, Reader, plain, secret};
use super::{Message, Outcome, Sender, robot};
use crate::domain::token;

pub const FIELDS: &[Field] = &[secret("key"), plain("mentionedList"), plain("mentionedMobiles"), plain("apiBaseUrl")];

const API_BASE: &str = "https://qyapi.weixin.qq.com";
/// A robot takes 20 messages a minute.
const TOO_FAST: Duration = Duration::from_secs(60);
const MAX_TEXT_BYTES: usize = 2048;

#[derive(Clone)]
pub struct WeCom {
    key: String,
    mentioned: Vec<String>,
    mentioned_mobiles: Vec<String>,
    api_base: String,
}

impl std::fmt::Debug for WeCom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WeCom({})", self.api_base)
    }
}

impl WeCom {
    pub fn parse(fields: Fields) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(fields);
        let key = robot::key(&mut reader, "key", "key");
        let api_base = reader.api_base(API_BASE);
        let channel = WeCom {
            key,
            mentioned: reader.list("mentionedList"),
            mentioned_mobiles: reader.list("mentionedMobiles"),
            api_base,
        };
        reader.finish(channel)
    }

    pub fn target(&self) -> String {
        format!("wecom:{}", token::hex(&token::sha256(&self.key)))
    }

    pub async fn send(&self, sender: &Sender, message: Message<'_>) -> Outcome {
        let text = robot::text(message, MAX_TEXT_BYTES);
        let Ok(mut url) = reqwest::Url::parse(&format!("{}/cgi-bin/webhook/send", self.api_base)) else {
            return Outcome::permanent("the address is not valid");
        };
        url.query_pairs_mut().append_pair("key", &self.key);
        let body = json!({
            "msgtype": "text",
            "text": {
                "content": text,
                "mentioned_list": self.mentioned,
                "mentioned_mobile_list": self.mentioned_mobiles,
            },
        });
        robot::post(sender, url, &body, judge).await
    }
}

fn judge(code: i64, reason: String) -> Outcome {
    match code {
        -1 => Outcome::retry(reason),
        45009 | 45033 => Outcome::retry_after(Some(TOO_FAST), reason),
        // Unknown key, robot removed, not allowed from this address.
        93000 | 93004 | 93008 | 93017 | 60020 => Outcome::permanent(reason),
        _ => Outcome::refused(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Channel;
    use super::super::config::Defaults;
    use super::*;
    use crate::domain::ChannelType;

    fn parse(text: &str) -> Result<WeCom, Vec<String>> {
        match Channel::parse(ChannelType::WeCom, text, &Defaults::default())? {
            Channel::WeCom(channel) => Ok(channel),
            _ => unreachable!(),
        }
    }

    #[test]
    fn the_whole_address_may_be_pasted() {
        let pasted = parse(r#"{"key":"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=a-b"}"#).unwrap();
        assert_eq!(pasted.key, "a-b");
        assert_eq!(pasted.target(), parse(r#"{"key":"a-b"}"#).unwrap().target());
        assert!(parse(r#"{"key":"a/b"}"#).is_err());
    }

    #[test]
    fn refusals_are_told_apart() {
        assert!(matches!(judge(93000, String::new()), Outcome::Permanent { .. }));
        assert!(matches!(judge(45009, String::new()), Outcome::Retry { after: Some(TOO_FAST), .. }));
        assert!(matches!(judge(40058, String::new()), Outcome::Refused { .. }));
    }
}
