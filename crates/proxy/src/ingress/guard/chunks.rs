//! A chunked body (RFC 9112 section 7.1).

use httparse::{EMPTY_HEADER, Status, parse_chunk_size, parse_headers};

use super::head::FIELDS_MAX;
use super::line::{has_bare_line_feed, has_empty_line};

/// Chunk extensions of one body, and whatever else follows the digits of a size, in bytes. What reads the body behind
/// this counts no more than this does.
const EXTENSIONS_MAX: usize = 16 * 1024;
/// Digits of a size at most.
const DIGITS_MAX: usize = 16;
/// Trailers with the empty line behind them, in bytes.
const TRAILERS_MAX: usize = 16 * 1024;

/// The body is not what a chunked one is, or is above a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadChunks;

/// How far it is, and whether that is its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) bytes: usize,
    pub(super) outcome: Result<bool, BadChunks>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

/// The place in a chunked body.
#[derive(Debug, Clone)]
pub(super) struct Chunks {
    at: At,
    extensions: usize,
    /// Bytes of an unfinished line that were looked at.
    scanned: usize,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { at: At::Size, extensions: 0, scanned: 0 }
    }

    /// Takes as much of `bytes` as is whole: data as it comes, lines and trailers at once. What was not taken is to come
    /// again, with more behind it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Taken {
        let mut taken = 0;
        loop {
            let rest = bytes.get(taken..).unwrap_or_default();
            let before = self.at;
            match self.take_one(rest) {
                Ok(Some(len)) => {
                    taken = taken.saturating_add(len);
                    self.scanned = 0;
                    if before == At::Trailers {
                        return Taken { bytes: taken, outcome: Ok(true) };
                    }
                }
                Ok(None) => {
                    self.scanned = rest.len();
                    return Taken { bytes: taken, outcome: Ok(false) };
                }
                Err(bad) => return Taken { bytes: taken, outcome: Err(bad) },
            }
        }
    }

    /// The length of the next piece; none if it is not whole.
    fn take_one(&mut self, rest: &[u8]) -> Result<Option<usize>, BadChunks> {
        if rest.is_empty() {
            return Ok(None);
        }
        match self.at {
            At::Size => self.take_size(rest),
            At::Data(left) => {
                let len = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                let left = left.saturating_sub(u64::try_from(len).unwrap_or(left));
                self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
                Ok(Some(len))
            }
            At::DataEnd => match rest {
                [b'\r', b'\n', ..] => {
                    self.at = At::Size;
                    Ok(Some(2))
                }
                [b'\r'] => Ok(None),
                _ => Err(BadChunks),
            },
            At::Trailers => self.take_trailers(rest),
        }
    }

    fn take_size(&mut self, rest: &[u8]) -> Result<Option<usize>, BadChunks> {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || digits > DIGITS_MAX {
            return Err(BadChunks);
        }
        let fresh = rest.get(self.scanned..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else {
            let open = rest.len().saturating_sub(digits).saturating_add(self.extensions);
            return if open > EXTENSIONS_MAX { Err(BadChunks) } else { Ok(None) };
        };
        let len = end.saturating_add(self.scanned).saturating_add(1);
        let line = rest.get(..len).unwrap_or_default();
        let text = line.strip_suffix(b"\r\n").ok_or(BadChunks)?;
        if text.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(BadChunks);
        }
        let more = text.len().saturating_sub(digits);
        self.extensions = self.extensions.saturating_add(more);
        let Ok(Status::Complete((_, size))) = parse_chunk_size(line) else { return Err(BadChunks) };
        if self.extensions >= EXTENSIONS_MAX || i64::try_from(size).is_err() {
            return Err(BadChunks);
        }
        self.at = if size == 0 { At::Trailers } else { At::Data(size) };
        Ok(Some(len))
    }

    fn take_trailers(&self, rest: &[u8]) -> Result<Option<usize>, BadChunks> {
        match rest {
            [b'\r', b'\n', ..] => return Ok(Some(2)),
            [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(BadChunks),
            _ => {}
        }
        let rest = rest.get(..TRAILERS_MAX).unwrap_or(rest);
        if !has_empty_line(rest, self.scanned) {
            return if rest.len() < TRAILERS_MAX { Ok(None) } else { Err(BadChunks) };
        }
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let Ok(Status::Complete((len, _))) = parse_headers(rest, &mut fields) else { return Err(BadChunks) };
        let trailers = rest.get(..len).unwrap_or(rest);
        if len >= TRAILERS_MAX || has_bare_line_feed(trailers) { Err(BadChunks) } else { Ok(Some(len)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `body` in pieces of `step` bytes; how much was taken, and whether that is the end.
    fn take(body: &[u8], step: usize) -> Result<(usize, bool), BadChunks> {
        let (mut chunks, mut taken) = (Chunks::new(), 0);
        for end in (step..body.len()).step_by(step).chain([body.len()]) {
            let step = chunks.take(&body[taken..end]);
            taken += step.bytes;
            if step.outcome? {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    #[test]
    fn a_body_ends_where_it_says_however_it_is_cut() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "003 \r\nabc\r\n00;a=b\r\n\r\n",
            "A;x=\"y\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\nB: \r\n\r\n",
        ] {
            let stream = format!("{body}GET / HTTP/1.1\r\n");
            for step in 1..stream.len() {
                assert_eq!(take(stream.as_bytes(), step), Ok((body.len(), true)), "{body:?} by {step}");
            }
        }
    }

    #[test]
    fn nothing_else_is_a_chunk() {
        for bad in [
            "\r\n",
            ";a\r\n",
            " 3\r\nabc",
            "0x3\r\nabc",
            "+3\r\nabc",
            "3_\r\nabc",
            "-3\r\n",
            "3\nabc",
            "3\r\nabc\n0",
            "3\r\nabcd\r\n",
            "3;a\nb\r\nabc",
            "3;a\rb\r\nabc",
            "3 4\r\nabc",
            "3\r\nabc\r0",
            "10000000000000000\r\n",
            "ffffffffffffffff\r\n",
            "8000000000000000\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\nA : b\r\n\r\n",
            "0\r\n A: b\r\n\r\n",
            "0\r\nA: b\r\n\n",
            "0\r\nA\r\n\r\n",
            "3;\0\r\nabc",
        ] {
            for step in [1, 3, bad.len()] {
                assert_eq!(take(bad.as_bytes(), step), Err(BadChunks), "{bad:?} by {step}");
            }
        }
    }

    #[test]
    fn what_is_no_data_is_bounded() {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(1000));
        assert_eq!(take(chunk.repeat(16).as_bytes(), 5000).map(|(taken, _)| taken), Ok(chunk.len() * 16));
        assert_eq!(take(chunk.repeat(17).as_bytes(), 5000), Err(BadChunks));
        assert_eq!(take(format!("1;{}", "e".repeat(EXTENSIONS_MAX)).as_bytes(), 1000), Err(BadChunks));
        let trailers = |count: usize, len: usize| {
            format!("0\r\n{}\r\n", format!("a: {}\r\n", "t".repeat(len)).repeat(count))
        };
        assert!(take(trailers(FIELDS_MAX, 100).as_bytes(), 1000).unwrap().1);
        assert_eq!(take(trailers(FIELDS_MAX + 1, 1).as_bytes(), 1000), Err(BadChunks));
        assert_eq!(take(trailers(1, TRAILERS_MAX).as_bytes(), 1000), Err(BadChunks));
    }
}
