//! What may be in a head: the least that keeps one HTTP message from becoming two (RFC 9110 section 5, RFC 9112).

// Every head is looked through at both ends, so nothing here stops at the first bad byte: without an early end the compiler
// takes many bytes at once.

const OTHER: u8 = 0;
const UPPER: u8 = 1;
const LOWER: u8 = 2;

/// What each byte is in a token of RFC 9110 section 5.6.2: an upper-case letter, something else that may be in one, or not.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "it counts up to the length, while it is compiled"
)]
const TOKEN: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    let mut byte = 0;
    while byte < kinds.len() {
        kinds[byte] = match byte as u8 {
            b'A'..=b'Z' => UPPER,
            b'a'..=b'z' | b'0'..=b'9' => LOWER,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            | b'|' | b'~' => LOWER,
            _ => OTHER,
        };
        byte += 1;
    }
    kinds
};

fn kind(byte: u8) -> u8 {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(OTHER)
}

/// A token of RFC 9110 section 5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().fold(true, |good, b| good & (kind(*b) != OTHER))
}

/// A field name: a token without upper-case letters, so that every name has one form.
pub(super) fn is_field_name(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().fold(true, |good, b| good & (kind(*b) == LOWER))
}

/// A field value: no CR, LF, NUL or other control but HTAB; bytes above 0x7F are opaque (RFC 9110 section 5.5).
pub(super) fn is_field_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, b| good & ((*b == b'\t') | ((*b >= 0x20) & (*b != 0x7F))))
}

/// Bytes that fit between two spaces of a request line.
fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, b| good & (*b > 0x20) & (*b != 0x7F))
}

/// A path with query, or the `*` of a server-wide OPTIONS (RFC 9112 section 3.2).
pub(super) fn is_path(bytes: &[u8]) -> bool {
    (bytes.starts_with(b"/") || bytes == b"*") && is_visible(bytes)
}

/// Host and optional port. Userinfo has no place in it (RFC 9110 section 4.2.4).
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.is_ascii()
        && is_visible(bytes)
        && !bytes.iter().any(|b| b"/?#@,\\".contains(b))
}

/// The name of a protocol, with an optional version (RFC 9110 section 7.8).
pub(super) fn is_protocol(bytes: &[u8]) -> bool {
    bytes.splitn(2, |b| *b == b'/').all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_get_nowhere() {
        for evil in [&b"a\r\nb"[..], b"a\nb", b"a\rb", b"a\0b", b"a\x7Fb"] {
            assert!(!is_field_value(evil));
            assert!(!is_field_name(evil));
            assert!(!is_token(evil));
            assert!(!is_path(&[b"/", evil].concat()));
            assert!(!is_authority(evil));
            assert!(!is_protocol(evil));
        }
        assert!(is_field_value(b"caf\xE9 \t x"));
        assert!(is_field_value(b""));
    }

    #[test]
    fn names_are_lower_case_tokens() {
        assert!(is_field_name(b"x-a_b"));
        for bad in [&b""[..], b"X-A", b"a b", b"a:", b":path", b"\xE9"] {
            assert!(!is_field_name(bad));
        }
    }

    #[test]
    fn targets_and_protocols() {
        assert!(is_path(b"/") && is_path(b"*") && is_path(b"/a?b=%20") && is_path(b"/\xC3\xA4"));
        assert!(!is_path(b"") && !is_path(b"a") && !is_path(b"/a b") && !is_path(b"**"));
        assert!(is_authority(b"a.test:80") && is_authority(b"[::1]:80"));
        assert!(
            !is_authority(b"") && !is_authority(b"u@a") && !is_authority(b"a, b") && !is_authority(b"a/b")
        );
        assert!(is_protocol(b"websocket") && is_protocol(b"HTTP/2.0"));
        assert!(!is_protocol(b"") && !is_protocol(b"a/") && !is_protocol(b"a/b/c") && !is_protocol(b"a, b"));
    }
}
