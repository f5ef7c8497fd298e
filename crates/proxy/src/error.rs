//! What failed, as a visitor is told: the one table from kinds of failure to answers (DESIGN 7, INTERFACE "Errors").

use std::time::Duration;

use http::StatusCode;
use ops::error_kind::ErrorKind;
use protocol::code::Code;

/// How a kind of failure looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status of the HTTP response.
    pub status: StatusCode,
    /// What `Retry-After` says, in whole seconds; none where trying again is of no use.
    pub retry_after: Option<Duration>,
    /// One sentence that names the hop that failed. A constant: it can carry nothing of the request.
    pub sentence: &'static str,
}

const fn answer(status: StatusCode, sentence: &'static str) -> Answer {
    Answer { status, retry_after: None, sentence }
}

impl Answer {
    const fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(Duration::from_secs(seconds)), ..self }
    }
}

/// The table.
#[must_use]
pub const fn answer_to(kind: ErrorKind) -> Answer {
    use ErrorKind as K;
    use StatusCode as S;
    match kind {
        K::ServiceRefused => answer(
            S::BAD_GATEWAY,
            "The tunnel client is connected, but the service behind it refused the connection.",
        ),
        K::ServiceTimeout => answer(
            S::GATEWAY_TIMEOUT,
            "The tunnel client is connected, but the service behind it did not answer in time.",
        ),
        K::ServiceCut => answer(
            S::BAD_GATEWAY,
            "The service behind the tunnel client broke off before its answer was complete.",
        ),
        K::ServiceTls => {
            answer(S::BAD_GATEWAY, "TLS between the tunnel client and the service behind it failed.")
        }
        K::NoMember => answer(
            S::SERVICE_UNAVAILABLE,
            "This address is known, but no tunnel client that serves it is connected right now.",
        )
        .after(5),
        K::NoRoute => answer(S::NOT_FOUND, "No tunnel serves this address."),
        K::SessionLost => answer(
            S::BAD_GATEWAY,
            "The connection to the tunnel client was lost while it handled this request.",
        ),
        K::OpenTimeout => answer(
            S::GATEWAY_TIMEOUT,
            "The tunnel client is connected, but did not take the request in time.",
        ),
        K::NotAllowed => answer(S::FORBIDDEN, "The tunnel is not allowed to reach this service."),
        K::OverLimit => {
            answer(S::SERVICE_UNAVAILABLE, "The tunnel carries as much as it may at the moment.").after(1)
        }
        K::BadRequest => answer(S::BAD_REQUEST, "The tunnel server could not understand the request."),
        K::Denied => answer(S::FORBIDDEN, "A rule of the tunnel server denied the request."),
        K::Draining => {
            answer(S::SERVICE_UNAVAILABLE, "The tunnel is about to restart and takes no new requests.")
                .after(1)
        }
        K::Internal => answer(S::INTERNAL_SERVER_ERROR, "The tunnel made a mistake of its own."),
    }
}

/// A request or a connection that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {}", .answer.sentence)]
pub struct Failure {
    /// What the header `x-tunnel-error`, the access line and the metrics say.
    pub kind: ErrorKind,
    /// What the visitor is told.
    pub answer: Answer,
}

impl Failure {
    /// A failure with the answer of the table.
    #[must_use]
    pub const fn of(kind: ErrorKind) -> Self {
        Self { kind, answer: answer_to(kind) }
    }
}

impl From<ErrorKind> for Failure {
    fn from(kind: ErrorKind) -> Self {
        Self::of(kind)
    }
}

/// What is wrong with a visitor's request. The visitor is at fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No `Host`, two of them, or one that is none (RFC 9112 section 3.2).
    Host,
    /// The target of the request names another host than `Host`.
    HostMismatch,
    /// `CONNECT` or `TRACE`.
    Method,
    /// A transfer coding other than one `chunked` (RFC 9112 section 6.1).
    TransferCoding,
    /// More than one way to tell where the body ends (RFC 9112 section 6.3).
    Framing,
    /// A body that is not what its framing says (RFC 9112 section 7.1).
    Chunks,
    /// An expectation other than `100-continue` (RFC 9110 section 10.1.1).
    Expectation,
    /// `Connection` lists a field that must reach the service.
    Connection,
    /// The target is above the limit of the wire.
    Target,
    /// The fields are above the limits of the wire.
    Fields,
    /// The request went through tunnels too often.
    Loop,
    /// The body did not come (RFC 9110 section 15.5.9).
    Slow,
}

impl Fault {
    const fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::HostMismatch | Self::Framing | Self::Chunks | Self::Connection => {
                StatusCode::BAD_REQUEST
            }
            Self::Method | Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Target => StatusCode::URI_TOO_LONG,
            Self::Fields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Host => "The request must name one valid host.",
            Self::HostMismatch => "The target of the request and its Host field name different hosts.",
            Self::Method => "This method does not pass through the tunnel.",
            Self::TransferCoding => "The only transfer coding that passes is chunked.",
            Self::Framing => "The request is ambiguous about where its body ends.",
            Self::Chunks => "The body of the request is not validly chunked.",
            Self::Expectation => "The only expectation that can be met is 100-continue.",
            Self::Connection => "The Connection field lists a field that is not hop-by-hop.",
            Self::Target => "The target of the request is too long.",
            Self::Fields => "The fields of the request are too large.",
            Self::Loop => "The request goes round in circles: it passed through too many tunnels.",
            Self::Slow => "The body of the request did not come in time.",
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { kind: ErrorKind::BadRequest, answer: answer(fault.status(), fault.sentence()) }
    }
}

/// What a code from the other end of a substream means to whoever waits for the answer (`spec/08`).
#[must_use]
pub const fn kind_of(code: Code) -> ErrorKind {
    match code {
        // The member gave the name up between our look-up and its own.
        Code::UNKNOWN_SERVICE => ErrorKind::NoMember,
        Code::NOT_ALLOWED => ErrorKind::NotAllowed,
        Code::SESSION_FULL | Code::OVER_LIMIT | Code::OVER_BUDGET => ErrorKind::OverLimit,
        Code::DRAINING => ErrorKind::Draining,
        Code::BAD_REQUEST => ErrorKind::BadRequest,
        Code::SERVICE_REFUSED => ErrorKind::ServiceRefused,
        Code::SERVICE_TIMEOUT | Code::IDLE_TIMEOUT => ErrorKind::ServiceTimeout,
        Code::SERVICE_CUT | Code::CANCEL => ErrorKind::ServiceCut,
        Code::SERVICE_TLS => ErrorKind::ServiceTls,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_an_answer_of_its_own_class() {
        for kind in ErrorKind::ALL.iter().copied() {
            let Answer { status, retry_after, sentence } = answer_to(kind);
            assert!(status.is_client_error() || status.is_server_error(), "{kind}");
            assert_eq!(retry_after.is_some(), status == StatusCode::SERVICE_UNAVAILABLE, "{kind}");
            assert!(sentence.ends_with('.') && sentence.is_ascii(), "{kind}");
        }
    }

    #[test]
    fn the_failure_table_of_the_design() {
        let status = |kind| answer_to(kind).status.as_u16();
        assert_eq!(status(ErrorKind::ServiceRefused), 502);
        assert_eq!(status(ErrorKind::ServiceTimeout), 504);
        assert_eq!(status(ErrorKind::SessionLost), 502);
        assert_eq!(status(ErrorKind::NoMember), 503);
        assert_eq!(status(ErrorKind::NoRoute), 404);
    }

    #[test]
    fn every_code_of_the_wire_has_a_kind() {
        let unnamed = [Code::INTERNAL, Code::NOT_WANTED];
        for code in Code::ALL.iter().copied().filter(|code| !unnamed.contains(code)) {
            assert_ne!(kind_of(code), ErrorKind::Internal, "{code}");
        }
        assert_eq!(kind_of(Code(999)), ErrorKind::Internal);
    }
}
