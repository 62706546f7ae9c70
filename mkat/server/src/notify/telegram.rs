//! Telegram as a channel: its configuration, its buttons, and what the Bot API's answers mean for a message. Must not
//! know polling or commands.

use serde_json::{Value, json};

use super::bot_api::{self, BotApi, BotError, SendMessage};
use super::config::{Defaults, Field, Fields, Reader, plain, secret};
use super::{Message, Notice, Outcome, Sender, format};

pub const FIELDS: &[Field] =
    &[secret("botToken"), plain("chatId"), plain("messageThreadId"), plain("silent"), plain("apiBaseUrl")];

/// Minutes of the mute buttons and their labels.
const MUTES: [(u32, &str); 3] = [(15, "15m"), (60, "1h"), (1440, "24h")];

/// Refusals that no later message will escape.
const CLOSED_CHAT: [&str; 9] = [
    "chat not found",
    "chat_id is empty",
    "user not found",
    "peer_id_invalid",
    "rights to send",
    "administrator rights",
    "chat_write_forbidden",
    "was deactivated",
    "was deleted",
];

#[derive(Clone)]
pub struct Telegram {
    pub token: String,
    /// A number, or `@name` of a public channel.
    pub chat_id: String,
    pub thread_id: Option<i64>,
    pub silent: bool,
    /// Without a trailing slash.
    pub api_base: String,
}

impl std::fmt::Debug for Telegram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Telegram(bot {}, chat {})", bot_api::bot_id(&self.token), self.chat_id)
    }
}

impl Telegram {
    pub fn parse(fields: Fields, defaults: &Defaults) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(fields);
        let token = reader.required("botToken");
        if !token.is_empty() && !bot_api::is_token(&token) {
            reader.problem("botToken must look like 123456:ABC-def");
        }
        let chat_id = reader.required("chatId");
        if !chat_id.is_empty() && !is_chat(&chat_id) {
            reader.problem("chatId must be a number or @name");
        }
        let api_base = reader.api_base(&defaults.telegram_api_url);
        let channel = Telegram {
            token,
            chat_id,
            thread_id: reader.integer("messageThreadId", 1..=i64::MAX),
            silent: reader.flag("silent"),
            api_base,
        };
        reader.finish(channel)
    }

    pub fn target(&self) -> String {
        format!("telegram:{}:{}", self.chat_id.to_lowercase(), self.thread_id.unwrap_or_default())
    }

    pub fn api(&self, http: &reqwest::Client) -> BotApi {
        BotApi::new(http.clone(), &self.api_base, &self.token)
    }

    /// True when `chat` is the chat of this channel.
    pub fn is_chat(&self, chat: &bot_api::Chat) -> bool {
        match self.chat_id.strip_prefix('@') {
            Some(name) => chat.username.as_deref().is_some_and(|chat| chat.eq_ignore_ascii_case(name)),
            None => self.chat_id == chat.id.to_string(),
        }
    }

    pub async fn send(&self, sender: &Sender, message: Message<'_>) -> Outcome {
        let (html, keyboard) = match message {
            Message::Test => (format::TEST_TEXT.to_owned(), None),
            Message::Alerts(notices) => (format::telegram_html(notices), keyboard(notices)),
        };
        let api = self.api(&sender.http);
        let mut request = SendMessage {
            chat_id: self.chat_id.clone(),
            text: html,
            parse_mode: Some("HTML"),
            message_thread_id: self.thread_id,
            disable_notification: self.silent,
            reply_markup: keyboard,
        };
        let mut result = api.send_message(&request).await;
        // Somebody closed the thread: the chat is better than nobody.
        if result.as_ref().is_err_and(|error| error.says("message thread not found")) {
            request.message_thread_id = None;
            result = api.send_message(&request).await;
        }
        // Better without bold letters than not at all.
        if result.as_ref().is_err_and(|error| error.says("can't parse entities")) {
            request.parse_mode = None;
            if let Message::Alerts(notices) = message {
                request.text = format::plain_text(notices, 4000);
            }
            result = api.send_message(&request).await;
        }
        result.map_or_else(outcome, |id| Outcome::Delivered { remote_id: Some(id.to_string()) })
    }
}

fn is_chat(text: &str) -> bool {
    match text.strip_prefix('@') {
        Some(name) => !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
        None => text.parse::<i64>().is_ok(),
    }
}

fn outcome(error: BotError) -> Outcome {
    let reason = error.to_string();
    match error {
        BotError::Transport { reason, maybe_arrived } => Outcome::Retry { after: None, reason, maybe_arrived },
        BotError::Foreign { retry_after, .. } => Outcome::retry_after(retry_after, reason),
        BotError::Api { migrate_to: Some(chat_id), .. } => Outcome::Moved { chat_id },
        BotError::Api { code: 429, retry_after, .. } => Outcome::retry_after(retry_after, reason),
        BotError::Api { code: 401 | 403 | 404, .. } => Outcome::permanent(reason),
        BotError::Api { code: 400, .. } if CLOSED_CHAT.iter().any(|part| error.says(part)) => {
            Outcome::permanent(reason)
        }
        BotError::Api { code: 400..=499, .. } => Outcome::refused(reason),
        BotError::Api { .. } => Outcome::retry(reason),
    }
}

/// Acknowledge (not for recoveries), and mute when it is about one service.
fn keyboard(notices: &[Notice]) -> Option<Value> {
    let rows = match notices {
        [notice] => {
            let mutes = MUTES.map(|(minutes, label)| {
                button(&format!("Mute {label}"), format!("mute:{}:{minutes}", notice.service_id))
            });
            let acknowledge = [button("Acknowledge", format!("ack:{}", notice.alert_id))];
            if notice.is_recovery() { json!([mutes]) } else { json!([acknowledge, mutes]) }
        }
        // The update names the message, and the outbox knows its alerts.
        _ if notices.iter().any(|notice| !notice.is_recovery()) => {
            json!([[button("Acknowledge all", "ackall".into())]])
        }
        _ => return None,
    };
    Some(json!({ "inline_keyboard": rows }))
}

fn button(text: &str, data: String) -> Value {
    json!({ "text": text, "callback_data": data })
}

#[cfg(test)]
mod tests {
    use super::super::format::tests::notice;
    use super::super::{Channel, http};
    use super::*;
    use crate::domain::{AlertType, ChannelType};

    fn parse(text: &str) -> Result<Telegram, Vec<String>> {
        match Channel::parse(ChannelType::Telegram, text, &Defaults::default())? {
            Channel::Telegram(channel) => Ok(channel),
            _ => unreachable!(),
        }
    }

    fn api_error(code: u16, description: &str) -> BotError {
        BotError::Api { code, description: description.into(), retry_after: None, migrate_to: None }
    }

    #[test]
    fn both_spellings_and_numeric_chats_are_taken() {
        for text in [
            r#"{"botToken":"1:a","chatId":"-100"}"#,
            r#"{"BotToken":"1:a","ChatId":"-100"}"#,
            r#"{"botToken":" 1:a ","chatId":-100,"messageThreadId":3,"silent":true}"#,
        ] {
            let channel = parse(text).unwrap();
            assert_eq!((channel.token.as_str(), channel.chat_id.as_str()), ("1:a", "-100"));
            assert_eq!(channel.api_base, "https://api.telegram.org");
        }
        assert_eq!(
            parse(r#"{"botToken":"1:a","chatId":"1","apiBaseUrl":"http://h:1/"}"#).unwrap().api_base,
            "http://h:1"
        );
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        for text in [
            r#"{}"#,
            r#"{"botToken":"1:a"}"#,
            r#"{"botToken":"nonsense","chatId":"1"}"#,
            r#"{"botToken":"1:a","chatId":"somebody"}"#,
            r#"{"botToken":"1:a","chatId":true}"#,
            r#"{"botToken":"1:a","chatId":"1","messageThreadId":0}"#,
            r#"{"botToken":"1:a","chatId":"1","silent":"yes"}"#,
            r#"{"botToken":"1:a","chatId":"1","apiBaseUrl":"ftp://x"}"#,
            r#"{"botToken":"1:a\n","chatId":"1\u0000"}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let permanent = [(401, "Unauthorized"), (403, "Forbidden: bot was blocked by the user"), (404, "Not Found")];
        for (code, text) in permanent.into_iter().chain([(400, "Bad Request: chat not found")]) {
            assert!(matches!(outcome(api_error(code, text)), Outcome::Permanent { .. }), "{text}");
        }
        assert!(matches!(outcome(api_error(400, "Bad Request: message is too long")), Outcome::Refused { .. }));
        assert!(matches!(outcome(api_error(502, "Bad Gateway")), Outcome::Retry { .. }));
        let limited = BotError::Api {
            code: 429,
            description: "Too Many Requests".into(),
            retry_after: Some(http::seconds(7)),
            migrate_to: None,
        };
        assert!(matches!(outcome(limited), Outcome::Retry { after: Some(after), .. } if after == http::seconds(7)));
        let moved = BotError::Api {
            code: 400,
            description: "Bad Request: group chat was upgraded to a supergroup chat".into(),
            retry_after: None,
            migrate_to: Some("-1001".into()),
        };
        assert_eq!(outcome(moved), Outcome::Moved { chat_id: "-1001".into() });
    }

    #[test]
    fn buttons_fit_and_a_recovery_has_no_acknowledge() {
        let failure = keyboard(&[notice(AlertType::Failure, "a", "b")]).unwrap().to_string();
        assert!(failure.contains("ack:0190f3a4-0000-7000-8000-000000000001"));
        assert!(failure.contains("mute:0190f3a4-0000-7000-8000-000000000002:1440"));
        let recovery = keyboard(&[notice(AlertType::Recovery, "a", "b")]).unwrap().to_string();
        assert!(!recovery.contains("ack:") && recovery.contains("mute:"));
    }
}
