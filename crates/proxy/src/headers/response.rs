//! The fields of a response: rewritten at the service, and once more where the visitor is, because the end with the service
//! is not trusted there.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use protocol::exchange::Field;

use super::hop::{Listed, is_hop_by_hop};
use super::length::parse_length;

/// The fields of a service's response that are end to end. `Upgrade` passes with a 101.
pub(crate) fn forward_response<'h>(
    headers: &'h HeaderMap,
    listed: &'h Listed,
    switching: bool,
) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
    let passes = move |name: &HeaderName| {
        (switching && *name == header::UPGRADE) || !(is_hop_by_hop(name) || listed.drops(name))
    };
    headers
        .iter()
        .filter(move |(name, _)| passes(name))
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// The fields of a response to a visitor, from those that came over the wire; none if they are not valid, or state two
/// lengths.
pub(crate) fn restore_response(fields: &[Field]) -> Option<HeaderMap> {
    // Room for what is set behind these: date, connection, framing.
    let mut headers = HeaderMap::with_capacity(fields.len().saturating_add(2));
    for Field { name, value } in fields {
        let name = HeaderName::from_bytes(name).ok()?;
        if is_hop_by_hop(&name) {
            continue;
        }
        if name == header::CONTENT_LENGTH && (parse_length(value).is_none() || headers.contains_key(&name)) {
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
        let names = |switching| {
            let fields = forward_response(&map, &listed, switching);
            fields.map(|(name, value)| [name, b"=", value].concat()).collect::<Vec<_>>()
        };
        assert_eq!(names(false), [&b"set-cookie=a=1"[..], b"set-cookie=b=2"]);
        assert_eq!(names(true).len(), 3);
    }
}
