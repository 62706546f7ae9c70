//! What the group robots of DingTalk and WeCom have in common: a key, a text, a JSON post, and an answer whose `errcode` is
//! the verdict. Must not know either's numbers.

use serde::Deserialize;
use serde_json::Value;

use super::config::{Reader, shorten};
use super::http::{self, Answer};
use super::{Message, Outcome, SEND_TIMEOUT, Sender, format};

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
        Ok(Verdict { errcode: 0, .. }) if answer.is_success() => Outcome::delivered(),
        Ok(verdict) if verdict.errcode != 0 => {
            let reason = format!("{} {}", verdict.errcode, shorten(&verdict.errmsg, 200));
            judge(verdict.errcode, reason)
        }
        _ => Outcome::retry_after(answer.retry_after, format!("HTTP {}, but not from a robot", answer.status)),
    }
}

/// What a robot is asked to say.
pub fn text(message: Message<'_>, max_bytes: usize) -> String {
    match message {
        Message::Test => format::TEST_TEXT.to_owned(),
        Message::Alerts(notices) => format::plain_text(notices, max_bytes),
    }
}

/// The required field `name`, the robot's key. Operators paste the whole address of the robot, whose query has the key as
/// `parameter`.
pub fn key(reader: &mut Reader, name: &str, parameter: &str) -> String {
    let given = reader.required(name);
    let key = key_of(&given, parameter).unwrap_or(given);
    if key.contains(['/', '?', '&', ' ']) {
        reader.problem(format!("{name} must be the {parameter} of the robot's address"));
    }
    key
}

fn key_of(address: &str, parameter: &str) -> Option<String> {
    let url = reqwest::Url::parse(address).ok()?;
    url.query_pairs().find(|(key, _)| key == parameter).map(|(_, value)| value.into_owned())
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
