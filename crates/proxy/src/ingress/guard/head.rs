//! One request head.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Request, Status};

use super::body::Framing;
use super::line::has_bare_line_feed;
use super::target::check_target;
use crate::error::Fault;

/// A request head with the empty lines before it, in bytes.
pub const HEAD_MAX: usize = 64 * 1024;
/// Fields in a head.
pub const FIELDS_MAX: usize = 100;
/// A target, in bytes.
pub const TARGET_MAX: usize = 16 * 1024;

/// What must be known of a head to find the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Bytes of it, with its empty line.
    pub len: usize,
    /// How its body is framed.
    pub framing: Framing,
    /// It asks for another protocol: what comes behind it may be no request.
    pub upgrades: bool,
}

impl Head {
    /// Reads the head at the start of `bytes`; none if there is more of it to come.
    ///
    /// # Errors
    /// What is wrong with it, as soon as that shows. Which error it is depends on the bytes, not on how they are cut.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        let bytes = bytes.get(..HEAD_MAX).unwrap_or(bytes);
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = Request::new(&mut []);
        let len = match request.parse_with_uninit_headers(bytes, &mut fields) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
            Ok(Status::Partial) if request.path.is_none() => return Err(Fault::Target),
            Ok(Status::Partial) => return Err(Fault::Fields),
            Err(error) => return Err(fault_of(error, bytes)),
        };
        let (Some(method), Some(target)) = (request.method, request.path) else { return Err(Fault::Syntax) };
        if has_bare_line_feed(bytes.get(..len).unwrap_or(bytes)) {
            return Err(Fault::Syntax);
        }
        check_target(method, target)?;
        let old = request.version == Some(0);
        let framing = Framing::of(request.headers, old)?;
        // HTTP/1.0 knows no upgrades (RFC 9110 section 7.8).
        let upgrades = !old && asks_for_upgrade(request.headers);
        Ok(Some(Self { len, framing, upgrades }))
    }
}

/// Whether a protocol may follow other than one that is never spoken here: whenever [`crate::headers::Facts`] finds one to
/// upgrade to, and when it is in doubt.
fn asks_for_upgrade(fields: &[Header<'_>]) -> bool {
    let lists = |name: &str, wanted: &dyn Fn(&[u8]) -> bool| {
        let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        let mut words =
            named.flat_map(|field| field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
        words.any(wanted)
    };
    lists("upgrade", &|word| !word.is_empty() && !word.eq_ignore_ascii_case(b"h2c"))
        && lists("connection", &|word| word.eq_ignore_ascii_case(b"upgrade"))
}

fn fault_of(error: Error, bytes: &[u8]) -> Fault {
    match error {
        Error::TooManyHeaders => Fault::Fields,
        Error::Version if names_a_version(bytes) => Fault::Version,
        Error::HeaderValue if hides_a_coding(bytes) => Fault::TransferCoding,
        _ => Fault::Syntax,
    }
}

/// Whether the request line goes on with some version of HTTP.
fn names_a_version(bytes: &[u8]) -> bool {
    let version = bytes.trim_ascii_start().splitn(3, |byte| *byte == b' ').nth(2);
    let number = version.and_then(|version| version.strip_prefix(b"HTTP/"));
    number.and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

/// Whether the first character that no field may hold hides a transfer coding, which another reader could take for
/// `chunked`.
fn hides_a_coding(bytes: &[u8]) -> bool {
    let forbidden = |line: &[u8]| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.iter().copied().find(|byte| byte.is_ascii_control() && *byte != b'\t')
    };
    let mut lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| Some((line, forbidden(line)?)));
    lines.next().is_some_and(|(line, byte)| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        matches!(byte, 0x0B | 0x0C) && name.eq_ignore_ascii_case(b"transfer-encoding")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Fault> {
        Head::read(text.as_bytes())
    }

    #[test]
    fn a_head_is_read_to_its_end() {
        let text = "\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        let head = Head { len: text.len(), framing: Framing::Sized(3), upgrades: false };
        assert_eq!(read(&format!("{text}abc")), Ok(Some(head)));
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn lines_are_strict() {
        for bad in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET  / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET / HTTP/x.1\r\n\r\n",
            "GET /\r\n\r\n",
        ] {
            assert_eq!(read(bad), Err(Fault::Syntax), "{bad:?}");
        }
    }

    #[test]
    fn other_versions_are_known_as_such() {
        for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3"] {
            assert_eq!(read(&format!("GET / {version}\r\n\r\n")), Err(Fault::Version), "{version}");
        }
        assert_eq!(read("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Err(Fault::Version));
    }

    #[test]
    fn heads_are_bounded() {
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(read(&fields(FIELDS_MAX)).unwrap().is_some());
        assert_eq!(read(&fields(FIELDS_MAX + 1)), Err(Fault::Fields));
        let long = |head: &str| format!("{head}{}", "x".repeat(HEAD_MAX));
        assert_eq!(read(&long("GET / HTTP/1.1\r\na: ")), Err(Fault::Fields));
        assert_eq!(read(&long("GET /")), Err(Fault::Target));
        let exact = |len: usize| {
            let (start, end) = ("GET / HTTP/1.1\r\na: ", "\r\n\r\n");
            format!("{start}{}{end}", "x".repeat(len - start.len() - end.len()))
        };
        assert!(read(&exact(HEAD_MAX)).unwrap().is_some());
        assert_eq!(read(&exact(HEAD_MAX + 1)), Err(Fault::Fields));
    }

    #[test]
    fn a_hidden_coding_is_a_coding() {
        let head = |value: &str| format!("POST / HTTP/1.1\r\nTransfer-Encoding:{value}\r\n\r\n");
        assert_eq!(read(&head("\x0Bchunked")), Err(Fault::TransferCoding));
        assert_eq!(read(&head("\0chunked")), Err(Fault::Syntax));
    }

    #[test]
    fn whoever_may_switch_is_known() {
        let upgrades =
            |fields: &str| read(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).unwrap().unwrap().upgrades;
        assert!(upgrades("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"));
        assert!(upgrades("Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"));
        assert!(!upgrades("Connection: upgrade\r\nUpgrade: h2c\r\n"));
        assert!(!upgrades("Upgrade: websocket\r\n"));
        assert!(!upgrades("Connection: upgrade\r\n"));
    }
}
