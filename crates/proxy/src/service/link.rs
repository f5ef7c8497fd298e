//! How one server of a service is connected to: address, TLS, PROXY protocol.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use policy::part::ProxyVersion;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use transport::relay::LocalStream;

use super::connection::ServiceIo;
use super::dial::connect;
use super::proxy_header::proxy_header;
use super::trust::{H2, ServerTls};
use super::{Address, DialError, ServiceTarget, Speech};
use crate::context::Waits;

/// How one server is connected to.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) target: ServiceTarget,
    /// For a target that speaks TLS.
    pub(super) tls: Option<ServerTls>,
    pub(super) send_proxy: Option<ProxyVersion>,
    /// Of which a connection may take `dial` in all.
    pub(super) waits: Waits,
}

/// A connection for HTTP.
pub(super) struct Connected {
    pub(super) io: ServiceIo,
    /// Whether HTTP/2 is spoken on it.
    pub(super) http2: bool,
}

impl Link {
    /// What a connection may take in all.
    pub(super) fn limit(&self) -> Duration {
        self.waits.now().dial
    }

    /// A connection for raw bytes on behalf of `visitor`.
    pub(super) async fn raw(&self, visitor: Option<SocketAddr>) -> Result<LocalStream, DialError> {
        timeout(self.limit(), self.introduced(visitor)).await.unwrap_or(Err(DialError::Timeout))
    }

    async fn introduced(&self, visitor: Option<SocketAddr>) -> Result<LocalStream, DialError> {
        let mut stream = connect(&self.target.address).await?;
        if let Some(version) = self.send_proxy {
            let header = proxy_header(version, visitor, peer(&stream)).map_err(DialError::Refused)?;
            stream.write_all(&header).await.map_err(DialError::Refused)?;
        }
        Ok(stream)
    }

    /// What a request of our own says as its host.
    pub(super) fn authority(&self) -> String {
        match &self.target.address {
            address @ Address::Tcp { .. } => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        }
    }

    /// A connection for HTTP on behalf of `visitor`. `http1`: HTTP/2 is of no use.
    pub(super) async fn http(
        &self,
        visitor: Option<SocketAddr>,
        http1: bool,
    ) -> Result<Connected, DialError> {
        timeout(self.limit(), self.secured(visitor, http1)).await.unwrap_or(Err(DialError::Timeout))
    }

    async fn secured(&self, visitor: Option<SocketAddr>, http1: bool) -> Result<Connected, DialError> {
        let stream = self.introduced(visitor).await?;
        let Some(tls) = &self.tls else {
            let http2 = self.target.speech == Speech::H2c && !http1;
            return Ok(Connected { io: stream.into(), http2 });
        };
        let (connector, name) = tls.connector(http1);
        let stream = connector.connect(name, stream).await.map_err(DialError::Tls)?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        Ok(Connected { io: stream.into(), http2 })
    }
}

fn peer(stream: &LocalStream) -> Option<SocketAddr> {
    let address: io::Result<SocketAddr> = match stream {
        LocalStream::Tcp(stream) => stream.peer_addr(),
        LocalStream::Unix(_) => return None,
    };
    address.ok()
}
