//! TLS with a service: whom it is trusted by, and which HTTP is agreed on.

use std::sync::Arc;

use policy::part::TlsPart;
use protocol::join::{Pin, PinError};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use transport::tls::{TlsError, Trust, service_config};

use super::{Address, HostName};

/// HTTP/2, as ALPN names it (RFC 9113 section 3.1).
pub(super) const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// Why TLS with a server can not be set up as it is written.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// No certificate in `ca`.
    #[error("`ca` holds no certificate: it is PEM, with BEGIN CERTIFICATE")]
    Ca,
    /// `pin` is none.
    #[error("`pin`: {0}")]
    Pin(#[from] PinError),
    /// Both of them.
    #[error("`ca` and `pin` exclude each other: a pin trusts one key, whoever signed it")]
    Both,
    /// `server_name` is none.
    #[error("`server_name`: {0:?} is not a host name")]
    ServerName(String),
    /// `tls` with something that speaks none.
    #[error("`tls` is for https://")]
    NotHttps,
    /// A Unix socket has no name to ask for.
    #[error("`server_name` is missing: a Unix socket has none")]
    NoName,
    /// The library refused it.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// How TLS with one server is set up.
#[derive(Debug, Clone)]
pub(super) struct ServerTls {
    name: ServerName<'static>,
    /// Offers HTTP/2 and HTTP/1.1.
    any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 only.
    http1: Arc<ClientConfig>,
}

impl ServerTls {
    /// As `part` says; without it by the roots of the system and the name in `address`.
    pub(super) fn new(address: &Address, part: Option<&TlsPart>) -> Result<Self, TrustError> {
        let trust = part.map_or(Ok(Trust::System), trust_of)?;
        let name = match part.and_then(|part| part.server_name.as_deref()) {
            Some(name) => server_name(name)?,
            None => match address {
                Address::Tcp { host: HostName::Ip(address), .. } => ServerName::IpAddress((*address).into()),
                Address::Tcp { host: HostName::Localhost, .. } => server_name("localhost")?,
                Address::Tcp { host: HostName::Name(name), .. } => server_name(name)?,
                Address::Unix(_) => return Err(TrustError::NoName),
            },
        };
        let any = service_config(&trust, &[H2, HTTP_11])?;
        Ok(Self { name, any, http1: service_config(&trust, &[HTTP_11])? })
    }

    /// What a handshake takes. `http1`: HTTP/2 is of no use.
    pub(super) fn connector(&self, http1: bool) -> (TlsConnector, ServerName<'static>) {
        let config = if http1 { &self.http1 } else { &self.any };
        (TlsConnector::from(config.clone()), self.name.clone())
    }
}

fn trust_of(part: &TlsPart) -> Result<Trust, TrustError> {
    match (&part.ca, &part.pin) {
        (None, None) => Ok(Trust::System),
        (Some(_), Some(_)) => Err(TrustError::Both),
        (None, Some(pin)) => Ok(Trust::Pins(vec![pin.parse::<Pin>()?])),
        (Some(ca), None) => {
            let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(ca.as_bytes()).collect();
            match roots {
                Ok(roots) if !roots.is_empty() => Ok(Trust::Roots(roots)),
                _ => Err(TrustError::Ca),
            }
        }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TrustError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TrustError::ServerName(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_trusted_by_says_why() {
        let address = Address::parse_tcp("app.lan:443").unwrap();
        let tls = |part: TlsPart| ServerTls::new(&address, Some(&part)).unwrap_err();
        let text = |text: &str| Some(text.to_owned());
        assert!(matches!(tls(TlsPart { ca: text("x"), ..TlsPart::default() }), TrustError::Ca));
        assert!(matches!(tls(TlsPart { pin: text("x"), ..TlsPart::default() }), TrustError::Pin(_)));
        let both = TlsPart { ca: text("x"), pin: text("x"), server_name: None };
        assert!(matches!(tls(both), TrustError::Both));
        let name = TlsPart { server_name: text("a b"), ..TlsPart::default() };
        assert!(matches!(tls(name), TrustError::ServerName(_)));
        let unix = ServerTls::new(&Address::parse_tcp("unix:/a").unwrap(), None);
        assert!(matches!(unix, Err(TrustError::NoName)));
    }
}
