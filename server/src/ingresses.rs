//! The listeners of `[[tcp]]` and `[[tls]]`: bound, and what becomes of their connections.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};

use ops::metrics::Metrics;
use policy::host_pattern::HostPattern;

use crate::config::{Document, RelayListen};
use crate::listeners::{BindError, Listeners};
use crate::registry::Relays;
use crate::settings::Listen;

/// All of them.
#[derive(Debug)]
pub(crate) struct Ingresses {
    /// One for each `[[tcp]]`, in that order.
    tcp: Vec<Ingress>,
    /// One for each address of `[[tls]]`.
    tls: Vec<Ingress>,
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
    /// The first that can not be bound.
    pub(crate) fn bind(document: &Document) -> Result<Self, BindError> {
        let tcp = document.tcp.iter().map(|entrance| Ingress::bind(IngressKind::Tcp, entrance.listen));
        let tcp = tcp.collect::<Result<_, _>>()?;
        let mut tls: Vec<Ingress> = Vec::new();
        for listen in document.tls.iter().filter_map(|passthrough| passthrough.listen) {
            if tls.iter().all(|known| known.listen != listen) {
                tls.push(Ingress::bind(IngressKind::Tls, listen)?);
            }
        }
        Ok(Self { tcp, tls })
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
    fn bind(kind: IngressKind, listen: RelayListen) -> Result<Self, BindError> {
        let flag = match kind {
            IngressKind::Tcp => "tcp.listen",
            IngressKind::Tls => "tls.listen",
        };
        let bound = Listeners::bind(flag, &Listen::at(listen.address))?;
        let address = bound.first().unwrap_or(listen.address);
        let proxy_protocol = listen.proxy_protocol;
        Ok(Self { kind, address, proxy_protocol, sockets: bound.sockets, listen })
    }
}

impl IntoIterator for Ingresses {
    type Item = Ingress;
    type IntoIter = std::iter::Chain<std::vec::IntoIter<Ingress>, std::vec::IntoIter<Ingress>>;

    fn into_iter(self) -> Self::IntoIter {
        self.tcp.into_iter().chain(self.tls)
    }
}
