//! What gRPC expects of an answer that is not the service's (gRPC over HTTP/2, "Responses").

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use crate::error::Failure;
use crate::page::X_TUNNEL_ERROR;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The media types of gRPC; what follows `+` tells the encoding of the messages.
const MEDIA_TYPES: [&str; 3] = ["application/grpc", "application/grpc-web", "application/grpc-web-text"];

/// A status code of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcStatus(pub u8);

#[expect(missing_docs, reason = "the names are those of gRPC")]
impl GrpcStatus {
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    pub const PERMISSION_DENIED: Self = Self(7);
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    pub const UNIMPLEMENTED: Self = Self(12);
    pub const INTERNAL: Self = Self(13);
    pub const UNAVAILABLE: Self = Self(14);
    pub const UNAUTHENTICATED: Self = Self(16);
}

/// The media type of gRPC that a request has; none if it is not a call.
pub(crate) fn content_type(request: &HeaderMap) -> Option<&'static str> {
    let value = request.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split([';', '+']).next()?.trim_end();
    MEDIA_TYPES.into_iter().find(|known| media_type.eq_ignore_ascii_case(known))
}

/// The answer to a call that failed with `failure`: trailers only, which is one block of fields and no body.
pub(crate) fn trailers_only(failure: &Failure, content_type: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(failure.answer.grpc.0)));
    // Printable ASCII without a percent sign, which needs no encoding.
    if let Ok(sentence) = HeaderValue::from_str(failure.answer.sentence) {
        headers.insert(GRPC_MESSAGE, sentence);
    }
    headers.insert(X_TUNNEL_ERROR, HeaderValue::from_static(failure.kind.as_str()));
    if let Some(after) = failure.answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    response
}

#[cfg(test)]
mod tests {
    use ops::error_kind::ErrorKind;

    use super::*;

    #[test]
    fn calls_are_told_by_their_media_type() {
        for (value, expected) in [
            ("application/grpc", Some("application/grpc")),
            ("Application/gRPC+proto", Some("application/grpc")),
            ("application/grpc; charset=x", Some("application/grpc")),
            ("application/grpc-web+proto", Some("application/grpc-web")),
            ("application/grpc-web-text", Some("application/grpc-web-text")),
            ("application/grpcx", None),
            ("text/html", None),
        ] {
            let request = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(content_type(&request), expected, "{value}");
        }
    }

    #[test]
    fn every_failure_is_a_status_and_a_message() {
        for kind in ErrorKind::ALL.iter().copied() {
            let failure = Failure::of(kind);
            let response = trailers_only(&failure, "application/grpc");
            assert!(response.status().is_success() && response.body().is_empty());
            assert_eq!(response.headers()["grpc-status"], failure.answer.grpc.0.to_string());
            assert_eq!(response.headers()["grpc-message"], failure.answer.sentence);
            assert!(!failure.answer.sentence.contains('%'));
            assert_eq!(response.headers()["x-tunnel-error"], kind.as_str());
        }
    }
}
