//! What can go wrong, and which close codes allow another try. It decides nothing about timing (see `backoff`).

use crate::crypto::CryptoError;

/// Why a connection ended. `code` is the WebSocket close code: 1005 when the peer gave none, 1006 when the
/// connection broke without a close frame (or its silence made the client give it up).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseInfo {
    pub code: u16,
    pub reason: String,
}

impl CloseInfo {
    pub(crate) fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// The link broke without a close frame.
    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        Self::new(1006, reason)
    }
}

/// Reasons of a 4001 that tell of the tenant's back end being out of reach, not of a bad token.
const AUTH_UNREACHABLE: [&str; 4] =
    ["hook timeout/failure", "hook queue rejected", "auth hook circuit open", "canceled"];

impl CloseInfo {
    /// What to do after this end of a connection: as [`close_action`] says, but a token that could not be checked may be
    /// tried again.
    pub fn action(&self) -> CloseAction {
        match self.code {
            4001 if AUTH_UNREACHABLE.contains(&&*self.reason) => CloseAction::Retry,
            code => close_action(code),
        }
    }
}

/// What a client does after a close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseAction {
    /// Another try cannot help until something else changes: 1002 and 1007 (this client breaks the protocol and would
    /// be refused again), 4001 refused token, 4002 unknown tenant, 4409 replaced by a newer connection of the same
    /// device, 4410 kicked.
    Stop,
    /// Try again soon, with jitter: 1006, 1011, 4100, 4200, 4408 and every unknown code.
    Retry,
    /// Try again, but only after a long pause: 4429, a connection limit or two clients with one device id.
    RetryLater,
}

/// Tells what to do after the close code `code`, as the gateway's table of codes (`docs/errors.md`) says.
pub fn close_action(code: u16) -> CloseAction {
    match code {
        1002 | 1007 | 4001 | 4002 | 4409 | 4410 => CloseAction::Stop,
        4429 => CloseAction::RetryLater,
        _ => CloseAction::Retry,
    }
}

/// Every error of this crate. None of them contains a token or a message body.
#[derive(Debug, thiserror::Error)]
pub enum MicsError {
    #[error("invalid argument: {0}")]
    InvalidArgument(&'static str),
    #[error("invalid url: {0}")]
    InvalidUrl(String),
    #[error("token provider failed: {0}")]
    Token(String),
    /// No `connect_ack` within the connect time-out.
    #[error("connect timeout")]
    ConnectTimeout,
    /// The connection could not be opened: name, TCP, TLS or WebSocket handshake.
    #[error("connect failed: {0}")]
    Connect(String),
    /// The gateway refused the upgrade with this HTTP status (503: it is draining).
    #[error("gateway refused the upgrade with HTTP {0}")]
    HttpRefused(u16),
    /// The gateway answered with a `connect_ack` whose code is not 1000.
    #[error("gateway refused the connection with code {0}")]
    ConnectRefused(i32),
    /// The gateway closed the connection.
    #[error("connection closed: {} {}", .0.code, .0.reason)]
    Closed(CloseInfo),
    /// The client is not connected any more and stays so: `disconnect()`, a terminal close code or no reconnect.
    #[error("client is disconnected")]
    Disconnected,
    /// No outcome within `send_deadline`; the message may or may not have arrived.
    #[error("send deadline passed")]
    SendDeadline,
    /// The send queue is full (only from the `submit_*` calls, which never wait).
    #[error("send queue is full")]
    QueueFull,
    /// A message with this id is still waiting for its ack.
    #[error("message id {0} is already in flight")]
    DuplicateId(String),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl MicsError {
    /// What to do after this error ended an attempt to connect.
    pub fn action(&self) -> CloseAction {
        match self {
            Self::Closed(info) => info.action(),
            Self::ConnectRefused(code) => u16::try_from(*code).map_or(CloseAction::Retry, close_action),
            Self::InvalidArgument(_) | Self::InvalidUrl(_) | Self::Disconnected => CloseAction::Stop,
            _ => CloseAction::Retry,
        }
    }

    /// The same fact in the shape of a close: refusals keep their code, everything else counts as 1006.
    pub(crate) fn as_close(&self) -> CloseInfo {
        match self {
            Self::Closed(info) => info.clone(),
            Self::ConnectRefused(code) => CloseInfo::new(u16::try_from(*code).unwrap_or(1006), self.to_string()),
            other => CloseInfo::broken(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_say_whether_to_come_back() {
        for code in [1002, 1007, 4001, 4002, 4409, 4410] {
            assert_eq!(close_action(code), CloseAction::Stop, "{code}");
        }
        for code in [1000, 1001, 1005, 1006, 1009, 1011, 4100, 4200, 4408, 4999] {
            assert_eq!(close_action(code), CloseAction::Retry, "{code}");
        }
        assert_eq!(close_action(4429), CloseAction::RetryLater);
        assert_eq!(CloseInfo::new(4001, "auth hook circuit open").action(), CloseAction::Retry);
        assert_eq!(CloseInfo::new(4001, "bad token").action(), CloseAction::Stop);
        assert_eq!(CloseInfo::new(4409, "canceled").action(), CloseAction::Stop);
    }
}
