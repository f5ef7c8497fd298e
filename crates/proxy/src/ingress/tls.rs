//! The listener for TLS that ends at services: the name that the visitor asks for (SNI) decides which one. Nothing of the
//! connection is taken before that, so that the service gets all of it.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;

use ops::metrics::{GuardReason, IngressMetrics};
use policy::host::Host;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use transport::accept::{Accepted, Listener, accept_loop};
use transport::socket;

use super::alert::{Alert, refuse};
use super::entrance::Gate;
use super::relaying::Relaying;
use crate::context::Context;
use crate::directory::Public;
use crate::dispatch::Dispatch;

/// Takes visitors in at one listener, and connects them through the members that serve the name they ask for.
#[derive(Debug, Clone)]
pub struct TlsIngress {
    listener: SocketAddr,
    relaying: Relaying,
    metrics: IngressMetrics,
    gate: Gate,
}

/// A visitor whose first words were heard.
struct Heard {
    peer: SocketAddr,
    wish: Wish,
}

/// What it asked for.
enum Wish {
    /// TLS for a name that is somebody's.
    Known(Host),
    /// For one that is nobody's.
    Unknown(Option<Host>),
    /// For none.
    Nameless,
}

impl TlsIngress {
    /// An ingress for the listener of the configuration that is bound to `listener`, called `name` in metrics. Visitors come
    /// in by `gate`, as far as PROXY headers and patience are concerned.
    #[must_use]
    pub fn new(
        name: &str,
        listener: SocketAddr,
        dispatch: Arc<Dispatch>,
        context: Context,
        gate: impl Into<Gate>,
    ) -> Self {
        let metrics = context.metrics.ingress(name);
        Self { listener, relaying: Relaying::new(dispatch, context), metrics, gate: gate.into() }
    }

    /// Accepts on `listener` until `stop`, which should be a child of the drain's start; `permits` bounds the connections
    /// that live at once. The connections go on after it returns.
    pub async fn run(&self, listener: Listener, permits: Arc<Semaphore>, stop: CancellationToken) {
        let context = self.relaying.context();
        let accepted = |accepted: Accepted| {
            let Accepted { stream, peer, permit } = accepted;
            let spawner = &context.spawner;
            spawner.spawn(spawner.next_worker(), "visitor", self.clone().connection(stream, peer, permit));
        };
        let failed = |error: &io::Error| {
            context.metrics.accept_error();
            tracing::warn!(%error, listener = %self.listener, "accepting visitors fails");
        };
        accept_loop(&listener, permits, stop, accepted, failed).await;
    }

    async fn connection(self, stream: StdStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let active = self.metrics.connection();
        let context = self.relaying.context();
        let heard = tokio::select! {
            biased;
            () = context.drain.now.cancelled() => None,
            heard = self.hear(&stream, peer) => heard,
        };
        let Some(Heard { peer, wish }) = heard else { return socket::abort(stream) };
        let alert = match wish {
            Wish::Known(host) => {
                let Ok(stream) = stream.into_std() else { return };
                let to = Public::Tls(self.listener, host);
                return self.relaying.start(stream, peer, to, (permit, active));
            }
            Wish::Unknown(host) => {
                let to =
                    host.map_or(Public::Listener(self.listener), |host| Public::Tls(self.listener, host));
                self.relaying.unknown(peer, &to);
                Alert::UnrecognizedName
            }
            Wish::Nameless => {
                context.metrics.guard_closed(GuardReason::Tls);
                Alert::MissingExtension
            }
        };
        tokio::select! {
            biased;
            () = context.drain.now.cancelled() => {}
            () = refuse(stream, alert, context.timeouts().linger) => {}
        }
    }

    /// None: it did not make sense, or not in time.
    async fn hear(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Heard> {
        let metrics = &self.relaying.context().metrics;
        let entrance = self.gate.held();
        let peer = entrance.source(stream, peer, metrics).await?;
        let hello = entrance.hello(stream, metrics).await?;
        let wish = match hello.server_name.as_deref().map(Host::parse) {
            None => Wish::Nameless,
            Some(Ok(host)) if self.relaying.dispatch().passes(self.listener, &host) => Wish::Known(host),
            Some(host) => Wish::Unknown(host.ok()),
        };
        Some(Heard { peer, wish })
    }
}
