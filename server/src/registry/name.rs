//! What visitors ask for: a host, or a port.

use std::fmt;
use std::str::FromStr;

use policy::host::Host;

/// A public name, of which at most one principal is the owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// Requests for this host.
    Http(Host),
    /// Connections to this port.
    Tcp(u16),
}

/// The text is no name; a file of ours is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither http:HOST nor tcp:PORT")]
pub struct NameError(String);

impl Name {
    /// `http` or `tcp`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
        }
    }

    /// The host, or the port as text.
    #[must_use]
    pub fn public(&self) -> String {
        match self {
            Self::Http(host) => host.to_string(),
            Self::Tcp(port) => port.to_string(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(host) => write!(f, "http:{host}"),
            Self::Tcp(port) => write!(f, "tcp:{port}"),
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError(text.to_owned());
        match text.split_once(':').ok_or_else(error)? {
            ("http", host) => Host::parse(host).map(Self::Http).map_err(|_| error()),
            ("tcp", port) => port.parse().map(Self::Tcp).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_their_text() {
        for text in ["http:a.localhost", "tcp:2222"] {
            assert_eq!(text.parse::<Name>().unwrap().to_string(), text);
        }
        for text in ["", "a.localhost", "http:", "http:a_b", "tcp:x", "tcp:65536", "udp:1"] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }
}
