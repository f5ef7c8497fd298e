//! What failed, as a visitor is told: the one table from kinds of failure to answers (DESIGN 7, INTERFACE "Errors").

use std::time::Duration;

use http::StatusCode;
use ops::error_kind::ErrorKind;
use protocol::code::Code;

use crate::grpc::GrpcStatus;

/// How a kind of failure looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status of the HTTP response.
    pub status: StatusCode,
    /// The status of the answer to a call of gRPC, which is an HTTP 200.
    pub grpc: GrpcStatus,
    /// What `Retry-After` says, in whole seconds; none where trying again is of no use.
    pub retry_after: Option<Duration>,
    /// One sentence that names the hop that failed, true at either end of the tunnel and of a service next to the server. A
    /// constant: it can carry nothing of the request.
    pub sentence: &'static str,
}

const fn answer(status: StatusCode, grpc: GrpcStatus, sentence: &'static str) -> Answer {
    Answer { status, grpc, retry_after: None, sentence }
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
    use GrpcStatus as G;
    use StatusCode as S;
    match kind {
        K::ServiceRefused => answer(
            S::BAD_GATEWAY,
            G::UNAVAILABLE,
            "The tunnel is up, but the service behind it refused the connection.",
        ),
        K::ServiceTimeout => answer(
            S::GATEWAY_TIMEOUT,
            G::DEADLINE_EXCEEDED,
            "The tunnel is up, but the service behind it did not answer in time.",
        ),
        K::ServiceCut => answer(
            S::BAD_GATEWAY,
            G::UNAVAILABLE,
            "The service behind the tunnel broke off before its answer was complete.",
        ),
        K::ServiceTls => answer(
            S::BAD_GATEWAY,
            G::UNAVAILABLE,
            "The tunnel is up, but its TLS with the service behind it failed.",
        ),
        K::NoMember => answer(
            S::SERVICE_UNAVAILABLE,
            G::UNAVAILABLE,
            "This address is known, but nothing that serves it is connected to the tunnel right now.",
        )
        .after(5),
        K::NoRoute => answer(S::NOT_FOUND, G::UNIMPLEMENTED, "No tunnel serves this address."),
        K::SessionLost => answer(
            S::BAD_GATEWAY,
            G::UNAVAILABLE,
            "The connection of the tunnel was lost while the request was on its way.",
        ),
        K::OpenTimeout => answer(
            S::GATEWAY_TIMEOUT,
            G::UNAVAILABLE,
            "The other end of the tunnel is connected, but did not take the request in time.",
        ),
        K::NotAllowed => {
            answer(S::FORBIDDEN, G::PERMISSION_DENIED, "The tunnel is not allowed to reach this service.")
        }
        K::OverLimit => answer(
            S::SERVICE_UNAVAILABLE,
            G::RESOURCE_EXHAUSTED,
            "The tunnel carries as much as it may at the moment.",
        )
        .after(1),
        K::BadRequest => {
            answer(S::BAD_REQUEST, G::INTERNAL, "The tunnel server could not understand the request.")
        }
        K::Denied => {
            answer(S::FORBIDDEN, G::PERMISSION_DENIED, "A rule of the tunnel server denied the request.")
        }
        K::Draining => answer(
            S::SERVICE_UNAVAILABLE,
            G::UNAVAILABLE,
            "The tunnel is about to restart and takes no new requests.",
        )
        .after(1),
        K::Internal => answer(S::INTERNAL_SERVER_ERROR, G::INTERNAL, "The tunnel made a mistake of its own."),
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
    /// The head is no request of HTTP/1.1 (RFC 9112 sections 2.2, 3 and 5).
    Syntax,
    /// A version of HTTP that is not spoken here (RFC 9110 section 15.6.6).
    Version,
    /// The target is none of the forms that its method may have (RFC 9112 section 3.2), or has a fragment.
    TargetForm,
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
    /// The body is longer than it may be (RFC 9110 section 15.5.14).
    Body,
    /// The body did not come (RFC 9110 section 15.5.9).
    Slow,
    /// The connection was made for a host with another certificate (RFC 9110 section 15.5.20).
    Misdirected,
}

impl Fault {
    const fn status(self) -> StatusCode {
        match self {
            Self::Syntax
            | Self::TargetForm
            | Self::Host
            | Self::HostMismatch
            | Self::Framing
            | Self::Chunks
            | Self::Connection => StatusCode::BAD_REQUEST,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method | Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Target => StatusCode::URI_TOO_LONG,
            Self::Fields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    const fn grpc(self) -> GrpcStatus {
        match self {
            Self::Method | Self::TransferCoding => GrpcStatus::UNIMPLEMENTED,
            Self::Target | Self::Fields | Self::Body => GrpcStatus::RESOURCE_EXHAUSTED,
            Self::Slow => GrpcStatus::DEADLINE_EXCEEDED,
            _ => GrpcStatus::INTERNAL,
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Syntax => "The head of the request is not valid HTTP/1.1.",
            Self::Version => "This version of HTTP is not spoken here.",
            Self::TargetForm => "The target of the request is not a valid one.",
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
            Self::Body => "The body of the request is longer than it may be here.",
            Self::Slow => "The body of the request did not come in time.",
            Self::Misdirected => "This connection was made for another host; ask again on a new one.",
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { kind: ErrorKind::BadRequest, answer: answer(fault.status(), fault.grpc(), fault.sentence()) }
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
        Code::SERVICE_REFUSED | Code::NOT_PROCESSED => ErrorKind::ServiceRefused,
        Code::SERVICE_TIMEOUT | Code::SERVICE_UNREACHABLE | Code::IDLE_TIMEOUT => ErrorKind::ServiceTimeout,
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
            let Answer { status, retry_after, sentence, .. } = answer_to(kind);
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
        let grpc = |kind| answer_to(kind).grpc.0;
        assert_eq!(grpc(ErrorKind::ServiceRefused), 14);
        assert_eq!(grpc(ErrorKind::ServiceTimeout), 4);
        assert_eq!(grpc(ErrorKind::SessionLost), 14);
        assert_eq!(grpc(ErrorKind::NoMember), 14);
        assert_eq!(grpc(ErrorKind::NoRoute), 12);
        assert_eq!(grpc(ErrorKind::OverLimit), 8);
        assert_eq!(grpc(ErrorKind::NotAllowed), 7);
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
