//! Every way in which the admin API says no, in one table: code, status, when. `docs/errors.md` is printed from here.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::{Value, json};

/// What kind of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BadRequest,
    InvalidId,
    Unauthorized,
    StaleSignature,
    RepeatedRequest,
    Forbidden,
    NotFound,
    UnknownTenant,
    MethodNotAllowed,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidConfiguration,
    TooManyRequests,
    Draining,
    TooManyStreams,
    Internal,
}

/// Code, its name, HTTP status, when it comes.
pub const CODES: &[(Code, &str, u16, &str)] = &[
    (Code::BadRequest, "bad_request", 400, "the body or a parameter can't be used; the message says which"),
    (Code::InvalidId, "invalid_id", 400, "a tenant, user, device or group id in the path or the body can't be one"),
    (Code::Unauthorized, "unauthorized", 401, "no token, a wrong token, or a signature that does not verify"),
    (Code::StaleSignature, "stale_signature", 401, "a signed request is more than 60 s old, or of the future"),
    (Code::RepeatedRequest, "repeated_request", 401, "a signed request with this nonce was here before"),
    (
        Code::Forbidden,
        "forbidden",
        403,
        "the caller is known and may not do this: another tenant's, or the operator's alone",
    ),
    (Code::NotFound, "not_found", 404, "no such path"),
    (Code::UnknownTenant, "unknown_tenant", 404, "this node serves no tenant of that id"),
    (Code::MethodNotAllowed, "method_not_allowed", 405, "another method is meant; `allow` names it"),
    (Code::BodyTooLarge, "body_too_large", 413, "the body is larger than the call takes, or took longer than 10 s"),
    (Code::UnsupportedMediaType, "unsupported_media_type", 415, "a body that is not application/json"),
    (
        Code::InvalidConfiguration,
        "invalid_configuration",
        422,
        "a reload found mistakes, all of them in `details`; nothing was changed",
    ),
    (
        Code::TooManyRequests,
        "too_many_requests",
        429,
        "more signed requests of the tenant in two minutes than the node remembers (20 000)",
    ),
    (Code::Draining, "draining", 503, "this node is leaving and takes no message; ask another"),
    (Code::TooManyStreams, "too_many_streams", 503, "16 live streams are open on this node"),
    (Code::Internal, "internal_error", 500, "a mistake of the gateway"),
];

impl Code {
    fn row(self) -> (&'static str, StatusCode) {
        let row = CODES.iter().find(|row| row.0 == self);
        let (name, status) = row.map_or(("internal_error", 500), |row| (row.1, row.2));
        (name, StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }

    pub fn name(self) -> &'static str {
        self.row().0
    }
}

/// A no, with words for the one who asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    pub code: Code,
    pub message: String,
    /// One entry per mistake, where there may be several.
    pub details: Vec<Value>,
    /// Of `method_not_allowed`.
    pub allow: Option<&'static str>,
}

impl Problem {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Problem { code, message: message.into(), details: Vec::new(), allow: None }
    }

    pub fn response(&self) -> HttpResponse {
        let (name, status) = self.code.row();
        let mut response = HttpResponseBuilder::new(status);
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        let mut error = json!({ "code": name, "message": self.message });
        if !self.details.is_empty() {
            error["details"] = self.details.clone().into();
        }
        response.json(json!({ "error": error }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_one_row() {
        let names: BTreeSet<&str> = CODES.iter().map(|row| row.1).collect();
        assert_eq!(names.len(), CODES.len());
        assert_eq!(Problem::new(Code::Draining, "x").response().status(), 503);
        assert_eq!(Code::RepeatedRequest.name(), "repeated_request");
    }
}
