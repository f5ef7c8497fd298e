//! What a plugin does with a request: lets it pass, or answers it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use ops::error_kind::ErrorKind;
use protocol::request::TraceContext;

use crate::error::{Answer, Failure, answer_to};
use crate::grpc::GrpcStatus;
use crate::page::{X_TUNNEL_ERROR, page};

/// What becomes of a request.
#[derive(Debug)]
pub enum Flow {
    /// It goes on, as it is now.
    Pass,
    /// It goes no further: this is the answer.
    Answer(Box<Reply>),
}

/// An answer that a plugin gives.
#[derive(Debug)]
pub struct Reply {
    content: Content,
    /// Fields besides those that describe the content.
    pub headers: HeaderMap,
}

#[derive(Debug)]
enum Content {
    Page(Failure),
    Given { status: StatusCode, body: Bytes },
}

impl Reply {
    /// An answer with a body of the plugin's own. 401, 403 and 429 count as denied or over a limit.
    #[must_use]
    pub const fn given(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { content: Content::Given { status, body }, headers }
    }

    /// The tunnel's page with this status and sentence, kind `denied`.
    #[must_use]
    pub fn denied(status: StatusCode, sentence: &'static str) -> Self {
        let usual = answer_to(ErrorKind::Denied);
        let unknown = status == StatusCode::UNAUTHORIZED;
        let grpc = if unknown { GrpcStatus::UNAUTHENTICATED } else { usual.grpc };
        Self::of(Failure {
            kind: ErrorKind::Denied,
            answer: Answer { status, grpc, retry_after: None, sentence },
        })
    }

    /// The tunnel's page with this status and sentence, kind `over-limit`; trying again is of use after `retry_after`.
    #[must_use]
    pub fn over_limit(status: StatusCode, sentence: &'static str, retry_after: Duration) -> Self {
        let retry_after = Some(retry_after.max(Duration::from_secs(1)));
        let answer = Answer { status, retry_after, sentence, ..answer_to(ErrorKind::OverLimit) };
        Self::of(Failure { kind: ErrorKind::OverLimit, answer })
    }

    /// The plugin `failed`, and the request must not go on without it.
    pub(super) fn broken() -> Self {
        let sentence = "A check that this request has to pass could not be made.";
        let answer = Answer { sentence, ..answer_to(ErrorKind::Internal) };
        Self::of(Failure { kind: ErrorKind::Internal, answer })
    }

    /// What the request would have to pass is not there, and that is for the operator to mend.
    pub(super) fn lacking() -> Self {
        let sentence = "A check that this request has to pass is out of order.";
        let (status, grpc) = (StatusCode::SERVICE_UNAVAILABLE, GrpcStatus::UNAVAILABLE);
        let answer = Answer { status, grpc, sentence, ..answer_to(ErrorKind::Internal) };
        Self::of(Failure { kind: ErrorKind::Internal, answer })
    }

    fn of(failure: Failure) -> Self {
        Self { content: Content::Page(failure), headers: HeaderMap::new() }
    }

    /// The same with one more field; a value that is none is left out.
    #[must_use]
    pub fn with(mut self, name: http::HeaderName, value: impl TryInto<http::HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.append(name, value);
        }
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match &self.content {
            Content::Page(failure) => failure.answer.status,
            Content::Given { status, .. } => *status,
        }
    }

    /// What the access line and the metrics say; none for an answer that is no failure.
    #[must_use]
    pub const fn kind(&self) -> Option<ErrorKind> {
        match &self.content {
            Content::Page(failure) => Some(failure.kind),
            Content::Given { status, .. } => match status.as_u16() {
                401 | 403 => Some(ErrorKind::Denied),
                429 => Some(ErrorKind::OverLimit),
                _ => None,
            },
        }
    }

    /// The response for a visitor who sent `request`.
    pub(crate) fn into_response(self, request: &HeaderMap, trace: TraceContext) -> Response<Bytes> {
        let kind = self.kind();
        match self.content {
            Content::Page(failure) => {
                let mut response = page(&failure, request, trace);
                response.headers_mut().extend(self.headers);
                response
            }
            Content::Given { status, body } => {
                let mut response = Response::new(body);
                *response.status_mut() = status;
                *response.headers_mut() = self.headers;
                if let Some(kind) = kind {
                    let kind = http::HeaderValue::from_static(kind.as_str());
                    response.headers_mut().insert(X_TUNNEL_ERROR, kind);
                }
                response
            }
        }
    }
}
