//! The one form of errors: `{"error": text, "code": CODE, "details": null | {key: [text, ...]}}`.

use crate::error::{Code, Error};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let (message, details) = match self {
            Self::Refused { message, details, .. } => (message.clone(), details.clone()),
            Self::Overloaded | Self::Closed => ("too busy, try again".to_owned(), None),
            Self::Database(_) | Self::Internal(_) => {
                tracing::error!(error = %self, "request failed");
                ("something went wrong here, see the log".to_owned(), None)
            }
        };
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self.code(), Code::Overloaded) {
            response.insert_header(("Retry-After", "1"));
        }
        let mut body = json!({"error": message, "code": self.code().text(), "details": details});
        // Clients of the older form of contact errors look for a flat list.
        if let Some(details) = details {
            body["errors"] = details.into_values().flatten().collect();
        }
        response.json(body)
    }
}
