//! Fields that concern one connection only.

use http::header::{self, HeaderMap, HeaderName};

use crate::error::Fault;

/// Never passed on, in either direction (RFC 9110 section 7.6.1, RFC 9112 sections 6.1 and 9). `TE` and `Upgrade` are
/// told in other ways.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TE
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::PROXY_AUTHENTICATE
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}

/// The fields that `Connection` names besides its usual words.
#[derive(Debug, Default)]
pub(crate) struct Listed(Vec<HeaderName>);

impl Listed {
    /// Reads `Connection`. What is no field name is nobody's.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(header::CONNECTION) {
            for word in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let usual = [&b"keep-alive"[..], b"close", b"upgrade", b"te", b"http2-settings", b""];
                if usual.iter().any(|usual| word.eq_ignore_ascii_case(usual)) {
                    continue;
                }
                if let Ok(name) = HeaderName::from_bytes(word) {
                    names.push(name);
                }
            }
        }
        Self(names)
    }

    /// Refuses a list that would take from the service what it relies on, or what an ingress has set.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.0.iter().any(is_protected) { Err(Fault::Connection) } else { Ok(()) }
    }

    /// The fields.
    pub(super) fn all(&self) -> &[HeaderName] {
        &self.0
    }

    pub(super) fn names(&self, name: &HeaderName) -> bool {
        self.0.contains(name)
    }

    /// Whether a response may lose this field: a list from a service is obeyed but for what guards the visitor.
    pub(super) fn drops(&self, name: &HeaderName) -> bool {
        self.names(name) && !is_protected(name)
    }
}

/// Fields that a `Connection` list can not remove.
fn is_protected(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST
            | header::CONTENT_LENGTH
            | header::CONTENT_TYPE
            | header::AUTHORIZATION
            | header::COOKIE
            | header::SET_COOKIE
            | header::FORWARDED
            | header::STRICT_TRANSPORT_SECURITY
            | header::CONTENT_SECURITY_POLICY
            | header::X_FRAME_OPTIONS
            | header::CACHE_CONTROL
    ) || name.as_str().starts_with("x-forwarded-")
        || matches!(name.as_str(), "x-real-ip" | super::HOPS)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn listed(value: &'static str) -> Listed {
        Listed::of(&HeaderMap::from_iter([(header::CONNECTION, HeaderValue::from_static(value))]))
    }

    #[test]
    fn the_usual_words_name_no_field() {
        let usual = listed("Keep-Alive, close,Upgrade, TE,, HTTP2-Settings");
        assert!(usual.0.is_empty());
        assert!(listed("x-private, Keep-Alive").names(&HeaderName::from_static("x-private")));
    }

    #[test]
    fn protected_fields_stay() {
        for value in [
            "close, X-Forwarded-For",
            "host",
            "Authorization",
            "cookie",
            "content-length",
            "x-real-ip",
            "forwarded",
        ] {
            assert_eq!(listed(value).check(), Err(Fault::Connection), "{value}");
        }
        assert_eq!(listed("close, x-mine").check(), Ok(()));
        assert!(!listed("strict-transport-security").drops(&header::STRICT_TRANSPORT_SECURITY));
    }
}
