//! What a tenant is told afterwards through its event topic.

use std::sync::Arc;

use bytes::Bytes;

use crate::tenant::Secret;
use crate::trace::TraceParent;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    ConnectOnline,
    ConnectOffline,
    SingleChatMsg,
    GroupChatMsg,
    OfflineMessage,
}

impl EventType {
    /// Spelling in metric labels.
    pub fn label(self) -> &'static str {
        match self {
            EventType::ConnectOnline => "ConnectOnline",
            EventType::ConnectOffline => "ConnectOffline",
            EventType::SingleChatMsg => "SingleChatMsg",
            EventType::GroupChatMsg => "GroupChatMsg",
            EventType::OfflineMessage => "OfflineMessage",
        }
    }

    /// Number on the wire.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// One event. `data` is a ready protobuf: a ConnectAck or a MessageRequest.
#[derive(Debug, Clone)]
pub struct Event {
    pub tenant: Arc<str>,
    pub kind: EventType,
    pub msg_id: String,
    /// The actor (sender or the connection's user); also the partition key.
    pub user: Arc<str>,
    pub device: Arc<str>,
    pub to_user: String,
    pub group: String,
    pub data: Bytes,
    /// Unix milliseconds, gateway clock.
    pub at_ms: i64,
    pub trace_id: String,
    /// Key of the signature; blank = unsigned.
    pub secret: Secret,
    pub trace: Option<TraceParent>,
}
