//! Where clients are told to go.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use policy::host::Host;
use protocol::join::{HostPort, HostPortError};

/// Why clients can not be told to go there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertiseError {
    /// It is not HOST:PORT.
    #[error("{text:?}: {error}, as in tunnel.example.com:7443")]
    Form {
        /// What was given.
        text: String,
        /// What is wrong with it.
        error: HostPortError,
    },
    /// An address that means "all of them" is none to dial.
    #[error("{0:?} is no address that a client could dial")]
    Unspecified(String),
}

/// Reads `HOST:PORT`.
///
/// # Errors
/// What is wrong with it.
pub fn advertise(text: &str) -> Result<HostPort, AdvertiseError> {
    let address: HostPort =
        text.parse().map_err(|error| AdvertiseError::Form { text: text.to_owned(), error })?;
    match address.host().parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(AdvertiseError::Unspecified(text.to_owned())),
        _ => Ok(address),
    }
}

/// What the tunnel listener implies: its address, or where it listens on all of them 127.0.0.1 for the domain
/// `localhost` and else the domain.
///
/// # Errors
/// Never: an address with a port, and a host name with one, are both HOST:PORT.
pub fn implied(listener: SocketAddr, domain: &Host, local: bool) -> Result<HostPort, HostPortError> {
    let port = listener.port();
    match listener.ip() {
        ip if !ip.is_unspecified() => listener.to_string().parse(),
        _ if local => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port).to_string().parse(),
        _ => format!("{domain}:{port}").parse(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_a_port() {
        for text in ["tunnel.example.com:7443", "127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(advertise(text).unwrap().to_string(), text);
        }
        for text in ["tunnel.example.com", "a:0", "a:x", "::1:80", ":80", "a b:80"] {
            assert!(matches!(advertise(text), Err(AdvertiseError::Form { .. })), "{text}");
        }
        for text in ["0.0.0.0:7443", "[::]:7443"] {
            assert!(matches!(advertise(text), Err(AdvertiseError::Unspecified(_))), "{text}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_implies_the_domain() {
        let domain = Host::parse("t.example.com").unwrap();
        let all = "[::]:7443".parse().unwrap();
        assert_eq!(implied(all, &domain, false).unwrap().to_string(), "t.example.com:7443");
        assert_eq!(implied(all, &domain, true).unwrap().to_string(), "127.0.0.1:7443");
        let one = "[2001:db8::1]:7443".parse().unwrap();
        assert_eq!(implied(one, &domain, false).unwrap().to_string(), "[2001:db8::1]:7443");
    }
}
