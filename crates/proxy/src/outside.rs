//! A public URL as it is from outside: one request, made as a visitor makes it. For `doctor` of both programs.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::Uri;
use ops::doctor::{Page, VisitError, visit};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use transport::tls::{TlsError, Trust, service_config};

/// A public URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Whether it is `https`.
    pub secure: bool,
    /// The host, without brackets.
    pub host: String,
    /// The port, also where it is the usual one.
    pub port: u16,
    /// As it stands there: what goes into `Host`.
    authority: String,
}

/// Why a visitor gets nothing.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The name has no address.
    #[error("{host} has no address: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// Nobody accepts connections there.
    #[error("{address} can not be reached: {error}")]
    Connect {
        /// The last that was tried.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// TLS failed: mostly the certificate.
    #[error("TLS with {host} fails: {error}")]
    Tls {
        /// The name.
        host: String,
        /// What is wrong.
        error: io::Error,
    },
    /// TLS can not be tried: the system has no roots.
    #[error("{0}")]
    NoTls(#[from] TlsError),
    /// The connection stood, and no page came.
    #[error("{host}: {error}")]
    Visit {
        /// The name.
        host: String,
        /// What is wrong.
        error: VisitError,
    },
}

impl Outside {
    /// Takes `url` apart; nothing if it is none of `http` or `https`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Self { secure, host, port, authority: authority.as_str().to_owned() })
    }

    /// The addresses that visitors find for `host`, which is the URL's own or another one that leads there too. `localhost`
    /// and names under it are this machine (RFC 6761 section 6.3), whether the system knows or not.
    ///
    /// # Errors
    /// There is none, or not within `limit`.
    pub async fn addresses(&self, host: &str, limit: Duration) -> Result<Vec<SocketAddr>, OutsideError> {
        if host == "localhost" || host.ends_with(".localhost") {
            let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
            return Ok(loopback.map(|ip| SocketAddr::new(ip, self.port)).to_vec());
        }
        let failed = |error| OutsideError::Resolve { host: host.to_owned(), error };
        let found = timeout(limit, lookup_host((host, self.port))).await;
        let found = found.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        let found: Vec<_> = found.collect();
        match found.is_empty() {
            true => Err(failed(io::ErrorKind::NotFound.into())),
            false => Ok(found),
        }
    }

    /// What `path` is at the first of `addresses` that accepts a connection; every step within `limit`.
    ///
    /// # Errors
    /// See [`OutsideError`].
    pub async fn visit(
        &self,
        addresses: &[SocketAddr],
        path: &str,
        limit: Duration,
    ) -> Result<Page, OutsideError> {
        let host = || self.host.clone();
        let stream = connect(addresses, limit).await?;
        let visited = match self.secure {
            false => visit(stream, &self.authority, path, limit).await,
            true => {
                let failed = |error| OutsideError::Tls { host: host(), error };
                let name = ServerName::try_from(host()).map_err(|error| failed(io::Error::other(error)))?;
                let tls = TlsConnector::from(service_config(&Trust::System, &[b"http/1.1"])?);
                let stream = timeout(limit, tls.connect(name, stream)).await;
                let stream = stream.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
                visit(stream, &self.authority, path, limit).await
            }
        };
        visited.map_err(|error| OutsideError::Visit { host: host(), error })
    }
}

async fn connect(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, OutsideError> {
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    let mut failure = OutsideError::Connect { address: nowhere, error: io::ErrorKind::NotFound.into() };
    for &address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = OutsideError::Connect { address, error },
            Err(_) => failure = OutsideError::Connect { address, error: io::ErrorKind::TimedOut.into() },
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_in_its_parts_and_names_of_this_machine() {
        let parts = |url| Outside::parse(url).map(|it| (it.secure, it.host, it.port));
        assert_eq!(parts("http://a.localhost:8080"), Some((false, "a.localhost".to_owned(), 8080)));
        assert_eq!(parts("https://a.b/x"), Some((true, "a.b".to_owned(), 443)));
        assert_eq!(parts("http://[::1]"), Some((false, "::1".to_owned(), 80)));
        assert_eq!((parts("tcp://a:1"), parts("a.b")), (None, None));
        let url = Outside::parse("http://x.localhost:1").unwrap();
        let found = url.addresses("x.localhost", Duration::from_secs(1)).await.unwrap();
        assert_eq!(found, ["127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()]);
    }
}
