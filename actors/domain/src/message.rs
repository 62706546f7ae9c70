//! A chat message and its ack, as the rules see them. Must not know how they are written on any wire.

use std::sync::Arc;

use bytes::Bytes;

use crate::codes::Refusal;
use crate::ids;

/// What kind of chat a message belongs to. Unknown numbers are kept so that they can be named in a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Single,
    Group,
    Unknown(i32),
}

impl Kind {
    /// Spelling in metric labels.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Single => "SingleChat",
            Kind::Group => "GroupChat",
            Kind::Unknown(_) => "Unknown",
        }
    }
}

/// A chat message after normalisation: identity is the connection's, never the client's word.
#[derive(Debug, Clone)]
pub struct Message {
    pub tenant: Arc<str>,
    pub user: Arc<str>,
    pub device: Arc<str>,
    pub msg_id: String,
    pub kind: Kind,
    pub to_user: String,
    pub group: String,
    pub body: Bytes,
    /// Unix milliseconds; the client's, or the gateway's when the client sent 0.
    pub timestamp_ms: i64,
    /// Fields that this version does not know, as they came; passed on to recipients and events.
    pub unknown_fields: Bytes,
}

impl Message {
    /// Steps 5 and 6 of the order of checks. `max_body` 0 = no limit.
    pub fn validate(&self, max_body: usize) -> Result<(), Refusal> {
        if max_body > 0 && self.body.len() > max_body {
            return Err(Refusal::BodyTooLarge);
        }
        match self.kind {
            Kind::Single if ids::is_blank(&self.to_user) => Err(Refusal::MissingToUser),
            Kind::Single if ids::check_id(&self.to_user).is_err() => Err(Refusal::InvalidToUser),
            Kind::Group if ids::is_blank(&self.group) => Err(Refusal::MissingGroup),
            Kind::Group if ids::check_id(&self.group).is_err() => Err(Refusal::InvalidGroup),
            Kind::Unknown(_) => Err(Refusal::InvalidType),
            _ if self.msg_id.len() > ids::MAX_ID_BYTES => Err(Refusal::InvalidMsgId),
            _ => Ok(()),
        }
    }
}

/// The answer to a message. Counts are for groups only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ack {
    pub msg_id: String,
    pub sent: bool,
    /// Empty on plain success.
    pub reason: String,
    pub notified: u32,
    pub buffered: u32,
    pub skipped: u32,
    /// Not all members could be learned; `reason` tells why. What is missing is in no count.
    pub cut_short: bool,
}

impl Ack {
    pub fn sent(msg_id: impl Into<String>) -> Self {
        Ack { msg_id: msg_id.into(), sent: true, ..Ack::default() }
    }

    pub fn failed(msg_id: impl Into<String>, reason: impl Into<String>) -> Self {
        Ack { msg_id: msg_id.into(), sent: false, reason: reason.into(), ..Ack::default() }
    }

    /// Answer to a repetition of a message that was sent before.
    pub fn duplicate(msg_id: impl Into<String>) -> Self {
        Ack { msg_id: msg_id.into(), sent: true, reason: crate::codes::DUPLICATE.into(), ..Ack::default() }
    }
}
