//! The Telegram Bot API, as far as mkat speaks it. Must not know alerts, channels or what an error means for them.

use std::time::Duration;

use reqwest::Client;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{self, HttpError};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// One bot on one server of the Bot API.
#[derive(Clone)]
pub struct BotApi {
    http: Client,
    /// Without a trailing slash.
    base: String,
    token: String,
}

impl std::fmt::Debug for BotApi {
    /// Without the secret part of the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BotApi({} at {})", bot_id(&self.token), self.base)
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq)]
pub enum BotError {
    /// The API said no.
    Api {
        code: u16,
        description: String,
        retry_after: Option<Duration>,
        migrate_to: Option<String>,
    },
    /// Something answered, but it does not speak the Bot API.
    Foreign {
        status: u16,
        retry_after: Option<Duration>,
    },
    Transport {
        reason: String,
        maybe_arrived: bool,
    },
}

impl BotError {
    pub fn code(&self) -> Option<u16> {
        match self {
            BotError::Api { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// True when the API refused with a description that contains `part` (lower case).
    pub fn says(&self, part: &str) -> bool {
        matches!(self, BotError::Api { description, .. } if description.to_lowercase().contains(part))
    }
}

impl std::fmt::Display for BotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BotError::Api { code, description, .. } => write!(f, "{code} {description}"),
            BotError::Foreign { status, .. } => write!(f, "HTTP {status}, but not from a Bot API"),
            BotError::Transport { reason, .. } => f.write_str(reason),
        }
    }
}

impl From<HttpError> for BotError {
    fn from(error: HttpError) -> Self {
        BotError::Transport { reason: error.reason, maybe_arrived: error.maybe_arrived }
    }
}

#[derive(Deserialize)]
struct Envelope {
    ok: bool,
    #[serde(default)]
    result: Value,
    error_code: Option<u16>,
    description: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize, Default)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

#[derive(Deserialize)]
struct SentMessage {
    message_id: i64,
}

/// `sendMessage`. Lengths and markup are the caller's care.
#[derive(Debug, Clone, Serialize)]
pub struct SendMessage {
    pub chat_id: String,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_thread_id: Option<i64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disable_notification: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_markup: Option<Value>,
}

/// `getUpdates`, the fields that mkat reads.
#[derive(Debug, Clone, Deserialize)]
pub struct Update {
    pub update_id: i64,
    pub message: Option<IncomingMessage>,
    pub callback_query: Option<CallbackQuery>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct IncomingMessage {
    pub message_id: i64,
    pub message_thread_id: Option<i64>,
    pub chat: Chat,
    pub from: Option<User>,
    pub text: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Chat {
    pub id: i64,
    pub username: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct User {
    pub first_name: Option<String>,
    pub username: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct CallbackQuery {
    pub id: String,
    pub from: User,
    pub message: Option<IncomingMessage>,
    pub data: Option<String>,
}

impl BotApi {
    /// `base` without a trailing slash; `token` must have been found valid by [`is_token`].
    pub fn new(http: Client, base: &str, token: &str) -> Self {
        BotApi { http, base: base.to_owned(), token: token.to_owned() }
    }

    /// The id of the new message.
    pub async fn send_message(&self, message: &SendMessage) -> Result<i64, BotError> {
        let sent: SentMessage = self.call("sendMessage", message, CALL_TIMEOUT).await?;
        Ok(sent.message_id)
    }

    /// Waits up to `wait` for updates from `offset` on.
    pub async fn updates(&self, offset: i64, wait: Duration) -> Result<Vec<Update>, BotError> {
        let body = json!({
            "offset": offset,
            "timeout": wait.as_secs(),
            "allowed_updates": ["message", "callback_query"],
        });
        // One update that cannot be read must not hide the others, nor come again for ever.
        let raw: Vec<Value> = self.call("getUpdates", &body, wait + CALL_TIMEOUT).await?;
        Ok(raw.into_iter().filter_map(readable).collect())
    }

    /// `text` is shown over the chat, at most 200 characters.
    pub async fn answer_callback(&self, id: &str, text: &str) -> Result<(), BotError> {
        let body = json!({ "callback_query_id": id, "text": text });
        self.call::<Value>("answerCallbackQuery", &body, CALL_TIMEOUT).await.map(drop)
    }

    pub async fn remove_keyboard(&self, chat: i64, message: i64) -> Result<(), BotError> {
        let body = json!({ "chat_id": chat, "message_id": message, "reply_markup": { "inline_keyboard": [] } });
        self.call::<Value>("editMessageReplyMarkup", &body, CALL_TIMEOUT).await.map(drop)
    }

    /// The bot's user name, without `@`.
    pub async fn user_name(&self) -> Result<Option<String>, BotError> {
        let me: User = self.call("getMe", &json!({}), CALL_TIMEOUT).await?;
        Ok(me.username)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        body: &impl Serialize,
        timeout: Duration,
    ) -> Result<T, BotError> {
        let request = self.http.post(format!("{}/bot{}/{method}", self.base, self.token)).json(body);
        let answer = http::exchange(request, timeout).await?;
        let foreign = BotError::Foreign { status: answer.status, retry_after: answer.retry_after };
        let Ok(envelope) = serde_json::from_slice::<Envelope>(&answer.body) else { return Err(foreign) };
        if envelope.ok {
            return serde_json::from_value(envelope.result).map_err(|_| foreign);
        }
        Err(BotError::Api {
            code: envelope.error_code.unwrap_or(answer.status),
            description: envelope.description.unwrap_or_default(),
            retry_after: envelope.parameters.retry_after.map(http::seconds).or(answer.retry_after),
            migrate_to: envelope.parameters.migrate_to_chat_id.map(|id| id.to_string()),
        })
    }
}

fn readable(raw: Value) -> Option<Update> {
    let update_id = raw.get("update_id")?.as_i64()?;
    Some(serde_json::from_value(raw).unwrap_or(Update { update_id, message: None, callback_query: None }))
}

/// `digits:text`, of characters that mean nothing in a URL.
pub fn is_token(token: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    token.split_once(':').is_some_and(|(id, secret)| {
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && !secret.is_empty() && secret.chars().all(plain)
    })
}

/// The public part of a token.
pub fn bot_id(token: &str) -> &str {
    token.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_digits_and_text() {
        for good in ["1:a", "123456:ABC-DEF_ghi", "42:test.token"] {
            assert!(is_token(good), "{good}");
        }
        for bad in ["", ":", "1:", ":a", "a:b", "1:a/b", "1:a?b", "1:a b", "1:a%2f", "12", "1:a:b"] {
            assert!(!is_token(bad), "{bad}");
        }
    }

    #[test]
    fn an_update_of_unknown_shape_keeps_its_id() {
        let update = readable(json!({ "update_id": 9, "message": { "odd": true } })).unwrap();
        assert_eq!(update.update_id, 9);
        assert!(update.message.is_none());
    }
}
