//! Fields after a body (RFC 9110 section 6.5).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use protocol::exchange::Field;

use super::hop::is_hop_by_hop;

/// Fields that would change what came before them, or who may see it.
fn is_forbidden(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || matches!(
            *name,
            header::CONTENT_LENGTH
                | header::CONTENT_TYPE
                | header::CONTENT_ENCODING
                | header::CONTENT_RANGE
                | header::HOST
                | header::TRAILER
                | header::EXPECT
                | header::AUTHORIZATION
                | header::PROXY_AUTHORIZATION
                | header::COOKIE
                | header::SET_COOKIE
                | header::CACHE_CONTROL
        )
}

/// The trailers that pass.
pub(crate) fn forward_trailers(trailers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let fields = trailers.iter().filter(|(name, _)| !is_forbidden(name));
    fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// Trailers that came over the wire; those that may not be there, or are not valid, are left out.
pub(crate) fn restore_trailers(fields: &[Field]) -> HeaderMap {
    let field = |field: &Field| {
        let name = HeaderName::from_bytes(&field.name).ok().filter(|name| !is_forbidden(name))?;
        Some((name, HeaderValue::from_maybe_shared(field.value.clone()).ok()?))
    };
    let mut trailers = HeaderMap::new();
    for (name, value) in fields.iter().filter_map(field) {
        trailers.append(name, value);
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_does_not_hide_in_trailers() {
        let field = |name: &'static str| Field { name: name.as_bytes().into(), value: "5".as_bytes().into() };
        let trailers =
            restore_trailers(&[field("content-length"), field("grpc-status"), field("transfer-encoding")]);
        assert_eq!(trailers.len(), 1);
        assert_eq!(forward_trailers(&trailers).collect::<Vec<_>>(), [(&b"grpc-status"[..], &b"5"[..])]);
    }
}
