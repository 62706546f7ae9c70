//! One error for the whole program and the table of codes that clients see.

use std::collections::BTreeMap;

/// Declares the codes with the HTTP status each one travels with.
macro_rules! codes {
    ($($variant:ident = $text:literal, $status:literal;)+) => {
        /// Codes of the error form `{"error", "code", "details"}`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($variant),+ }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            pub const fn text(self) -> &'static str { match self { $(Self::$variant => $text),+ } }
            pub const fn status(self) -> u16 { match self { $(Self::$variant => $status),+ } }
        }
    };
}

codes! {
    Validation = "VALIDATION_ERROR", 400;
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415;
    BodyTooLarge = "BODY_TOO_LARGE", 413;
    Unauthorized = "UNAUTHORIZED", 401;
    CsrfHeaderMissing = "CSRF_HEADER_MISSING", 403;
    NotFound = "NOT_FOUND", 404;
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405;
    RateLimited = "RATE_LIMITED", 429;
    Overloaded = "OVERLOADED", 503;
    NotReady = "NOT_READY", 503;
    Internal = "INTERNAL_ERROR", 500;
    ServiceNotFound = "SERVICE_NOT_FOUND", 404;
    ServiceNameTaken = "SERVICE_NAME_TAKEN", 409;
    ServiceNotPaused = "SERVICE_NOT_PAUSED", 400;
    ServiceManaged = "SERVICE_MANAGED", 409;
    MonitorNotFound = "MONITOR_NOT_FOUND", 404;
    LastMonitor = "LAST_MONITOR", 400;
    InvalidMonitorType = "INVALID_MONITOR_TYPE", 400;
    TokenNotFound = "TOKEN_NOT_FOUND", 404;
    AlertNotFound = "ALERT_NOT_FOUND", 404;
    AlreadyAcknowledged = "ALREADY_ACKNOWLEDGED", 400;
    ContactNotFound = "CONTACT_NOT_FOUND", 404;
    DefaultContact = "DEFAULT_CONTACT", 400;
    OnlyContact = "ONLY_CONTACT", 400;
    ChannelNotFound = "CHANNEL_NOT_FOUND", 404;
    ChannelManaged = "CHANNEL_MANAGED", 409;
    PeerNotFound = "PEER_NOT_FOUND", 404;
    PeerExists = "PEER_EXISTS", 409;
    InvalidSecret = "INVALID_SECRET", 401;
    InvalidToken = "INVALID_TOKEN", 400;
    TokenExpired = "TOKEN_EXPIRED", 400;
    RemoteRejected = "REMOTE_REJECTED", 400;
    RemoteUnreachable = "REMOTE_UNREACHABLE", 400;
    RemoteInvalidResponse = "REMOTE_INVALID_RESPONSE", 400;
    ReceiverNotFound = "RECEIVER_NOT_FOUND", 404;
    ReceiverNameTaken = "RECEIVER_NAME_TAKEN", 409;
    SelfDependency = "SELF_DEPENDENCY", 400;
    DependencyExists = "DEPENDENCY_EXISTS", 409;
    DependencyCycle = "DEPENDENCY_CYCLE", 400;
    DependencyNotFound = "DEPENDENCY_NOT_FOUND", 404;
}

/// What is wrong with a request, by field: PascalCase keys with indexes, `""` for rules across fields.
pub type Details = BTreeMap<String, Vec<String>>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be done; the caller is told why.
    #[error("{message}")]
    Refused { code: Code, message: String, details: Option<Details> },
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("the writer's queue is full")]
    Overloaded,
    #[error("the store is closed")]
    Closed,
    #[error("{0}")]
    Internal(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn refused(code: Code, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into(), details: None }
    }

    pub fn invalid(details: Details) -> Self {
        Self::Refused { code: Code::Validation, message: "the request is not valid".into(), details: Some(details) }
    }

    /// A single wrong field.
    pub fn invalid_field(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(Details::from([(key.into(), vec![message.into()])]))
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::Internal(message.to_string())
    }

    /// The code that the caller sees.
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused { code, .. } => *code,
            Self::Overloaded | Self::Closed => Code::Overloaded,
            Self::Database(_) | Self::Internal(_) => Code::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_text() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|code| code.text()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }
}
