//! What a visitor's HTTP connection goes through before its first request: the PROXY header of a trusted peer, and TLS.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use ipnet::IpNet;
use ops::metrics::{GuardReason, Metrics};
use policy::host::Host;
use protocol::exchange::Scheme;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::client_hello::ClientHello;
use super::proxy_header;
use super::visitor::VisitorStream;
use super::{Arrival, Protocol};
use crate::directory::Public;
use crate::dispatch::Dispatch;

/// How visitors come in at one listener. The default is plain HTTP from peers that are believed nothing.
#[derive(Clone, Default)]
pub struct Entrance {
    /// TLS, if the listener speaks it.
    pub tls: Option<Arc<TlsEntrance>>,
    /// Trusted peers begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Peers that may say who the visitor is, by a PROXY header or `X-Forwarded-*`.
    pub trusted: Arc<[IpNet]>,
    /// Where all requests are sent instead of being served; `{host}` stands for the host.
    pub redirect: Option<Arc<str>>,
    /// The host that requests are for which name the listener by an IP address; without it they are for nobody.
    pub by_address: Option<Host>,
    /// How long a peer may take for the PROXY header and for the handshake, each; 5 s if this is zero.
    pub patience: Duration,
}

/// How visitors come in at a listener now: another configuration has another entrance there. A clone is the same gate.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<ArcSwap<Entrance>>);

impl Gate {
    /// The entrance of now.
    #[must_use]
    pub fn now(&self) -> Guard<Arc<Entrance>> {
        self.0.load()
    }

    /// From now on this one, for the next request of those who are in as well.
    pub fn replace(&self, entrance: Entrance) {
        self.0.store(Arc::new(entrance));
    }

    /// The entrance of now, to be held for longer.
    pub(super) fn held(&self) -> Arc<Entrance> {
        self.0.load_full()
    }
}

impl From<Arc<Entrance>> for Gate {
    fn from(entrance: Arc<Entrance>) -> Self {
        Self(Arc::new(ArcSwap::new(entrance)))
    }
}

impl From<Entrance> for Gate {
    fn from(entrance: Entrance) -> Self {
        Arc::new(entrance).into()
    }
}

/// Whether what was asked for by SNI, if anything, and a host go together.
pub type Covers = Box<dyn Fn(Option<&str>, &Host) -> bool + Send + Sync>;

/// TLS at a listener.
pub struct TlsEntrance {
    /// The listener's address, by which the directory knows whose TLS passes through.
    pub listener: SocketAddr,
    /// What visitors are shown.
    pub config: Arc<ServerConfig>,
    /// Whether a connection made for one name may carry requests for a host: both have the same certificate.
    pub covers: Covers,
    /// Takes connections of clients, which ask for `tunnel/1` by ALPN; nothing has been read of them.
    pub clients: Box<dyn Fn(StdStream, SocketAddr) + Send + Sync>,
}

/// A visitor that is in; who it is, as far as the transport knows.
pub(super) enum Entered {
    Plain(TcpStream, Arrival),
    Tls(Box<TlsStream<TcpStream>>, Arrival),
    /// Its TLS ends at a service; nothing of it has been read.
    Passed(TcpStream, SocketAddr, Public),
}

impl VisitorStream for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

const PATIENCE: Duration = Duration::from_secs(5);

impl Entrance {
    /// Whether `address` may say who a visitor is.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|net| net.contains(&address))
    }

    /// Whether a connection made for `sni` may carry requests for `host`.
    pub(super) fn covers(&self, sni: Option<&str>, host: &Host) -> bool {
        self.tls.as_ref().is_none_or(|tls| (tls.covers)(sni, host))
    }

    /// Who the visitor is: a trusted peer says so first, where that was agreed on. None: it does not, or not in time.
    pub(super) async fn source(
        &self,
        stream: &TcpStream,
        peer: SocketAddr,
        metrics: &Metrics,
    ) -> Option<SocketAddr> {
        if !self.proxy_protocol || !self.trusts(peer.ip()) {
            return Some(peer);
        }
        let header = timeout(self.patience(), proxy_header::take(stream)).await;
        // Without a source the proxy speaks for itself, as it does to find out whether we are there.
        Some(guard(header, metrics, GuardReason::BadHandshake)?.unwrap_or(peer))
    }

    /// How a visitor begins TLS; the bytes stay in the connection. None: it does not, or not in time.
    pub(super) async fn hello(&self, stream: &TcpStream, metrics: &Metrics) -> Option<ClientHello> {
        let hello = timeout(self.patience(), ClientHello::peek(stream)).await;
        guard(hello, metrics, GuardReason::Tls)
    }

    const fn patience(&self) -> Duration {
        if self.patience.is_zero() { PATIENCE } else { self.patience }
    }

    /// Takes a connection in. None: it was no visitor, and is closed or somebody else's.
    pub(super) async fn enter(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        dispatch: &Dispatch,
        metrics: &Metrics,
    ) -> Option<Entered> {
        let peer = self.source(&stream, peer, metrics).await?;
        let Some(tls) = &self.tls else {
            let arrival = Arrival { peer, scheme: Scheme::Http, protocol: None, sni: None };
            return Some(Entered::Plain(stream, arrival));
        };
        let hello = self.hello(&stream, metrics).await?;
        if hello.offers(protocol::handshake::ALPN) {
            // A descriptor that can not be handed over is as good as closed.
            if let Ok(stream) = stream.into_std() {
                (tls.clients)(stream, peer);
            }
            return None;
        }
        if let Some(host) = hello.server_name.as_deref().and_then(|name| Host::parse(name).ok())
            && dispatch.passes(tls.listener, &host)
        {
            return Some(Entered::Passed(stream, peer, Public::Tls(tls.listener, host)));
        }
        // Apart: a visitor without TLS holds no room for it.
        let accepted = Box::pin(TlsAcceptor::from(tls.config.clone()).accept(stream));
        let accepted = timeout(self.patience(), accepted).await;
        let stream = guard(accepted, metrics, GuardReason::Tls)?;
        let session = stream.get_ref().1;
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let sni = session.server_name().map(Arc::from);
        let arrival = Arrival { peer, scheme: Scheme::Https, protocol: Some(protocol), sni };
        Some(Entered::Tls(Box::new(stream), arrival))
    }
}

/// What came in time and made sense; the rest is counted.
fn guard<T, E>(result: Result<io::Result<T>, E>, metrics: &Metrics, reason: GuardReason) -> Option<T> {
    let reason = match result {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(_)) => reason,
        Err(_) => GuardReason::SlowHandshake,
    };
    metrics.guard_closed(reason);
    None
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance")
            .field("tls", &self.tls.is_some())
            .field("proxy_protocol", &self.proxy_protocol)
            .field("trusted", &self.trusted)
            .field("redirect", &self.redirect)
            .finish_non_exhaustive()
    }
}
