//! Where to listen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The addresses of one listener, all with the same port; port 0 takes a free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    addresses: Vec<IpAddr>,
    port: u16,
    /// Nobody asked for these very addresses: a machine without IPv6 does without its part.
    standard: bool,
    /// Nobody asked for anything.
    implied: bool,
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address to listen on; write IP:PORT (127.0.0.1:8080, [::]:8080) or only a PORT")]
pub struct ListenError(String);

impl Listen {
    /// The addresses that are listened on if nobody says otherwise.
    #[must_use]
    pub fn standard(addresses: &[IpAddr], port: u16) -> Self {
        Self { addresses: addresses.to_vec(), port, standard: true, implied: true }
    }

    /// This very address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { addresses: vec![address.ip()], port: address.port(), standard: false, implied: false }
    }

    /// Reads `IP:PORT`, or `PORT` for that port on the standard addresses.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str, standard: &[IpAddr]) -> Result<Self, ListenError> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::at(address));
        }
        match text.strip_prefix(':').unwrap_or(text).parse() {
            Ok(port) if text.bytes().all(|b| b.is_ascii_digit() || b == b':') => {
                Ok(Self { implied: false, ..Self::standard(standard, port) })
            }
            _ => Err(ListenError(text.to_owned())),
        }
    }

    /// Of its addresses only these.
    #[must_use]
    pub fn only(&self, addresses: Vec<IpAddr>) -> Self {
        Self { addresses, ..self.clone() }
    }

    /// Whether it is this very address, as written.
    #[must_use]
    pub fn is_at(&self, address: SocketAddr) -> bool {
        self.addresses == [address.ip()] && self.port == address.port()
    }

    /// Its port; 0 for any.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses to bind, in order.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The same with the port.
    pub fn sockets(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().map(|ip| SocketAddr::new(*ip, self.port))
    }

    /// Whether a socket that somebody else has opened at `address` is what was asked for.
    #[must_use]
    pub fn agrees_with(&self, address: SocketAddr) -> bool {
        let port = self.port == 0 || self.port == address.port();
        self.implied || port && (self.standard || self.addresses.contains(&address.ip()))
    }

    /// What to bind instead of `address` on a machine without IPv6: none if nothing may stand for it.
    #[must_use]
    pub fn without_ipv6(&self, address: IpAddr) -> Option<IpAddr> {
        (self.standard && address.is_ipv6() && address.is_unspecified())
            .then_some(Ipv4Addr::UNSPECIFIED.into())
    }

    /// Whether the listener is complete without `address` on a machine without IPv6.
    #[must_use]
    pub fn may_lack(&self, address: IpAddr) -> bool {
        self.standard && address.is_ipv6() && self.addresses.iter().any(IpAddr::is_ipv4)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn an_address_or_only_a_port() {
        let standard = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        let one = Listen::parse("[::]:80", &standard).unwrap();
        assert_eq!((one.addresses(), one.port()), (&[Ipv6Addr::UNSPECIFIED.into()][..], 80));
        assert_eq!(one.without_ipv6(Ipv6Addr::UNSPECIFIED.into()), None);
        for text in ["0", ":0"] {
            let both = Listen::parse(text, &standard).unwrap();
            assert_eq!((both.addresses(), both.port()), (&standard[..], 0));
            assert!(both.may_lack(Ipv6Addr::LOCALHOST.into()));
            assert!(!both.may_lack(Ipv4Addr::LOCALHOST.into()));
        }
        for text in ["", "x", "localhost:80", "1.2.3.4", "1.2.3.4:65536", "65536", "+80", "::80"] {
            assert!(Listen::parse(text, &standard).is_err(), "{text}");
        }
    }
}
