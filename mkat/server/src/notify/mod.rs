//! How people are told: one file per kind of channel, one enum over them. Knows what is said and how a far end answers;
//! must not know the database, the outbox or HTTP handlers.

pub mod bot_api;
pub mod config;
pub mod dingtalk;
pub mod email;
pub mod format;
pub mod http;
pub mod robot;
pub mod telegram;
pub mod webhook;
pub mod wecom;

use std::time::Duration;

use crate::domain::{AlertType, ChannelType, Severity, Timestamp};

pub use config::{Defaults, MASK};

/// Longest time one message may take, from dialling to the last byte of the answer.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// One alert as it is told to one channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The outbox row: the same for every attempt, so that a receiver can recognise a repeat.
    pub delivery_id: i64,
    pub alert_id: String,
    pub service_id: String,
    pub service_name: String,
    pub kind: AlertType,
    pub severity: Severity,
    pub message: String,
    pub created_at: Timestamp,
    /// An earlier attempt may have arrived although its answer never did.
    pub possibly_repeated: bool,
}

impl Notice {
    pub fn is_recovery(&self) -> bool {
        self.kind == AlertType::Recovery
    }
}

/// What a channel is asked to say: alerts (at least one), or that it works.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    Alerts(&'a [Notice]),
    Test,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// `remote_id`: what the far end calls the message.
    Delivered { remote_id: Option<String> },
    /// Worth another try, not before `after` when the far end said so. `maybe_arrived`: the request was written, its
    /// answer never came.
    Retry { after: Option<Duration>, reason: String, maybe_arrived: bool },
    /// This message will never be taken; the channel itself works.
    Refused { reason: String },
    /// The channel will take nothing until somebody repairs it.
    Permanent { reason: String },
    /// The chat goes by another id now; the same message should be sent there.
    Moved { chat_id: String },
}

impl Outcome {
    pub fn delivered() -> Self {
        Outcome::Delivered { remote_id: None }
    }

    pub fn retry(reason: impl Into<String>) -> Self {
        Outcome::Retry { after: None, reason: reason.into(), maybe_arrived: false }
    }

    pub fn retry_after(after: Option<Duration>, reason: impl Into<String>) -> Self {
        Outcome::Retry { after, reason: reason.into(), maybe_arrived: false }
    }

    pub fn refused(reason: impl Into<String>) -> Self {
        Outcome::Refused { reason: reason.into() }
    }

    pub fn permanent(reason: impl Into<String>) -> Self {
        Outcome::Permanent { reason: reason.into() }
    }
}

impl From<http::HttpError> for Outcome {
    fn from(error: http::HttpError) -> Self {
        Outcome::Retry { after: None, maybe_arrived: error.maybe_arrived, reason: error.reason }
    }
}

/// What every sender needs besides its own configuration.
#[derive(Debug, Clone)]
pub struct Sender {
    pub http: reqwest::Client,
    /// Named in messages, so that people know which watchman speaks.
    pub instance: String,
    pub defaults: Defaults,
}

/// A channel with a configuration that was found valid.
#[derive(Debug, Clone)]
pub enum Channel {
    Telegram(telegram::Telegram),
    Email(email::Email),
    Webhook(webhook::Webhook),
    DingTalk(dingtalk::DingTalk),
    WeCom(wecom::WeCom),
}

impl Channel {
    /// Reads a stored or submitted configuration (JSON text). Errors are sentences for the operator.
    pub fn parse(kind: ChannelType, configuration: &str, defaults: &Defaults) -> Result<Self, Vec<String>> {
        let fields = config::object(configuration, Self::fields(kind))?;
        match kind {
            ChannelType::Telegram => telegram::Telegram::parse(fields, defaults).map(Channel::Telegram),
            ChannelType::Email => email::Email::parse(fields, defaults).map(Channel::Email),
            ChannelType::Webhook => webhook::Webhook::parse(fields).map(Channel::Webhook),
            ChannelType::DingTalk => dingtalk::DingTalk::parse(fields).map(Channel::DingTalk),
            ChannelType::WeCom => wecom::WeCom::parse(fields).map(Channel::WeCom),
        }
    }

    /// Names of the configuration's fields, and which of them are secrets.
    pub fn fields(kind: ChannelType) -> &'static [config::Field] {
        match kind {
            ChannelType::Telegram => telegram::FIELDS,
            ChannelType::Email => email::FIELDS,
            ChannelType::Webhook => webhook::FIELDS,
            ChannelType::DingTalk => dingtalk::FIELDS,
            ChannelType::WeCom => wecom::FIELDS,
        }
    }

    /// Two channels with the same target would tell the same people twice.
    pub fn target(&self) -> String {
        match self {
            Channel::Telegram(channel) => channel.target(),
            Channel::Email(channel) => channel.target(),
            Channel::Webhook(channel) => channel.target(),
            Channel::DingTalk(channel) => channel.target(),
            Channel::WeCom(channel) => channel.target(),
        }
    }

    /// How many alerts one message may carry.
    pub fn alerts_per_message(&self) -> usize {
        match self {
            Channel::Webhook(_) => 1,
            Channel::Telegram(_) => format::TELEGRAM_GROUP_LIMIT,
            _ => format::GROUP_LIMIT,
        }
    }

    /// How many messages may be on their way at the same time. The Bot API takes short bursts, and says when it is too much.
    pub fn messages_at_once(&self) -> usize {
        match self {
            Channel::Telegram(_) => 8,
            _ => 1,
        }
    }

    /// Sends one message, within [`SEND_TIMEOUT`].
    pub async fn send(&self, sender: &Sender, message: Message<'_>) -> Outcome {
        let sending = async {
            match self {
                Channel::Telegram(channel) => channel.send(sender, message).await,
                Channel::Email(channel) => channel.send(sender, message).await,
                Channel::Webhook(channel) => channel.send(sender, message).await,
                Channel::DingTalk(channel) => channel.send(sender, message).await,
                Channel::WeCom(channel) => channel.send(sender, message).await,
            }
        };
        match tokio::time::timeout(SEND_TIMEOUT, sending).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Retry { after: None, reason: "no answer within 10 s".into(), maybe_arrived: true },
        }
    }
}
