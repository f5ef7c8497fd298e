//! The body of an answer that is an error.

use axum::response::{IntoResponse, Json, Response};
use http::StatusCode;
use serde_json::json;

/// An error that a handler answers with: `{"error":{"code":…,"message":…}}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// For programs: a word that stays.
    pub code: &'static str,
    /// For people: a sentence that says what to do.
    pub message: String,
}

impl Problem {
    /// A problem with this status, code and message.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, Json(body)).into_response();
        // For who keeps a record of what became of requests.
        response.extensions_mut().insert(self);
        response
    }
}
