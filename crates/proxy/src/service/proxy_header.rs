//! The PROXY protocol in front of a connection to a service: who the visitor is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use policy::part::ProxyVersion;
use ppp::{v1, v2};

/// What is written before anything else. Without a `visitor` the connection is this end's own, such as that of a probe.
/// `service` is where it leads, if that is an address.
///
/// # Errors
/// Only if the header can not be put together, which is a fault of ours.
pub(super) fn proxy_header(
    version: ProxyVersion,
    visitor: Option<SocketAddr>,
    service: Option<SocketAddr>,
) -> io::Result<Vec<u8>> {
    let Some(visitor) = visitor else {
        return match version {
            ProxyVersion::V1 => Ok(b"PROXY UNKNOWN\r\n".to_vec()),
            ProxyVersion::V2 => v2::Builder::with_addresses(
                v2::Version::Two | v2::Command::Local,
                v2::Protocol::Unspecified,
                v2::Addresses::Unspecified,
            )
            .build(),
        };
    };
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let (source, destination) = one_family(visitor, service.unwrap_or(unknown));
    match version {
        ProxyVersion::V1 => Ok(v1::Addresses::from((source, destination)).to_string().into_bytes()),
        ProxyVersion::V2 => v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            (source, destination),
        )
        .build(),
    }
}

/// Both as IPv4 if both are, else both as IPv6: the header has one family for the two.
fn one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (from, to),
        _ => (mapped(from), mapped(to)),
    };
    (SocketAddr::new(from, source.port()), SocketAddr::new(to, destination.port()))
}

fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: ProxyVersion, visitor: &str, service: &str) -> Vec<u8> {
        let address = |text: &str| text.parse().ok();
        proxy_header(version, address(visitor), address(service)).unwrap()
    }

    #[test]
    fn a_line_for_version_1() {
        let line = |visitor, service| String::from_utf8(header(ProxyVersion::V1, visitor, service)).unwrap();
        assert_eq!(line("192.0.2.1:4000", "127.0.0.1:25"), "PROXY TCP4 192.0.2.1 127.0.0.1 4000 25\r\n");
        assert_eq!(line("[2001:db8::1]:4000", "[::1]:25"), "PROXY TCP6 2001:db8::1 ::1 4000 25\r\n");
        assert!(line("[2001:db8::1]:4000", "127.0.0.1:25").starts_with("PROXY TCP6 2001:db8::1 "));
        assert_eq!(line("", "127.0.0.1:25"), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn bytes_for_version_2() {
        let bytes = header(ProxyVersion::V2, "192.0.2.1:4000", "127.0.0.1:25");
        assert_eq!(bytes[..12], *b"\r\n\r\n\0\r\nQUIT\n");
        assert_eq!(bytes[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(bytes[16..], [192, 0, 2, 1, 127, 0, 0, 1, 0x0F, 0xA0, 0, 25]);
        let local = header(ProxyVersion::V2, "", "127.0.0.1:25");
        assert_eq!(local[12..], [0x20, 0, 0, 0]);
    }
}
