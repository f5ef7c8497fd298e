//! The listener for raw TCP: a public port leads to one service.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;

use ops::metrics::{GaugeGuard, IngressMetrics};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use transport::accept::{Accepted, Listener, accept_loop};
use transport::socket;

use super::entrance::Gate;
use super::relaying::Relaying;
use crate::context::Context;
use crate::directory::Public;
use crate::dispatch::Dispatch;

/// Takes visitors in on one public port, and connects them through the members that serve it.
#[derive(Debug, Clone)]
pub struct TcpIngress {
    public: Public,
    relaying: Relaying,
    metrics: IngressMetrics,
    gate: Gate,
}

impl TcpIngress {
    /// An ingress for what `public` leads to, called `name` in metrics.
    #[must_use]
    pub fn new(name: &str, public: Public, dispatch: Arc<Dispatch>, context: Context) -> Self {
        let metrics = context.metrics.ingress(name);
        Self { public, relaying: Relaying::new(dispatch, context), metrics, gate: Gate::default() }
    }

    /// The same for visitors who come in by `gate`, as far as PROXY headers are concerned.
    #[must_use]
    pub fn by(self, gate: impl Into<Gate>) -> Self {
        Self { gate: gate.into(), ..self }
    }

    /// Accepts on `listener` until `stop`, which should be a child of the drain's start; `permits` bounds the connections
    /// that live at once. The connections go on after it returns.
    pub async fn run(&self, listener: Listener, permits: Arc<Semaphore>, stop: CancellationToken) {
        let context = self.relaying.context();
        let accepted = |accepted: Accepted| {
            let Accepted { stream, peer, permit } = accepted;
            let kept = (permit, self.metrics.connection());
            if self.gate.now().proxy_protocol {
                let spawner = &context.spawner;
                spawner.spawn(spawner.next_worker(), "visitor", self.clone().behind(stream, peer, kept));
            } else {
                self.relaying.start(stream, peer, self.public.clone(), kept);
            }
        };
        let failed = |error: &io::Error| {
            context.metrics.accept_error();
            tracing::warn!(%error, port = self.public.port(), "accepting visitors fails");
        };
        accept_loop(&listener, permits, stop, accepted, failed).await;
    }

    /// A visitor whose proxy says first who it is.
    async fn behind(self, stream: StdStream, peer: SocketAddr, kept: (OwnedSemaphorePermit, GaugeGuard)) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let context = self.relaying.context();
        let entrance = self.gate.held();
        let source = tokio::select! {
            biased;
            () = context.drain.now.cancelled() => None,
            source = entrance.source(&stream, peer, &context.metrics) => source,
        };
        match (source, stream) {
            (Some(peer), stream) => {
                // A descriptor that can not be handed over is as good as closed.
                let Ok(stream) = stream.into_std() else { return };
                self.relaying.start(stream, peer, self.public, kept);
            }
            (None, stream) => socket::abort(stream),
        }
    }
}
