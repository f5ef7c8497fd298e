//! The guard before the requests of visitors: bytes in, how many may pass.

use arbitrary::{Result, Unstructured};
use proxy::ingress::guard::{Requests, Step, Verdict};

/// Requests in one run.
const REQUESTS_MAX: usize = 16;

/// What came of a whole stream.
#[derive(Debug, PartialEq)]
struct Followed {
    passed: usize,
    heads: u32,
    verdict: Verdict,
}

/// Any bytes: what passes is the same however they arrive, and passes again. The first byte says how they arrive.
pub fn raw(data: &[u8]) {
    let [step, stream @ ..] = data else { return };
    let whole = follow(stream, usize::MAX);
    let pieces = follow(stream, usize::from(*step).max(1));
    assert_eq!((whole.passed, whole.heads), (pieces.passed, pieces.heads));
    // A head that comes in pieces is looked at now and then: one that has no end yet may be bad unnoticed.
    let unnoticed = matches!(whole.verdict, Verdict::BadHead(_)) && pieces.verdict == Verdict::Open;
    assert!(unnoticed || whole.verdict == pieces.verdict, "{:?} and {:?}", whole.verdict, pieces.verdict);

    let again = follow(&stream[..whole.passed], usize::MAX);
    assert_eq!((again.passed, again.heads), (whole.passed, whole.heads));
    assert!(matches!(again.verdict, Verdict::Open | Verdict::Over));
}

/// Requests as they should be: all of them pass, and are counted, however they arrive; what follows the last one does not.
pub fn values(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (mut stream, mut count, mut last) = (Vec::new(), 0, false);
    let step = u.arbitrary::<u8>().map_or(1, |step| usize::from(step).max(1));
    while !u.is_empty() && count < REQUESTS_MAX && !last {
        let mut bytes = Vec::new();
        let Ok(upgrades) = request(&mut u, &mut bytes) else { break };
        stream.extend_from_slice(&bytes);
        last = upgrades;
        count += 1;
    }
    let heads = u32::try_from(count).unwrap_or(u32::MAX);
    let verdict = if last { Verdict::Over } else { Verdict::Open };
    let passed = stream.len();
    stream.extend_from_slice(b"GET / ");
    for step in [step, usize::MAX] {
        assert_eq!(follow(&stream, step), Followed { passed, heads, verdict });
    }
}

/// Feeds a stream in pieces of `step` bytes; what did not pass comes again.
fn follow(stream: &[u8], step: usize) -> Followed {
    let (mut requests, mut passed, mut come) = (Requests::default(), 0, 0_usize);
    loop {
        come = stream.len().min(come.saturating_add(step));
        let Step { pass, verdict } = requests.advance(&stream[passed..come]);
        passed += pass;
        assert!(passed <= come);
        if verdict != Verdict::Open {
            let behind = requests.advance(&stream[passed..]);
            assert_eq!(behind, Step { pass: 0, verdict }, "something passes behind the end");
        }
        if verdict != Verdict::Open || come == stream.len() {
            return Followed { passed, heads: requests.heads(), verdict };
        }
    }
}

/// Writes one request; whether it asks for another protocol.
fn request(u: &mut Unstructured<'_>, out: &mut Vec<u8>) -> Result<bool> {
    let line = *u.choose(&[
        "GET / HTTP/1.1",
        "\r\nPOST /a?b=c HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "PUT http://a.test/b HTTP/1.1",
    ])?;
    out.extend_from_slice(format!("{line}\r\nHost: a.test\r\n").as_bytes());
    for _ in 0..u.int_in_range(0..=3)? {
        let field = u.choose(&[
            "A: b",
            "X-Empty:",
            "X-Tab:\tc\t",
            "Content_Length: 3",
            "TE: trailers",
            "Cookie: \u{e9}",
        ])?;
        out.extend_from_slice(format!("{field}\r\n").as_bytes());
    }
    let upgrades = u.ratio(1, 8)?;
    if upgrades {
        out.extend_from_slice(b"Connection: keep-alive, Upgrade\r\nUpgrade: x\r\n");
    }
    match u.int_in_range(0..=2)? {
        0 => out.extend_from_slice(b"\r\n"),
        1 => {
            let body = piece(u)?;
            out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
        }
        _ => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            while !u.is_empty() && u.ratio(2, 3)? {
                let (data, extension) = (piece(u)?, *u.choose(&["", ";a", " ", ";a=\"b\"", " ;c"])?);
                if !data.is_empty() {
                    out.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
                    out.extend_from_slice(data);
                    out.extend_from_slice(b"\r\n");
                }
            }
            let trailers = u.choose(&["", "X-Sum: 1\r\n", "A:\r\nB: c\r\n"])?;
            out.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        }
    }
    Ok(upgrades)
}

fn piece<'a>(u: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let len = u.int_in_range(0..=40)?;
    u.bytes(len.min(u.len()))
}
