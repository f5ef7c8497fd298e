//! Where a service listens: TARGET of the command line, `to` and `address` of the configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

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
    /// A scheme that will come.
    #[error("{scheme}:// services are not in this version; http://HOST:PORT and unix:/PATH are")]
    NotInThisVersion {
        /// `https` or `h2c`.
        scheme: String,
    },
    /// Any other scheme.
    #[error(
        "{scheme}:// is not a service that can be reached: write a port (3000), HOST:PORT, http://HOST:PORT or unix:/PATH"
    )]
    UnknownScheme {
        /// The scheme.
        scheme: String,
    },
    /// `http://` where raw bytes are relayed.
    #[error("a TCP tunnel relays raw bytes: write HOST:PORT without http://")]
    HttpForTcp,
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
    /// Reads the address of a service for HTTP: `3000`, `host:3000`, `http://host[:port]` or `unix:/path`.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse_http(text: &str) -> Result<Self, AddressError> {
        parse(text, Some(80))
    }

    /// Reads the address of a service for raw bytes: `22`, `host:22` or `unix:/path`.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse_tcp(text: &str) -> Result<Self, AddressError> {
        parse(text, None)
    }
}

/// `http_port` is the port of an `http://` URL that states none; none if such a URL is no address here.
fn parse(text: &str, http_port: Option<u16>) -> Result<Address, AddressError> {
    if text.is_empty() {
        return Err(AddressError::Empty);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        // `unix:///run/app.sock` is how URLs write it.
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.starts_with('/') {
            Ok(Address::Unix(path.into()))
        } else {
            Err(AddressError::RelativePath(path.to_owned()))
        };
    }
    let (rest, port) = match text.split_once("://") {
        None => (text, None),
        Some((scheme, rest)) => match (scheme.to_ascii_lowercase().as_str(), http_port) {
            ("http", Some(port)) => (rest, Some(port)),
            ("http", None) => return Err(AddressError::HttpForTcp),
            ("https" | "h2c", _) => {
                return Err(AddressError::NotInThisVersion { scheme: scheme.to_ascii_lowercase() });
            }
            _ => return Err(AddressError::UnknownScheme { scheme: scheme.to_owned() }),
        },
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if !matches!(path, "" | "/") {
        return Err(AddressError::Path(path.to_owned()));
    }
    if authority.contains('@') {
        return Err(AddressError::UserInfo);
    }
    authority_of(authority, port)
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

impl FromStr for Address {
    type Err = AddressError;

    /// As [`Address::parse_http`].
    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse_http(text)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_all_their_forms() {
        for (text, canonical) in [
            ("3000", "localhost:3000"),
            ("localhost:3000", "localhost:3000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:3000", "[::1]:3000"),
            ("http://app_1.lan", "app_1.lan:80"),
            ("HTTP://127.0.0.1:8080/", "127.0.0.1:8080"),
            ("http://[::1]", "[::1]:80"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:///run/app.sock", "unix:/run/app.sock"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), canonical);
            assert_eq!(Address::parse_tcp(canonical).unwrap(), address, "{canonical}");
        }
    }

    #[test]
    fn what_is_no_target_says_what_to_write() {
        type E = AddressError;
        let own = str::to_owned;
        for (text, error) in [
            ("", E::Empty),
            ("https://a:1", E::NotInThisVersion { scheme: own("https") }),
            ("H2C://a:1", E::NotInThisVersion { scheme: own("h2c") }),
            ("ftp://a", E::UnknownScheme { scheme: own("ftp") }),
            ("localhost", E::NoPort(own("localhost"))),
            ("a:0", E::BadPort(own("0"))),
            ("a:+1", E::BadPort(own("+1"))),
            ("70000", E::BadPort(own("70000"))),
            ("a:", E::BadPort(own(""))),
            ("::1:3000", E::BadHost(own("::1:3000"))),
            (":80", E::BadHost(own(":80"))),
            ("a b:80", E::BadHost(own("a b:80"))),
            ("http://a/path", E::Path(own("/path"))),
            ("http://u:p@a", E::UserInfo),
            ("unix:app.sock", E::RelativePath(own("app.sock"))),
        ] {
            assert_eq!(Address::parse_http(text), Err(error), "{text}");
        }
        assert_eq!(Address::parse_tcp("http://a:80"), Err(E::HttpForTcp));
    }
}
