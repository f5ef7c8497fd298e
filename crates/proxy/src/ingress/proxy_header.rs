//! The PROXY protocol, versions 1 and 2, as the receiver
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>): who the visitor of a trusted peer is.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::net::TcpStream;
use transport::socket::peek;

/// A header may be this long, with all its extensions.
const MAX: usize = 4096;
/// Of version 1, with its line end.
const V1_MAX: usize = 107;

/// Takes the header off the front of `stream`, and nothing else; needs a deadline. None: the peer speaks for itself.
///
/// # Errors
/// The connection's; [`io::ErrorKind::InvalidData`] if it does not begin with a header, or with one that is too long.
pub(super) async fn take(stream: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut buffer = vec![0; MAX];
    let mut seen = 0;
    loop {
        seen = peek(stream, &mut buffer, seen).await?;
        if let Some(Header { length, source }) = parse(buffer.get(..seen).unwrap_or_default())? {
            skip(stream, buffer.get_mut(..length).unwrap_or_default()).await?;
            return Ok(source);
        }
        if seen == MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Of all of it, in bytes.
    length: usize,
    source: Option<SocketAddr>,
}

/// Reads a header from the first `bytes` of a connection; none if they are not all of it.
fn parse(bytes: &[u8]) -> io::Result<Option<Header>> {
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() {
        // The library also waits behind a line of version 1 that has ended too early.
        let over = bytes.starts_with(b"P") && (bytes.contains(&b'\n') || bytes.len() >= V1_MAX);
        return if over { Err(io::ErrorKind::InvalidData.into()) } else { Ok(None) };
    }
    let header = match result {
        HeaderResult::V1(Ok(header)) => Header { length: header.header.len(), source: source_v1(&header) },
        HeaderResult::V2(Ok(header)) => Header { length: header.len(), source: source_v2(&header) },
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => {
            return Err(io::ErrorKind::InvalidData.into());
        }
    };
    Ok(Some(header))
}

fn source_v1(header: &v1::Header<'_>) -> Option<SocketAddr> {
    match header.addresses {
        v1::Addresses::Tcp4(it) => Some((it.source_address, it.source_port).into()),
        v1::Addresses::Tcp6(it) => Some((it.source_address, it.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn source_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    if header.command == v2::Command::Local {
        return None;
    }
    match header.addresses {
        v2::Addresses::IPv4(it) => Some((it.source_address, it.source_port).into()),
        v2::Addresses::IPv6(it) => Some((it.source_address, it.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

/// Takes the bytes that fill `buffer`, which are there.
async fn skip(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut taken = 0;
    while taken < buffer.len() {
        stream.readable().await?;
        match stream.try_read(buffer.get_mut(taken..).unwrap_or_default()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => taken = taken.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_who_the_visitor_is() {
        let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\nGET / HTTP/1.1\r\n";
        let source = Some("192.0.2.7:5000".parse().unwrap());
        assert_eq!(parse(v1).unwrap(), Some(Header { length: 44, source }));
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        v2.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 1, 0xbb, b'G']);
        assert_eq!(parse(&v2).unwrap(), Some(Header { length: 28, source }));
        for cut in 1..28 {
            assert_eq!(parse(&v2[..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_is_no_visitor() {
        assert_eq!(parse(b"PROXY UNKNOWN\r\n").unwrap(), Some(Header { length: 15, source: None }));
        let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
        assert_eq!(parse(local).unwrap(), Some(Header { length: 16, source: None }));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROXY TCP4 x\r\n", b"\x16\x03\x01\0\0"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
