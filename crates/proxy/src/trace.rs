//! Trace ids: taken from the visitor's `traceparent` or made.

use std::fmt;

use http::HeaderMap;
use protocol::request::TraceContext;

/// The field that carries a trace (W3C Trace Context, section 3.2).
pub(crate) const TRACEPARENT: &str = "traceparent";

/// A trace id as people see it: 32 hexadecimal digits.
pub(crate) struct TraceId(pub(crate) [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not by the formatter of numbers: it is written for every request.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0x0F)]);
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// The trace that a request belongs to: the visitor's if it sends a valid one, else a new one.
pub(crate) fn of_request(headers: &HeaderMap) -> TraceContext {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    match (parents.next(), parents.next()) {
        (Some(parent), None) => parse(parent.as_bytes()).unwrap_or_else(fresh),
        _ => fresh(),
    }
}

/// A new trace.
pub(crate) fn fresh() -> TraceContext {
    TraceContext { trace_id: rand::random(), span_id: rand::random(), flags: 0 }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`; a later version may go on behind that.
fn parse(text: &[u8]) -> Option<TraceContext> {
    let (version, rest) = field::<1>(text)?;
    let (trace_id, rest) = field::<16>(rest.strip_prefix(b"-")?)?;
    let (span_id, rest) = field::<8>(rest.strip_prefix(b"-")?)?;
    let ([flags], rest) = field::<1>(rest.strip_prefix(b"-")?)?;
    let complete = match version {
        [0x00] => rest.is_empty(),
        [0xFF] => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let known = trace_id != [0; 16] && span_id != [0; 8];
    (complete && known).then_some(TraceContext { trace_id, span_id, flags })
}

/// N bytes as lower-case hexadecimal digits, and what follows them.
fn field<const N: usize>(text: &[u8]) -> Option<([u8; N], &[u8])> {
    let mut bytes = [0; N];
    let (digits, rest) = text.split_at_checked(N.checked_mul(2)?)?;
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = match pair {
            [high, low] => digit(*high)? << 4 | digit(*low)?,
            _ => return None,
        };
    }
    Some((bytes, rest))
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(character.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_parent_is_taken() {
        let trace = parse(GOOD.as_bytes()).unwrap();
        assert_eq!(TraceId(trace.trace_id).to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((trace.span_id, trace.flags), ([0, 0xF0, 0x67, 0xAA, 0x0B, 0xA9, 0x02, 0xB7], 1));
        let later = format!("cc-{}-what-comes-later", &GOOD[3..]);
        assert!(parse(later.as_bytes()).is_some());
    }

    #[test]
    fn an_invalid_parent_is_none() {
        let upper = GOOD.to_uppercase();
        let long = format!("{GOOD}-x");
        let zero_trace = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let zero_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        for bad in
            ["", "00-", &GOOD[..54], &upper, &long, &format!("ff{}", &GOOD[2..]), zero_trace, zero_span]
        {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert_eq!(of_request(&headers).flags, 1);
        headers.append(TRACEPARENT, GOOD.parse().unwrap());
        assert_eq!(of_request(&headers).flags, 0);
        assert_ne!(fresh().trace_id, fresh().trace_id);
    }
}
