//! One tunnel as its user asked for it, and the words it is made of.

use std::net::IpAddr;

use http::HeaderValue;
use http::uri::Authority;
use ipnet::IpNet;
use policy::host::{Host, HostError};
use protocol::control::{Registration, RegistrationKind};
use protocol::limits::NAME_MAX;
use protocol::service_name::is_name;
use proxy::service::{Address, HostName, ServiceTarget, Speech};

/// What to make public, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// For people, logs and metrics; 1 to 64 bytes. Random hosts and picked ports are stable per name.
    pub name: String,
    /// What is wanted of the public side.
    pub kind: TunnelKind,
    /// The group to share the load with.
    pub group: Option<String>,
    /// Visitors that may come; empty: all.
    pub allow: Vec<IpNet>,
    /// Where the service listens, and what it speaks.
    pub to: ServiceTarget,
    /// What requests go through before the service gets them, in order; none for connections.
    pub plugins: Vec<String>,
}

/// What is wanted of the public side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TunnelKind {
    /// HTTP requests.
    Http {
        /// For this host; without, the server picks one.
        host: Option<String>,
        /// What the service sees as `Host`; without, what the visitor sent.
        set_host: Option<HeaderValue>,
    },
    /// TCP connections.
    Tcp {
        /// To this port; without, the server picks one.
        port: Option<u16>,
    },
}

/// Why a word of a tunnel is wrong. The user is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TunnelError {
    /// Not a host name.
    #[error("{0}")]
    Host(#[from] HostError),
    /// Not a port.
    #[error("{0:?} is not a port: it is a number from 1 to 65535")]
    Port(String),
    /// Not a value of `Host`.
    #[error("{0:?} is not HOST or HOST:PORT")]
    SetHost(String),
    /// Not the name of a group.
    #[error("{0:?} is not a group: names have 1 to {NAME_MAX} letters, digits, '.', '_' and '-'")]
    Group(String),
    /// Not the name of a tunnel.
    #[error("{0:?} is not a name: names have 1 to {NAME_MAX} letters, digits, '.', '_' and '-'")]
    Name(String),
    /// Not a range of addresses.
    #[error("{0:?} is not an address range: write 203.0.113.0/24, 2001:db8::/32 or one address")]
    Allow(String),
}

impl Tunnel {
    /// The name of the tunnel of `tunnelc http` and `tcp`: the same whenever the same is asked for.
    #[must_use]
    pub fn ad_hoc_name(kind: &str, to: &ServiceTarget) -> String {
        let to = match (to.speech, &to.address) {
            (Speech::Plain | Speech::Http, Address::Tcp { host: HostName::Localhost, port }) => {
                port.to_string()
            }
            (Speech::Plain | Speech::Http, address) => address.to_string(),
            (Speech::Https | Speech::H2c, _) => to.to_string(),
        };
        let words = to.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')));
        let words = std::iter::once(kind).chain(words.filter(|word| !word.is_empty()));
        words.collect::<Vec<_>>().join("-").chars().take(NAME_MAX).collect()
    }

    /// Whether the server picks the public address.
    #[must_use]
    pub fn is_picked(&self) -> bool {
        matches!(self.kind, TunnelKind::Http { host: None, .. } | TunnelKind::Tcp { port: None })
    }

    /// What the server is asked for, under the number `id`.
    #[must_use]
    pub fn registration(&self, id: u32) -> Registration {
        let kind = match &self.kind {
            TunnelKind::Http { host, .. } => RegistrationKind::Http { host: host.clone() },
            TunnelKind::Tcp { port } => RegistrationKind::Tcp { port: *port },
        };
        let allow = self.allow.iter().map(IpNet::to_string).collect();
        Registration { id, name: self.name.clone(), kind, group: self.group.clone(), allow }
    }
}

/// A public host: without a dot it is meant under the server's domain.
///
/// # Errors
/// What is wrong with it.
pub fn parse_host(text: &str) -> Result<String, TunnelError> {
    Ok(Host::parse(text)?.to_string())
}

/// A public port.
///
/// # Errors
/// It is none.
pub fn parse_port(text: &str) -> Result<u16, TunnelError> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| TunnelError::Port(text.to_owned()))
}

/// What a service sees as `Host`.
///
/// # Errors
/// It is none.
pub fn parse_set_host(text: &str) -> Result<HeaderValue, TunnelError> {
    let wrong = || TunnelError::SetHost(text.to_owned());
    let authority: Authority = text.parse().map_err(|_| wrong())?;
    if authority.as_str().contains('@') {
        return Err(wrong());
    }
    HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())
}

/// The name of a group.
///
/// # Errors
/// It is none.
pub fn parse_group(text: &str) -> Result<String, TunnelError> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(TunnelError::Group(text.to_owned())) }
}

/// The name of a tunnel.
///
/// # Errors
/// It is none.
pub fn parse_name(text: &str) -> Result<String, TunnelError> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(TunnelError::Name(text.to_owned())) }
}

/// A range of visitors' addresses, or one address.
///
/// # Errors
/// It is none.
pub fn parse_allow(text: &str) -> Result<IpNet, TunnelError> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|net| net.trunc())
        .map_err(|_| TunnelError::Allow(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ad_hoc_names_are_stable_and_short() {
        let name = |kind, to: &str| Tunnel::ad_hoc_name(kind, &to.parse().unwrap());
        assert_eq!(name("http", "3000"), "http-3000");
        assert_eq!(name("http", "http://localhost:3000/"), "http-3000");
        assert_eq!(name("http", "https://localhost:3000/"), "http-https-localhost-3000");
        assert_eq!(name("tcp", "10.0.0.5:22"), "tcp-10.0.0.5-22");
        assert_eq!(name("tcp", "[::1]:22"), "tcp-1-22");
        assert_eq!(name("http", "unix:/run/app.sock"), "http-unix-run-app.sock");
        assert_eq!(name("http", &format!("unix:/{}", "x".repeat(90))).len(), NAME_MAX);
        assert!(is_name(&name("http", "unix:/a b/ü")));
    }

    #[test]
    fn words() {
        assert_eq!(parse_host("Demo").unwrap(), "demo");
        assert_eq!(parse_allow("203.0.113.7/24").unwrap().to_string(), "203.0.113.0/24");
        assert_eq!(parse_allow("::1").unwrap().to_string(), "::1/128");
        assert_eq!(parse_set_host("localhost:3000").unwrap(), "localhost:3000");
        assert!(parse_host("a_b").is_err());
        assert!(parse_set_host("a@b").is_err());
        assert!(parse_set_host("a/b").is_err());
        assert!(parse_allow("x").is_err());
        assert!(parse_group("").is_err());
    }
}
