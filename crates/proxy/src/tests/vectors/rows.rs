//! The rows of `requests.txt`. The tests of the real programs read them here too.

/// Sent behind the bytes of every row. It must be seen where the connection goes on, and nowhere else.
pub(super) const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";

/// A request, and what becomes of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) answers: Vec<u16>,
    pub(super) open: bool,
    pub(super) requests: usize,
    pub(super) bytes: Vec<u8>,
}

/// All of them.
pub(super) fn rows() -> Vec<Row> {
    let lines = include_str!("requests.txt").lines();
    let rows = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut parts = line.splitn(5, '|');
        let mut part = || parts.next().unwrap_or_else(|| panic!("a row of five parts: {line}"));
        let name = part().trim();
        let answers = part().split(',').map(|status| status.trim().parse().unwrap()).collect();
        let open = match part().trim() {
            "open" => true,
            "close" => false,
            other => panic!("{name}: {other}"),
        };
        let requests = part().trim().parse().unwrap();
        let bytes = part();
        let bytes = unescape(bytes.strip_prefix(' ').unwrap_or(bytes).as_bytes());
        Row { name, answers, open, requests, bytes }
    });
    rows.collect()
}

/// Single bytes for `\r \n \t \0 \\ \xNN`, and `\*N(text)` as the text N times.
fn unescape(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let (escape, behind) = rest.split_first().unwrap();
        rest = behind;
        match escape {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = std::str::from_utf8(&rest[..2]).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &rest[2..];
            }
            b'*' => {
                let open = rest.iter().position(|byte| *byte == b'(').unwrap();
                let times = std::str::from_utf8(&rest[..open]).unwrap().parse().unwrap();
                let mut depth = 0;
                let close = rest.iter().position(|byte| {
                    depth += i32::from(*byte == b'(') - i32::from(*byte == b')');
                    depth == 0 && *byte == b')'
                });
                let close = close.unwrap();
                out.extend(unescape(&rest[open + 1..close]).repeat(times));
                rest = &rest[close + 1..];
            }
            other => panic!("no escape: {}", char::from(*other)),
        }
    }
    out
}
