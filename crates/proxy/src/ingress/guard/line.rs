//! Lines end with CRLF, nothing else (RFC 9112 section 2.2).

/// Whether a line ends with a line feed alone.
pub(super) fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let bare = |(before, byte): (&u8, &u8)| *byte == b'\n' && *before != b'\r';
    bytes.first() == Some(&b'\n')
        || bytes.iter().zip(bytes.iter().skip(1)).filter(|pair| bare(*pair)).count() > 0
}

/// Whether an empty line, however it is ended, is among `bytes`; those before `scanned` were looked at.
pub(super) fn has_empty_line(bytes: &[u8], scanned: usize) -> bool {
    let fresh = bytes.get(scanned.saturating_sub(2)..).unwrap_or_default();
    fresh.windows(2).any(|pair| pair == b"\n\n") || fresh.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_feed_alone_is_seen() {
        assert!(!has_bare_line_feed(b"a\r\n\r\n"));
        for bad in [&b"\n"[..], b"a\n\r\n", b"a\r\n\n", b"\r\n\n"] {
            assert!(has_bare_line_feed(bad), "{bad:?}");
        }
    }

    #[test]
    fn an_empty_line_is_found_wherever_it_is_cut() {
        let bytes = b"a: b\r\n\r\n";
        for scanned in 0..bytes.len() {
            assert!(has_empty_line(bytes, scanned), "{scanned}");
        }
        assert!(!has_empty_line(b"a\r\nb\r\n", 0));
        assert!(has_empty_line(b"a\n\nb", 2));
    }
}
