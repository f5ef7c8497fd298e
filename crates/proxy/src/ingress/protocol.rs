//! Which HTTP a visitor speaks.

/// What an HTTP/2 connection begins with (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A version of HTTP on a visitor's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2, agreed on by ALPN or by prior knowledge.
    Http2,
}

impl Protocol {
    /// What the first bytes of a connection tell; none as long as they could become either.
    pub(super) fn of(first: &[u8]) -> Option<Self> {
        if first.starts_with(PREFACE) {
            Some(Self::Http2)
        } else if PREFACE.starts_with(first) {
            None
        } else {
            Some(Self::Http1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http2() {
        for length in 0..PREFACE.len() {
            assert_eq!(Protocol::of(&PREFACE[..length]), None, "{length}");
        }
        assert_eq!(Protocol::of(&[&PREFACE[..], b"more"].concat()), Some(Protocol::Http2));
        for first in ["G", "PO", "PRI /", "PRI * HTTP/1.1\r\n", "\r\n"] {
            assert_eq!(Protocol::of(first.as_bytes()), Some(Protocol::Http1), "{first:?}");
        }
    }
}
