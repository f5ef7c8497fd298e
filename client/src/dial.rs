//! From the address of a server to a session.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use protocol::join::HostPort;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use transport::handshake::{HelloDraft, LoggedIn, LoginError, Place, login};
use transport::login_key::LoginKey;

use crate::hints;

/// For looking up a name, and again for connecting to the addresses that it has.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Until the next address of a name is tried beside those before it (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// Why an attempt gave no session. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The name has no address.
    #[error("cannot find the address of {server}: {error}; is the name right, and is the network up?")]
    Resolve {
        server: HostPort,
        #[source]
        error: io::Error,
    },
    /// Nobody accepts connections there.
    #[error("cannot reach {server}: {error}; does tunneld run there, and is the port open?")]
    Connect {
        server: HostPort,
        #[source]
        error: io::Error,
    },
    /// Neither yes nor no.
    #[error("cannot reach {server}: no answer within 5 s; is the port open in the firewall?")]
    Timeout { server: HostPort },
    /// TLS has no word for the name.
    #[error("{server} is not a name that a certificate can have")]
    Name { server: HostPort },
    /// The connection stood, the login failed.
    #[error("{server}: {error}{}", hints::after_login(error))]
    Login {
        server: HostPort,
        #[source]
        error: LoginError,
    },
}

impl DialError {
    /// Whether trying again does not help before somebody has changed something.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Login { error, .. } => error.is_final(),
            Self::Name { .. } => true,
            Self::Resolve { .. } | Self::Connect { .. } | Self::Timeout { .. } => false,
        }
    }
}

/// Dials `server`, whose name is looked up now, and logs in. The session lives in `place`.
pub(crate) async fn dial(
    server: &HostPort,
    tls: Arc<ClientConfig>,
    draft: HelloDraft,
    key: &LoginKey,
    place: Place<'_>,
) -> Result<LoggedIn, DialError> {
    let name = ServerName::try_from(server.host().to_owned())
        .map_err(|_| DialError::Name { server: server.clone() })?;
    let timed_out = |_| DialError::Timeout { server: server.clone() };
    let found =
        timeout(STEP_TIMEOUT, lookup_host((server.host(), server.port()))).await.map_err(timed_out)?;
    let found = found.map_err(|error| DialError::Resolve { server: server.clone(), error })?;
    let stream = timeout(STEP_TIMEOUT, connect(found)).await.map_err(timed_out)?;
    let stream = stream.map_err(|error| DialError::Connect { server: server.clone(), error })?;
    login(stream, name, tls, draft, key, place)
        .await
        .map_err(|error| DialError::Login { server: server.clone(), error })
}

/// The first connection that stands; addresses are tried in their order, each a moment after the one before it.
async fn connect(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.peekable();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    attempts.extend(addresses.next().map(TcpStream::connect));
    loop {
        let more = addresses.peek().is_some();
        tokio::select! {
            ended = attempts.next(), if !attempts.is_empty() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => {}
            },
            () = sleep(STAGGER), if more && !attempts.is_empty() => {}
            else => return Err(failure),
        }
        attempts.extend(addresses.next().map(TcpStream::connect));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_first_address_that_answers_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let good = listener.local_addr().unwrap();
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
        let stream = connect([closed, closed, good].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let error = connect([closed].into_iter()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect([].into_iter()).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
