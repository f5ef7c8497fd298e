//! The other direction: a listener next to this client that leads to a service next to the server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use policy::part::IngressKind;
use protocol::limits::NAME_MAX;
use protocol::service_name::is_name;

/// A listener as its user asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// For people, logs and metrics; 1 to 64 bytes.
    pub name: String,
    /// What comes in.
    pub kind: IngressKind,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The service next to the server.
    pub to: String,
    /// What requests go through first, in order; none for connections.
    pub plugins: Vec<String>,
}

/// Why a word of a forward is wrong. The user is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// Not a place to listen at.
    #[error("{0:?} is no place to listen at: write a port (9000, on 127.0.0.1) or ADDRESS:PORT")]
    Listen(String),
    /// Not the name of a service.
    #[error(
        "{0:?} is not the name of a service next to the server: names have 1 to {NAME_MAX} letters, digits, '.', '_' and '-'; addresses are never reached"
    )]
    Service(String),
    /// Neither kind.
    #[error("{0:?} is no kind: write http or tcp")]
    Kind(String),
}

/// Where to listen: `9000`, which is `127.0.0.1:9000`, `localhost:9000`, or an address with a port.
///
/// # Errors
/// It is none of them.
pub fn parse_listen(text: &str) -> Result<SocketAddr, ForwardError> {
    let port = text.strip_prefix("localhost:").unwrap_or(text);
    let loopback = |port| SocketAddr::new(IpAddr::from(Ipv4Addr::LOCALHOST), port);
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let address = match port.parse::<u16>() {
        Ok(port) if digits => Ok(loopback(port)),
        _ => text.parse().map_err(|_| ForwardError::Listen(text.to_owned())),
    };
    address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// The name of a service next to the server.
///
/// # Errors
/// It is none.
pub fn parse_service(text: &str) -> Result<String, ForwardError> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(ForwardError::Service(text.to_owned())) }
}

/// `http` or `tcp`.
///
/// # Errors
/// It is neither.
pub fn parse_kind(text: &str) -> Result<IngressKind, ForwardError> {
    match text {
        "http" => Ok(IngressKind::Http),
        "tcp" => Ok(IngressKind::Tcp),
        _ => Err(ForwardError::Kind(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback() {
        for text in ["9000", "localhost:9000", "127.0.0.1:9000", "[::ffff:127.0.0.1]:9000"] {
            assert_eq!(parse_listen(text).unwrap().to_string(), "127.0.0.1:9000", "{text}");
        }
        assert_eq!(parse_listen("[::]:80").unwrap().to_string(), "[::]:80");
        for text in ["", "x", "host:80", "65536", "+80", "127.0.0.1"] {
            assert!(parse_listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_service_is_a_name_and_never_an_address() {
        assert_eq!(parse_service("billing").unwrap(), "billing");
        for text in ["", "web/app", "~/0", "10.0.0.5:8080", "http://10.0.0.5", "unix:/run/x"] {
            assert!(parse_service(text).is_err(), "{text}");
        }
    }
}
