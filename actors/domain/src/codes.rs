//! Every code and reason that a client can see, in one table, with the rule whether it may try again.
//! `docs/errors.md` is printed from here; nothing else may invent a code.

/// Reason of a SENT ack for a repetition.
pub const DUPLICATE: &str = "duplicate";

/// Why the gateway closes a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// Answer to the client's own close, with its code.
    Echo(Option<u16>),
    ProtocolError,
    InvalidUtf8,
    InternalError,
    AuthRefused(String),
    InvalidTenant,
    HeartbeatTimeout,
    Draining,
    SlowConsumer,
    Replaced,
    Kicked,
    RateLimited,
    DuplicateDevice,
}

impl Close {
    /// WebSocket close code; `None` = a close frame without a body.
    pub fn code(&self) -> Option<u16> {
        Some(match self {
            Close::Echo(code) => return *code,
            Close::ProtocolError => 1002,
            Close::InvalidUtf8 => 1007,
            Close::InternalError => 1011,
            Close::AuthRefused(_) => 4001,
            Close::InvalidTenant => 4002,
            Close::HeartbeatTimeout => 4100,
            Close::Draining => 4200,
            Close::SlowConsumer => 4408,
            Close::Replaced => 4409,
            Close::Kicked => 4410,
            Close::RateLimited | Close::DuplicateDevice => 4429,
        })
    }

    /// Close reason, at most 123 bytes of UTF-8 (longer ones are cut between characters).
    pub fn reason(&self) -> &str {
        let text = match self {
            Close::Echo(_) => "",
            Close::ProtocolError => "protocol error",
            Close::InvalidUtf8 => "invalid utf-8",
            Close::InternalError => "internal error",
            Close::AuthRefused(reason) => reason,
            Close::InvalidTenant => "invalid tenant",
            Close::HeartbeatTimeout => "heartbeat timeout",
            Close::Draining => "server draining",
            Close::SlowConsumer => "slow consumer",
            Close::Replaced => "replaced",
            Close::Kicked => "kicked",
            Close::RateLimited => "rate limited",
            Close::DuplicateDevice => "duplicate device",
        };
        cut(text, 123)
    }
}

/// The longest prefix of `text` of at most `max` bytes that ends between characters.
pub fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Why a message is answered FAILED by the gateway itself (a hook's own reason is passed on verbatim).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    BodyTooLarge,
    MissingToUser,
    MissingGroup,
    InvalidToUser,
    InvalidGroup,
    InvalidMsgId,
    InvalidType,
    TenantQpsLimited,
    GroupEmpty,
    GroupTooLarge,
    DeliveryFailed,
    Internal,
}

impl Refusal {
    pub const ALL: [Refusal; 12] = [
        Refusal::BodyTooLarge,
        Refusal::MissingToUser,
        Refusal::MissingGroup,
        Refusal::InvalidToUser,
        Refusal::InvalidGroup,
        Refusal::InvalidMsgId,
        Refusal::InvalidType,
        Refusal::TenantQpsLimited,
        Refusal::GroupEmpty,
        Refusal::GroupTooLarge,
        Refusal::DeliveryFailed,
        Refusal::Internal,
    ];

    pub fn reason(self) -> &'static str {
        match self {
            Refusal::BodyTooLarge => "msg_body_too_large",
            Refusal::MissingToUser => "missing to_user_id",
            Refusal::MissingGroup => "missing group_id",
            Refusal::InvalidToUser => "invalid to_user_id",
            Refusal::InvalidGroup => "invalid group_id",
            Refusal::InvalidMsgId => "invalid msg_id",
            Refusal::InvalidType => "invalid msg_type",
            Refusal::TenantQpsLimited => "tenant qps limited",
            Refusal::GroupEmpty => "group members empty",
            Refusal::GroupTooLarge => "group too large",
            Refusal::DeliveryFailed => "delivery failed",
            Refusal::Internal => "internal error",
        }
    }

    /// May the client send the same message again, unchanged, and hope?
    pub fn retryable(self) -> bool {
        matches!(self, Refusal::TenantQpsLimited | Refusal::DeliveryFailed | Refusal::Internal | Refusal::GroupEmpty)
    }
}

/// Error frames: the connection stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    InvalidProtobuf,
    FrameTooLarge,
}

impl FrameError {
    pub fn code(self) -> i32 {
        match self {
            FrameError::InvalidProtobuf => 4400,
            FrameError::FrameTooLarge => 4401,
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            FrameError::InvalidProtobuf => "invalid protobuf",
            FrameError::FrameTooLarge => "frame too large",
        }
    }
}

/// One row of the table in `docs/errors.md`. `client` begins with one of three instructions: "stop", "reconnect" or
/// "reconnect after a long pause".
#[derive(Debug, Clone, Copy)]
pub struct CodeRow {
    pub code: &'static str,
    pub text: &'static str,
    pub when: &'static str,
    pub client: &'static str,
}

const fn row(code: &'static str, text: &'static str, when: &'static str, client: &'static str) -> CodeRow {
    CodeRow { code, text, when, client }
}

/// Close codes that a client can get, in order.
pub const CLOSE_CODES: &[CodeRow] = &[
    row("1002", "protocol error", "the peer broke RFC 6455", "stop; mend the client"),
    row("1007", "invalid utf-8", "a text message was not UTF-8", "stop; mend the client"),
    row(
        "1011",
        "internal error",
        "the connection's own task failed; undelivered messages are buffered",
        "reconnect, jittered",
    ),
    row(
        "4001",
        "the hook's reason or one of ours",
        "auth refused, or the auth hook failed",
        "stop; get a new token (after `hook timeout/failure`, `hook queue rejected`, `auth hook circuit open` and `canceled` the same one may be tried again)",
    ),
    row("4002", "invalid tenant", "tenantId blank or unknown, or the tenant was removed", "stop"),
    row(
        "4100",
        "heartbeat timeout",
        "no message and no ping within the tenant's heartbeat time-out",
        "reconnect, jittered",
    ),
    row("4200", "server draining", "this node is leaving", "reconnect soon, jittered"),
    row(
        "4408",
        "slow consumer",
        "more unread bytes than the outbox holds; the rest is buffered",
        "reconnect, jittered",
    ),
    row("4409", "replaced", "the same device connected again elsewhere", "stop"),
    row("4410", "kicked", "an operator or the tenant closed it", "stop"),
    row("4429", "rate limited", "connection limit of the tenant or the user", "reconnect after a long pause"),
    row(
        "4429",
        "duplicate device",
        "two clients with one device id replace each other in turn",
        "reconnect after a long pause",
    ),
];
