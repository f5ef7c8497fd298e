//! The listener for HTTP/1.1.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ops::metrics::IngressMetrics;
use protocol::exchange::Scheme;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use transport::accept::{Accepted, accept_loop};

use super::connection::{Visitor, answer};
use super::visitor::{Visiting, VisitorIo};
use crate::context::Context;
use crate::dispatch::Dispatch;
use crate::headers::FacingVisitor;

/// What hyper reads ahead of a visitor, in bytes; a request head is no longer.
const READ_AHEAD: usize = 64 * 1024;

/// Takes visitors in, and answers their requests through the members that serve the hosts they ask for.
#[derive(Debug, Clone)]
pub struct HttpIngress {
    context: Context,
    dispatch: Arc<Dispatch>,
    metrics: IngressMetrics,
}

impl HttpIngress {
    /// An ingress called `name` in metrics.
    #[must_use]
    pub fn new(name: &str, dispatch: Arc<Dispatch>, context: Context) -> Self {
        let metrics = context.metrics.ingress(name);
        Self { context, dispatch, metrics }
    }

    /// Accepts on `listener` until `stop`, which should be a child of the drain's start; `permits` bounds the connections
    /// that live at once. The connections go on after it returns: they end when they are idle during a drain, or at its
    /// end.
    pub async fn run(&self, listener: TcpListener, permits: Arc<Semaphore>, stop: CancellationToken) {
        let accepted = |accepted: Accepted| {
            let Accepted { stream, peer, permit } = accepted;
            // A descriptor that can not be handed over is as good as closed.
            let Ok(stream) = stream.into_std() else { return };
            let spawner = &self.context.spawner;
            spawner.spawn(spawner.next_worker(), "visitor", self.clone().connection(stream, peer, permit));
        };
        let failed = |error: &std::io::Error| {
            self.context.metrics.accept_error();
            tracing::warn!(%error, "accepting visitors fails");
        };
        accept_loop(listener, permits, stop, accepted, failed).await;
    }

    async fn connection(self, stream: StdStream, peer: SocketAddr, _permit: OwnedSemaphorePermit) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let _active = self.metrics.connection();
        let Self { context, dispatch, .. } = self;
        let (io, state) = VisitorIo::new(stream, context.timeouts, context.metrics.clone());
        let facing = FacingVisitor::new(peer.ip(), Scheme::Http);
        let address = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let visitor = Arc::new(Visitor { address, facing, state });
        let drain = context.drain.clone();
        let service = service_fn(move |request| {
            // Now, not when the future is polled: hyper may look for the visitor's end before.
            let visiting = Visiting::begin(&visitor.state);
            let (context, dispatch, visitor) = (context.clone(), dispatch.clone(), visitor.clone());
            async move { answer(&context, &dispatch, &visitor, visiting, request).await }
        });
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                // `VisitorIo` keeps the time, with different limits for a head and for a pause.
                .header_read_timeout(None)
                .max_buf_size(READ_AHEAD)
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades()
        );
        let mut draining = false;
        loop {
            tokio::select! {
                // Whatever ended it, the visitor was told as much as it can be told.
                _ = connection.as_mut() => return,
                () = drain.start.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = drain.now.cancelled() => return,
            }
        }
    }
}
