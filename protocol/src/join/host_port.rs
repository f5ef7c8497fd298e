//! `HOST:PORT`, as an operator writes it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::limits::HOST_MAX;

/// A host name or an address, and a port. Nothing is resolved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Why a text is no `HOST:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// No port.
    #[error("write HOST:PORT, with a port from 1 to 65535")]
    Port,
    /// No host, or one that can be neither a name nor an address.
    #[error("the host is a name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
}

impl HostPort {
    /// The host; an IPv6 address comes without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, from 1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = text.rsplit_once(':').ok_or(HostPortError::Port)?;
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(HostPortError::Port);
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(HostPortError::Port)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().map_err(|_| HostPortError::Host)?.to_string(),
            None if is_name(host) => host.to_owned(),
            None => return Err(HostPortError::Host),
        };
        Ok(Self { host, port })
    }
}

fn is_name(host: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(known)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_survive_their_text() {
        for text in ["tunnel.example.com:7443", "127.0.0.1:1", "[::1]:65535", "localhost:80"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("[0:0::1]:9".parse::<HostPort>().unwrap().host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "a", "a:", "a:0", "a:65536", "a:+1", "a:x", "a:1 "] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError::Port), "{text}");
        }
        for text in [":1", "::1:80", "[::1:80", "a/b:1", "a b:1", "[a]:1", "ä:1", "u@h:1"] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError::Host), "{text}");
        }
    }
}
