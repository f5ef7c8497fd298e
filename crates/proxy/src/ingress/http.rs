//! The listener for HTTP/1.1 and HTTP/2.

use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;

use ops::metrics::IngressMetrics;
use protocol::exchange::Scheme;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use transport::accept::{Accepted, Listener, accept_loop};

use super::connection::Visitor;
use super::entrance::{Entered, Gate};
use super::protocol::Protocol;
use super::relaying::Relaying;
use super::visitor::{VisitorIo, VisitorStream};
use super::{http1, http2};
use crate::context::Context;
use crate::dispatch::Dispatch;
use crate::headers::FacingVisitor;

/// Takes visitors in, and answers their requests through the members that serve the hosts they ask for.
#[derive(Debug, Clone)]
pub struct HttpIngress {
    context: Context,
    dispatch: Arc<Dispatch>,
    metrics: IngressMetrics,
    gate: Gate,
}

/// What is known of a visitor before its first request.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// How it came: what services and `X-Forwarded-Proto` are told.
    pub scheme: Scheme,
    /// What was agreed on by ALPN; none if the first bytes have to tell.
    pub protocol: Option<Protocol>,
    /// The name that its TLS was made for (SNI).
    pub sni: Option<Arc<str>>,
}

impl HttpIngress {
    /// An ingress called `name` in metrics, where visitors come in by `gate`.
    #[must_use]
    pub fn new(name: &str, dispatch: Arc<Dispatch>, context: Context, gate: impl Into<Gate>) -> Self {
        let metrics = context.metrics.ingress(name);
        Self { context, dispatch, metrics, gate: gate.into() }
    }

    /// Accepts on `listener` until `stop`, which should be a child of the drain's start; `permits` bounds the connections
    /// that live at once. The connections go on after it returns: they end when they are idle during a drain, or at its
    /// end.
    pub async fn run(&self, listener: Listener, permits: Arc<Semaphore>, stop: CancellationToken) {
        let accepted = |accepted: Accepted| {
            let Accepted { stream, peer, permit } = accepted;
            let spawner = &self.context.spawner;
            spawner.spawn(spawner.next_worker(), "visitor", self.clone().connection(stream, peer, permit));
        };
        let failed = |error: &std::io::Error| {
            self.context.metrics.accept_error();
            tracing::warn!(%error, "accepting visitors fails");
        };
        accept_loop(&listener, permits, stop, accepted, failed).await;
    }

    async fn connection(self, stream: StdStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let entrance = self.gate.held();
        let entered = tokio::select! {
            biased;
            () = self.context.drain.now.cancelled() => None,
            entered = entrance.enter(stream, peer, &self.dispatch, &self.context.metrics) => entered,
        };
        drop(entrance);
        match entered {
            Some(Entered::Plain(stream, arrival)) => self.serve(stream, arrival).await,
            // What few visitors need has its place apart from what all of them hold for as long as they are there.
            Some(Entered::Tls(stream, arrival)) => Box::pin(self.serve(*stream, arrival)).await,
            Some(Entered::Passed(stream, peer, to)) => {
                let Ok(stream) = stream.into_std() else { return };
                let kept = (permit, self.metrics.connection());
                Relaying::new(self.dispatch, self.context).start(stream, peer, to, kept);
            }
            None => {}
        }
    }

    /// Answers the requests of one visitor on `stream`, until it or a drain ends. To be called on the worker where the
    /// stream lives.
    pub async fn serve<S: VisitorStream>(self, stream: S, arrival: Arrival) {
        let _active = self.metrics.connection();
        let Self { context, dispatch, gate, .. } = self;
        let Arrival { peer, scheme, protocol, sni } = arrival;
        let (mut io, state) = VisitorIo::new(stream, context.waits.clone(), context.metrics.clone());
        let protocol = match protocol {
            Some(protocol) => protocol,
            None => tokio::select! {
                biased;
                detected = io.detect() => match detected {
                    Ok(protocol) => protocol,
                    // Too slow, or gone: there is nothing to answer.
                    Err(_) => return,
                },
                () = context.drain.idle_ends() => return,
            },
        };
        let address = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let facing = FacingVisitor::new(peer.ip(), scheme);
        let visitor = Visitor { address, facing, gate, sni };
        match protocol {
            Protocol::Http1 => http1::serve(io, state, visitor, dispatch, context).await,
            Protocol::Http2 => Box::pin(http2::serve(io, state, visitor, dispatch, context)).await,
        }
    }
}
