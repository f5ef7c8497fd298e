//! `Content-Length` (RFC 9110 section 8.6).

use http::header::{CONTENT_LENGTH, HeaderMap};

/// Decimal digits, nothing else, below 2^64.
pub(crate) fn parse_length(digits: &[u8]) -> Option<u64> {
    let digits = Some(digits).filter(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The length that a message states, if it states a valid one.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    parse_length(headers.get(CONTENT_LENGTH)?.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_digits() {
        assert_eq!(parse_length(b"003"), Some(3));
        assert_eq!(parse_length(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b""[..], b"+3", b"-1", b" 3", b"0x3", b"3,3", b"18446744073709551616"] {
            assert_eq!(parse_length(bad), None);
        }
    }
}
