//! The requests of a connection, one after the other: what may pass of the bytes that come.

use super::body::Framing;
use super::chunks::Chunks;
use super::head::Head;
use super::line::has_empty_line;
use crate::error::Fault;

/// Requests on one connection.
pub const REQUESTS_MAX: u32 = 10_000;

/// What is to be done with the bytes behind those that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are the beginning of something: they are to come again, with more behind them.
    Open,
    /// No request may follow the last one: they are another protocol's, or nobody's.
    Over,
    /// They are a head that may not pass.
    BadHead(Fault),
    /// They are the rest of a body that is broken.
    BadBody,
}

/// What came of a piece of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// So many bytes may pass.
    pub pass: usize,
    /// The others.
    pub verdict: Verdict,
}

/// Where in the stream it is.
#[derive(Debug, Clone)]
enum At {
    Head,
    Sized(u64),
    Chunked(Chunks),
    Over,
    BadHead(Fault),
    BadBody,
}

/// The place in a visitor's stream of requests.
#[derive(Debug, Clone)]
pub struct Requests {
    at: At,
    heads: u32,
    /// The current request is the last one.
    last: bool,
    /// Bytes of an unfinished head that were looked at.
    scanned: usize,
    /// At this length an unfinished head is parsed again, so that a head that comes in single bytes costs no more than
    /// twice its length.
    parse_at: usize,
}

impl Default for Requests {
    fn default() -> Self {
        Self { at: At::Head, heads: 0, last: false, scanned: 0, parse_at: 0 }
    }
}

impl Requests {
    /// Looks at `bytes`: those that did not pass the last time, and what has come since.
    pub fn advance(&mut self, bytes: &[u8]) -> Step {
        let mut pass: usize = 0;
        loop {
            let rest = bytes.get(pass..).unwrap_or_default();
            let verdict = match &mut self.at {
                At::Over => Verdict::Over,
                At::BadHead(fault) => Verdict::BadHead(*fault),
                At::BadBody => Verdict::BadBody,
                _ if rest.is_empty() => Verdict::Open,
                At::Head => match self.head(rest) {
                    Some(len) => {
                        pass = pass.saturating_add(len);
                        continue;
                    }
                    None if matches!(self.at, At::Head) => Verdict::Open,
                    None => continue,
                },
                At::Sized(left) => {
                    let len = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left = left.saturating_sub(u64::try_from(len).unwrap_or(*left));
                    pass = pass.saturating_add(len);
                    if *left == 0 {
                        self.next();
                    }
                    continue;
                }
                At::Chunked(chunks) => {
                    let taken = chunks.take(rest);
                    pass = pass.saturating_add(taken.bytes);
                    match taken.outcome {
                        Ok(true) => self.next(),
                        Ok(false) => return Step { pass, verdict: Verdict::Open },
                        Err(_) => self.at = At::BadBody,
                    }
                    continue;
                }
            };
            return Step { pass, verdict };
        }
    }

    /// Heads that have passed.
    #[must_use]
    pub const fn heads(&self) -> u32 {
        self.heads
    }

    /// Whether the last head that has passed is of a request that none may follow.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// The length of the head at the start of `rest`; none if it is not whole, or bad.
    fn head(&mut self, rest: &[u8]) -> Option<usize> {
        if rest.len() < self.parse_at && !has_empty_line(rest, self.scanned) {
            self.scanned = rest.len();
            return None;
        }
        match Head::read(rest) {
            Ok(Some(head)) => {
                self.heads = self.heads.saturating_add(1);
                self.last = head.upgrades || self.heads >= REQUESTS_MAX;
                (self.scanned, self.parse_at) = (0, 0);
                match head.framing {
                    Framing::Sized(0) => self.next(),
                    Framing::Sized(length) => self.at = At::Sized(length),
                    Framing::Chunked => self.at = At::Chunked(Chunks::new()),
                }
                Some(head.len)
            }
            Ok(None) => {
                self.scanned = rest.len();
                self.parse_at = rest.len().saturating_mul(2).min(super::HEAD_MAX);
                None
            }
            Err(fault) => {
                self.at = At::BadHead(fault);
                None
            }
        }
    }

    fn next(&mut self) {
        self.at = if self.last { At::Over } else { At::Head };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    const SIZED: &str = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    const UPGRADE: &str = "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

    /// Bytes that passed, requests, and what became of the others.
    fn follow(stream: &[u8], step: usize) -> (usize, u32, Verdict) {
        let (mut requests, mut passed, mut verdict) = (Requests::default(), 0, Verdict::Open);
        for end in (step..stream.len()).step_by(step).chain([stream.len()]) {
            let step = requests.advance(&stream[passed..end]);
            passed += step.pass;
            verdict = step.verdict;
            if verdict != Verdict::Open {
                break;
            }
        }
        (passed, requests.heads(), verdict)
    }

    #[test]
    fn requests_are_told_apart_however_they_are_cut() {
        let stream = [SIZED, CHUNKED, GET, "\r\n", GET].concat();
        let half = [&stream, "GET / HT"].concat();
        for step in 1..half.len() {
            assert_eq!(follow(half.as_bytes(), step), (stream.len(), 4, Verdict::Open), "by {step}");
        }
    }

    #[test]
    fn nothing_passes_behind_what_is_bad() {
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let head =
            [GET, "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", smuggled]
                .concat();
        let body = [CHUNKED.strip_suffix("0\r\n\r\n").unwrap(), "x\r\n", smuggled].concat();
        let good = body.len() - smuggled.len() - "x\r\n".len();
        for step in 1..head.len() {
            assert_eq!(
                follow(head.as_bytes(), step),
                (GET.len(), 1, Verdict::BadHead(Fault::Framing)),
                "by {step}"
            );
            assert_eq!(follow(body.as_bytes(), step), (good, 1, Verdict::BadBody), "by {step}");
        }
    }

    #[test]
    fn what_follows_an_upgrade_is_no_request() {
        let with_body =
            "POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc";
        for last in [UPGRADE, with_body] {
            let stream = [GET, last, GET].concat();
            for step in 1..stream.len() {
                assert_eq!(
                    follow(stream.as_bytes(), step),
                    (GET.len() + last.len(), 2, Verdict::Over),
                    "by {step}"
                );
            }
        }
    }

    #[test]
    fn a_connection_has_its_last_request() {
        let mut requests = Requests::default();
        for _ in 1..REQUESTS_MAX {
            assert_eq!(requests.advance(GET.as_bytes()), Step { pass: GET.len(), verdict: Verdict::Open });
        }
        assert!(!requests.is_last());
        assert_eq!(
            requests.advance([GET, GET].concat().as_bytes()),
            Step { pass: GET.len(), verdict: Verdict::Over }
        );
        assert!(requests.is_last());
    }

    #[test]
    fn a_body_passes_untouched() {
        let mut requests = Requests::default();
        let head = "PUT / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n";
        assert_eq!(requests.advance(head.as_bytes()).pass, head.len());
        for _ in 0..10 {
            assert_eq!(requests.advance(&[b'\n'; 10_000]), Step { pass: 10_000, verdict: Verdict::Open });
        }
        assert_eq!(requests.advance(GET.as_bytes()).pass, GET.len());
    }
}
