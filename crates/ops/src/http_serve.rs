//! HTTP for operators, on whatever they connect to: the ops listener and the admin socket.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::admin::Caller;
use crate::spawn::Spawner;

/// Connections at once; more wait in the backlog of the listener.
const CONNECTIONS: usize = 256;
/// The longest head of a request: what nobody has been asked for yet takes no more memory than that. Bytes.
const HEAD_MAX: usize = 64 * 1024;
/// For the head of a request, and for the next one on an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After it a connection finishes the request it has and closes, so that no peer holds one of the
/// few for good.
const LIFETIME: Duration = Duration::from_secs(60);
/// For the last request of a connection that is to close.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// Waits after a failed accept: out of file descriptors, most likely.
const ACCEPT_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Something that accepts byte streams.
pub(crate) trait Accept: Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// What is known of the other end; every request has it among its extensions.
    type Peer: Clone + Send + Sync + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<Self::Peer>)>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;
    type Peer = ConnectInfo<SocketAddr>;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<Self::Peer>)> {
        let (stream, from) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((stream, Some(ConnectInfo(from))))
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;
    type Peer = Caller;

    async fn accept(&self) -> io::Result<(Self::Stream, Option<Self::Peer>)> {
        let (stream, _) = Self::accept(self).await?;
        let caller = Caller::of(&stream);
        Ok((stream, caller))
    }
}

/// Whether answers say when they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dates {
    /// As HTTP has it.
    Told,
    /// That is left to who passes them on.
    Left,
}

/// Serves `router` until `shutdown`, then lets requests in progress finish, at most 5 s. Each
/// connection is a task called `name`.
pub(crate) async fn serve<L: Accept>(
    listener: &L,
    router: Router,
    spawner: &Spawner,
    shutdown: &CancellationToken,
    name: &'static str,
    dates: Dates,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut backoff = ACCEPT_BACKOFF.0;
    while !shutdown.is_cancelled() {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = async {
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((slot, listener.accept().await?))
            } => accepted,
        };
        match accepted {
            Ok((slot, (stream, peer))) => {
                backoff = ACCEPT_BACKOFF.0;
                let connection = serve_connection(stream, peer, router.clone(), shutdown.clone(), dates);
                let _detached = spawner.spawn(spawner.here(), name, async move {
                    connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(listener = name, %error, "cannot accept");
                let _ = timeout(backoff, shutdown.cancelled()).await;
                backoff = backoff.saturating_mul(2).min(ACCEPT_BACKOFF.1);
            }
        }
    }
    // All slots are free once all connections have ended, each within its bound.
    let _ = slots.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX)).await;
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<impl Clone + Send + Sync + 'static>,
    router: Router,
    shutdown: CancellationToken,
    dates: Dates,
) {
    let pages = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        pages.call(request)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .auto_date_header(dates == Dates::Told)
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    // Whatever ends the connection is the peer's affair: it has the answer or it has gone away.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_REQUEST, connection).await;
}
