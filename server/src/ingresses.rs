//! The listeners of `[[tcp]]` and `[[tls]]`: bound, and what becomes of their connections. One whose address is in use is
//! down, and tried again.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use ops::metrics::Metrics;
use parking_lot::Mutex;
use policy::host_pattern::HostPattern;
use tokio_util::sync::CancellationToken;

use crate::config::{Document, RelayListen};
use crate::listeners::{BindError, Listeners};
use crate::registry::Relays;
use crate::settings::Listen;

/// How often an address that is in use is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// The addresses that could not be bound yet, and why. A clone is the same list.
#[derive(Debug, Clone, Default)]
pub struct Down(Arc<Mutex<BTreeMap<SocketAddr, String>>>);

impl Down {
    /// Why the listener of this address is down; none if it is not.
    #[must_use]
    pub fn why(&self, address: &str) -> Option<String> {
        self.0.lock().get(&address.parse::<SocketAddr>().ok()?).cloned()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Ingresses {
    /// One for each `[[tcp]]`, in that order.
    tcp: Vec<Ingress>,
    /// One for each address of `[[tls]]`.
    tls: Vec<Ingress>,
    /// Those that are down.
    pub(crate) down: Down,
}

/// One listener.
#[derive(Debug)]
pub(crate) struct Ingress {
    /// What decides where its connections go.
    pub(crate) kind: IngressKind,
    /// As bound.
    pub(crate) address: SocketAddr,
    /// Trusted peers say in front who the visitor is.
    pub(crate) proxy_protocol: bool,
    /// None while it is down.
    pub(crate) sockets: Vec<TcpListener>,
    /// As written.
    listen: RelayListen,
}

/// What decides where the connections of a listener go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IngressKind {
    /// The listener.
    Tcp,
    /// The name that TLS asks for.
    Tls,
}

impl IngressKind {
    /// `tcp` or `tls`, as in the file.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

impl Ingresses {
    /// Binds those of `document`.
    ///
    /// # Errors
    /// The first that can not be bound, for another reason than that somebody else is there.
    pub(crate) fn bind(document: &Document) -> Result<Self, BindError> {
        let down = Down::default();
        let bind = |kind, listen| Ingress::bind(kind, listen, &down);
        let tcp = document.tcp.iter().map(|entrance| bind(IngressKind::Tcp, entrance.listen));
        let tcp = tcp.collect::<Result<_, _>>()?;
        let mut tls: Vec<Ingress> = Vec::new();
        for listen in document.tls.iter().filter_map(|passthrough| passthrough.listen) {
            if tls.iter().all(|known| known.listen != listen) {
                tls.push(bind(IngressKind::Tls, listen)?);
            }
        }
        Ok(Self { tcp, tls, down })
    }

    /// Their ports.
    pub(crate) fn ports(&self) -> HashSet<u16> {
        self.tcp.iter().chain(&self.tls).map(|ingress| ingress.address.port()).collect()
    }

    /// Where their connections go, as `document` says, and those for which TLS does not end at `https`.
    pub(crate) fn relays(&self, document: &Document, https: Option<SocketAddr>, metrics: &Metrics) -> Relays {
        let own = |listen| self.tls.iter().find(|ingress| ingress.listen == listen);
        let mut relays = passed(document, https, metrics, |listen| Some(own(listen)?.address));
        for (entrance, ingress) in document.tcp.iter().zip(&self.tcp) {
            relays.add_tcp(ingress.address, &entrance.to, metrics);
        }
        relays
    }
}

/// Where TLS goes that does not end here: at the address that `bound` says for each listener, or else at `https`.
pub(crate) fn passed(
    document: &Document,
    https: Option<SocketAddr>,
    metrics: &Metrics,
    bound: impl Fn(RelayListen) -> Option<SocketAddr>,
) -> Relays {
    let ruled = document.rules.iter().filter_map(|rule| match &rule.matcher.host {
        Some(HostPattern::Exact(host)) => Some(host.clone()),
        _ => None,
    });
    let mut relays = Relays::new(https, ruled.collect());
    for passthrough in &document.tls {
        if let Some(listener) = passthrough.listen.map_or(https, &bound) {
            relays.add_tls(listener, &passthrough.host, &passthrough.to, metrics);
        }
    }
    relays
}

impl Ingress {
    fn bind(kind: IngressKind, listen: RelayListen, down: &Down) -> Result<Self, BindError> {
        let mut ingress = Self {
            kind,
            address: listen.address,
            proxy_protocol: listen.proxy_protocol,
            sockets: Vec::new(),
            listen,
        };
        match ingress.try_bind() {
            Ok(()) => {}
            // It may be free, or the machine's, in a moment: that keeps nobody else waiting.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) =>
            {
                tracing::warn!(%error, "a listener is down, and tried again");
                down.0.lock().insert(listen.address, error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(ingress)
    }

    fn try_bind(&mut self) -> Result<(), BindError> {
        let flag = match self.kind {
            IngressKind::Tcp => "tcp.listen",
            IngressKind::Tls => "tls.listen",
        };
        let bound = Listeners::bind(flag, &Listen::at(self.listen.address))?;
        self.address = bound.first().unwrap_or(self.listen.address);
        self.sockets = bound.sockets;
        Ok(())
    }

    /// Binds what was down, as soon as it can be; none if `stop` comes before that.
    pub(crate) async fn bound(mut self, down: &Down, stop: &CancellationToken) -> Option<Self> {
        while self.sockets.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(RETRY) => {}
            }
            match self.try_bind() {
                Ok(()) => {
                    tracing::info!(listener = %self.address, "a listener that was down is up");
                    down.0.lock().remove(&self.listen.address);
                }
                Err(error) => {
                    down.0.lock().insert(self.listen.address, error.to_string());
                }
            }
        }
        Some(self)
    }
}

impl IntoIterator for Ingresses {
    type Item = Ingress;
    type IntoIter = std::iter::Chain<std::vec::IntoIter<Ingress>, std::vec::IntoIter<Ingress>>;

    fn into_iter(self) -> Self::IntoIter {
        self.tcp.into_iter().chain(self.tls)
    }
}
