//! Where a service listens: a host and a port, or a Unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port.
    Tcp {
        /// Whose.
        host: HostName,
        /// Which; never 0.
        port: u16,
    },
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

/// The host of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostName {
    /// An address: nothing to look up.
    Ip(IpAddr),
    /// This machine: both loopback addresses are tried, because services differ about which they listen on.
    Localhost,
    /// A name, looked up for every connection.
    Name(String),
}

/// Why a text is no address of a service. Each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing at all.
    #[error("the address of the service is empty: write a port (3000), HOST:PORT or unix:/PATH")]
    Empty,
    /// Any other scheme.
    #[error(
        "{scheme}:// is no service that can be reached: write a port (3000), HOST:PORT, http://, https:// or h2c://HOST:PORT, or unix:/PATH"
    )]
    UnknownScheme {
        /// The scheme.
        scheme: String,
    },
    /// `http://` and its like where raw bytes are relayed.
    #[error("a TCP tunnel relays raw bytes: write HOST:PORT without {scheme}://")]
    HttpForTcp {
        /// The scheme.
        scheme: String,
    },
    /// A name without a port.
    #[error("{0:?} has no port: write HOST:PORT, for example {0}:3000")]
    NoPort(String),
    /// A port that is none.
    #[error("{0:?} is not a port: it is a number from 1 to 65535")]
    BadPort(String),
    /// A host that is none.
    #[error("{0:?} is not a host name or address (IPv6 addresses go in brackets: [::1]:3000)")]
    BadHost(String),
    /// A URL with a path.
    #[error("the address of a service has no path: requests keep their own ({0:?})")]
    Path(String),
    /// User and password.
    #[error("the address of a service holds no user and no password")]
    UserInfo,
    /// A Unix socket by a relative path.
    #[error("the path of a Unix socket is absolute: unix:/run/app.sock, not unix:{0}")]
    RelativePath(String),
}

impl Address {
    /// Reads the address of a service for raw bytes: `22`, `host:22` or `unix:/path`.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse_tcp(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/app.sock` is how URLs write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(AddressError::RelativePath(path.to_owned()))
            };
        }
        match text.split_once("://") {
            None => Self::of_authority(text, None),
            Some((scheme, _)) => match scheme.to_ascii_lowercase() {
                known if matches!(known.as_str(), "http" | "https" | "h2c") => {
                    Err(AddressError::HttpForTcp { scheme: known })
                }
                _ => Err(AddressError::UnknownScheme { scheme: scheme.to_owned() }),
            },
        }
    }

    /// What stands behind a scheme, or where one could stand; `default_port` is the scheme's.
    pub(super) fn of_authority(text: &str, default_port: Option<u16>) -> Result<Self, AddressError> {
        let (authority, path) = text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()));
        if !matches!(path, "" | "/") {
            return Err(AddressError::Path(path.to_owned()));
        }
        if authority.contains('@') {
            return Err(AddressError::UserInfo);
        }
        authority_of(authority, default_port)
    }
}

fn authority_of(authority: &str, default_port: Option<u16>) -> Result<Address, AddressError> {
    let bad_host = || AddressError::BadHost(authority.to_owned());
    if !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_digit()) && default_port.is_none()
    {
        return Ok(Address::Tcp { host: HostName::Localhost, port: parse_port(authority)? });
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (inside, port) = rest.split_once(']').ok_or_else(bad_host)?;
            let address: Ipv6Addr = inside.parse().map_err(|_| bad_host())?;
            let port =
                if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(bad_host)?) };
            (HostName::Ip(address.into()), port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host_name(host).ok_or_else(bad_host)?, Some(port)),
            Some(_) => return Err(bad_host()),
            None => (host_name(authority).ok_or_else(bad_host)?, None),
        },
    };
    let port = match (port, default_port) {
        (Some(port), _) => parse_port(port)?,
        (None, Some(port)) => port,
        (None, None) => return Err(AddressError::NoPort(authority.to_owned())),
    };
    Ok(Address::Tcp { host, port })
}

fn parse_port(text: &str) -> Result<u16, AddressError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| digits && *port != 0);
    port.ok_or_else(|| AddressError::BadPort(text.to_owned()))
}

/// Names are looser than those of tunnels: underscores and one label are common in private networks.
fn host_name(text: &str) -> Option<HostName> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(HostName::Ip(address.into()));
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.eq_ignore_ascii_case("localhost") {
        return Some(HostName::Localhost);
    }
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let labels = text.split('.').all(|label| (1..=63).contains(&label.len()));
    (labels && text.len() <= 253 && text.bytes().all(known)).then(|| HostName::Name(text.to_owned()))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host: HostName::Ip(IpAddr::V6(address)), port } => write!(f, "[{address}]:{port}"),
            Self::Tcp { host: HostName::Ip(address), port } => write!(f, "{address}:{port}"),
            Self::Tcp { host: HostName::Localhost, port } => write!(f, "localhost:{port}"),
            Self::Tcp { host: HostName::Name(name), port } => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
