//! The fields of a response: rewritten at the service, and once more where the visitor is, because the end with the service
//! is not trusted there.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use protocol::exchange::Field;

use super::hop::{Listed, is_hop_by_hop};
use super::length::parse_length;

/// The fields of a service's response that are end to end. `Upgrade` passes with a 101; `Content-Length` does not where it
/// counts for nothing: next to a transfer coding (RFC 9112 section 6.3), and where [`states_no_length`].
pub(crate) fn forward_response<'h>(
    status: StatusCode,
    headers: &'h HeaderMap,
    listed: &'h Listed,
) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    let switching = status == StatusCode::SWITCHING_PROTOCOLS;
    let lengthless = states_no_length(status) || headers.contains_key(header::TRANSFER_ENCODING);
    let passes = move |name: &HeaderName| {
        if *name == header::CONTENT_LENGTH {
            return !lengthless;
        }
        (switching && *name == header::UPGRADE) || !(is_hop_by_hop(name) || listed.drops(name))
    };
    headers
        .iter()
        .filter(move |(name, _)| passes(name))
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// Whether the transfer coding of a service's response, if it has one, is one that was taken off when it was read. What is
/// left under any other would reach the visitor as content (RFC 9112 section 6.1).
pub(crate) fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Whether a response must not have a `Content-Length` (RFC 9110 section 8.6).
fn states_no_length(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// The fields of a response to a visitor, from those that came over the wire; none if they are not valid, or state two
/// lengths.
pub(crate) fn restore_response(status: StatusCode, fields: &[Field]) -> Option<HeaderMap> {
    // Room for what is set behind these: date, connection, framing.
    let mut headers = HeaderMap::with_capacity(fields.len().saturating_add(2));
    for Field { name, value } in fields {
        let name = HeaderName::from_bytes(name).ok()?;
        let is_length = name == header::CONTENT_LENGTH;
        if is_hop_by_hop(&name) || is_length && states_no_length(status) {
            continue;
        }
        if is_length && (parse_length(value).is_none() || headers.contains_key(&name)) {
            return None;
        }
        headers.append(name, HeaderValue::from_maybe_shared(value.clone()).ok()?);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_of_the_service_stays_there() {
        let map: HeaderMap = [
            ("connection", "close, x-internal"),
            ("x-internal", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        let listed = Listed::of(&map);
        let names = |status| {
            let fields = forward_response(status, &map, &listed);
            fields.map(|(name, value)| [name, b"=", value].concat()).collect::<Vec<_>>()
        };
        assert_eq!(names(StatusCode::OK), [&b"set-cookie=a=1"[..], b"set-cookie=b=2"]);
        assert_eq!(names(StatusCode::SWITCHING_PROTOCOLS).len(), 3);
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        fields.iter().map(field).collect()
    }

    #[test]
    fn a_length_passes_only_where_it_counts() {
        let sized = map(&[("content-length", "5")]);
        let both = map(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        let passed = |status, map| forward_response(status, map, &Listed::default()).count();
        assert_eq!(passed(StatusCode::OK, &sized), 1);
        assert_eq!(passed(StatusCode::OK, &both), 0);
        assert_eq!(passed(StatusCode::NO_CONTENT, &sized), 0);
        assert_eq!(passed(StatusCode::SWITCHING_PROTOCOLS, &sized), 0);
        let field = Field { name: "content-length".into(), value: "5".into() };
        let restored = |status| restore_response(status, std::slice::from_ref(&field)).unwrap().len();
        assert_eq!((restored(StatusCode::OK), restored(StatusCode::NO_CONTENT)), (1, 0));
    }

    #[test]
    fn the_only_transfer_coding_is_chunked() {
        let plain = |fields: &[_]| is_plainly_framed(&map(fields));
        assert!(plain(&[]) && plain(&[("transfer-encoding", "Chunked")]));
        for coding in ["gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "identity", ""] {
            assert!(!plain(&[("transfer-encoding", coding)]), "{coding}");
        }
        assert!(!plain(&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")]));
    }
}
