//! What the group robots of DingTalk and WeCom have in common: a JSON post, and an answer whose `errcode` is the verdict.
//! Must not know either's numbers.

use serde::Deserialize;
use serde_json::Value;

use super::http::{self, Answer};
use super::{Outcome, SEND_TIMEOUT, Sender};

/// The answer of both robots.
#[derive(Debug, Deserialize)]
struct Verdict {
    errcode: i64,
    #[serde(default)]
    errmsg: String,
}

/// Posts `body`; `judge` says what an `errcode` other than 0 means. It gets the code and a reason that is fit to show.
pub async fn post(
    sender: &Sender,
    url: reqwest::Url,
    body: &Value,
    judge: impl FnOnce(i64, String) -> Outcome,
) -> Outcome {
    match http::exchange(sender.http.post(url).json(body), SEND_TIMEOUT).await {
        Ok(answer) => verdict(&answer, judge),
        Err(error) => error.into(),
    }
}

fn verdict(answer: &Answer, judge: impl FnOnce(i64, String) -> Outcome) -> Outcome {
    match serde_json::from_slice::<Verdict>(&answer.body) {
        Ok(Verdict { errcode: 0, .. }) if (200..300).contains(&answer.status) => Outcome::delivered(),
        Ok(verdict) if verdict.errcode != 0 => {
            let reason = format!("{} {}", verdict.errcode, super::config::shorten(&verdict.errmsg, 200));
            judge(verdict.errcode, reason)
        }
        _ => Outcome::retry_after(answer.retry_after, format!("HTTP {}, but not from a robot", answer.status)),
    }
}

/// The query parameter `name` of the address that an operator copied from the robot's page.
pub fn key_of(address: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(address).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Outcome {
        let answer = Answer { status, retry_after: None, body: body.as_bytes().to_vec() };
        verdict(&answer, |_, reason| Outcome::refused(reason))
    }

    #[test]
    fn the_errcode_decides() {
        assert_eq!(judged(200, r#"{"errcode":0,"errmsg":"ok"}"#), Outcome::delivered());
        assert_eq!(
            judged(200, r#"{"errcode":310000,"errmsg":"sign not match"}"#),
            Outcome::refused("310000 sign not match")
        );
        for (status, body) in [(502, "<html>"), (200, ""), (200, "{}"), (500, r#"{"errcode":0}"#)] {
            assert!(matches!(judged(status, body), Outcome::Retry { .. }), "{status} {body}");
        }
    }
}
