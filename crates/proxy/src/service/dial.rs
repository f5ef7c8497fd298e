//! Connecting to a service.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use protocol::code::Code;
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use transport::relay::LocalStream;
use transport::socket;

use super::{Address, HostName};

/// How long one address of a name is tried alone (RFC 8305 section 5): one that drops what comes does not use up the time
/// of those behind it.
const HEAD_START: Duration = Duration::from_millis(250);

/// Why there is no connection to a service.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody accepts connections there.
    #[error("the service refused the connection: {0}")]
    Refused(#[source] io::Error),
    /// The name of its host could not be resolved.
    #[error("the name of the service's host does not resolve: {0}")]
    Unresolved(#[source] io::Error),
    /// Resolving and connecting took too long.
    #[error("the service did not accept the connection in time")]
    Timeout,
    /// An address that belongs to the link or to the machine's cloud, where services of others answer with secrets.
    #[error("{0} is a link-local or metadata address, which a tunnel does not reach")]
    NotAllowed(IpAddr),
    /// The handshake failed, or the service is not the one to trust.
    #[error("TLS with the service failed: {0}")]
    Tls(#[source] io::Error),
    /// It was to speak HTTP/2, and does not.
    #[error("the service does not speak HTTP/2")]
    NotHttp2,
}

impl DialError {
    /// What the opener is told.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(_) | Self::Unresolved(_) => Code::SERVICE_REFUSED,
            Self::Timeout => Code::SERVICE_UNREACHABLE,
            Self::NotAllowed(_) => Code::NOT_ALLOWED,
            Self::Tls(_) => Code::SERVICE_TLS,
            Self::NotHttp2 => Code::SERVICE_CUT,
        }
    }

    /// The same in words, without addresses: they concern this end only.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Refused(_) => "the service refused the connection",
            Self::Unresolved(_) => "the name of the service's host does not resolve",
            Self::Timeout => "the service did not accept the connection in time",
            Self::NotAllowed(_) => "the service has an address that a tunnel does not reach",
            Self::Tls(_) => "TLS with the service failed",
            Self::NotHttp2 => "the service does not speak HTTP/2",
        }
    }
}

/// Connects to `address`, trying every address that its name has, within `limit` in all.
///
/// # Errors
/// [`DialError`]; with several addresses, that of the last one.
pub async fn dial(address: &Address, limit: Duration) -> Result<LocalStream, DialError> {
    timeout(limit, connect(address)).await.unwrap_or(Err(DialError::Timeout))
}

pub(super) async fn connect(address: &Address) -> Result<LocalStream, DialError> {
    match address {
        Address::Unix(path) => {
            UnixStream::connect(path).await.map(LocalStream::from).map_err(DialError::Refused)
        }
        Address::Tcp { host, port } => match host {
            HostName::Ip(ip) => connect_tcp([SocketAddr::new(*ip, *port)], Duration::MAX).await,
            HostName::Localhost => {
                let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
                // Somebody else may listen at the second: nobody but who is refused at the first is to come to it.
                connect_tcp(loopback.map(|ip| SocketAddr::new(ip, *port)), Duration::MAX).await
            }
            HostName::Name(name) => {
                let found = lookup_host((name.as_str(), *port)).await.map_err(DialError::Unresolved)?;
                connect_tcp(found, HEAD_START).await
            }
        },
    }
}

/// To the first of `addresses` that takes the connection; each is tried alone for `head_start`, or until it fails.
async fn connect_tcp(
    addresses: impl IntoIterator<Item = SocketAddr>,
    head_start: Duration,
) -> Result<LocalStream, DialError> {
    let mut failure = DialError::Unresolved(io::ErrorKind::NotFound.into());
    let (mut addresses, mut tried) = (addresses.into_iter(), FuturesUnordered::new());
    loop {
        match addresses.next() {
            Some(address) if is_forbidden(address.ip()) => {
                failure = DialError::NotAllowed(address.ip());
                continue;
            }
            Some(address) => tried.push(connect_to(address)),
            None if tried.is_empty() => return Err(failure),
            None => {}
        }
        match timeout(head_start, tried.next()).await {
            Ok(Some(Ok(stream))) => return Ok(stream.into()),
            Ok(Some(Err(error))) => failure = DialError::Refused(error),
            // The next one begins.
            Ok(None) | Err(_) => {}
        }
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    socket::tune(&stream, address.ip())?;
    Ok(stream)
}

/// Link-local addresses, and the metadata service of a cloud beyond them.
fn is_forbidden(address: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x254);
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_service_on_either_loopback_is_found() {
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(dial(&Address::Tcp { host: HostName::Localhost, port }, LIMIT).await.is_ok());
        drop(listener);
        let gone = dial(&Address::Tcp { host: HostName::Localhost, port }, LIMIT).await.unwrap_err();
        assert!(matches!(gone, DialError::Refused(_)), "{gone}");
        let unix = dial(&Address::Unix("/nonexistent/app.sock".into()), LIMIT).await.unwrap_err();
        assert_eq!(unix.code(), Code::SERVICE_REFUSED);
    }

    /// A port of 127.0.0.1 where a SYN is not answered, which is free at ::1.
    async fn stuck() -> (u16, TcpListener, (TcpListener, TcpStream)) {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            // Room for one connection, which nobody takes.
            let full = socket.listen(0).unwrap();
            let address = full.local_addr().unwrap();
            let only = TcpStream::connect(address).await.unwrap();
            if let Ok(other) = TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
                return (address.port(), other, (full, only));
            }
        }
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next_one() {
        let (port, other, _full) = stuck().await;
        let both = || {
            [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
                .map(|ip| SocketAddr::new(ip, port))
        };
        let reached = timeout(LIMIT, connect_tcp(both(), HEAD_START)).await.unwrap().unwrap();
        let LocalStream::Tcp(reached) = reached else { panic!("{reached:?}") };
        assert_eq!(reached.peer_addr().unwrap().ip(), Ipv6Addr::LOCALHOST);

        // Those of localhost need not be one and the same service: only who is refused goes on.
        let localhost = Address::Tcp { host: HostName::Localhost, port };
        let gone = dial(&localhost, 2 * HEAD_START).await.unwrap_err();
        assert!(matches!(gone, DialError::Timeout), "{gone}");
        assert_eq!(gone.code(), Code::SERVICE_UNREACHABLE);
        drop(other);
        timeout(2 * HEAD_START, connect_tcp(both(), HEAD_START)).await.unwrap_err();
    }

    #[tokio::test]
    async fn metadata_services_are_out_of_reach() {
        for address in
            ["169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80", "[::ffff:169.254.169.254]:80"]
        {
            let error = dial(&Address::parse_tcp(address).unwrap(), LIMIT).await.unwrap_err();
            assert_eq!(error.code(), Code::NOT_ALLOWED, "{address}");
        }
    }
}
