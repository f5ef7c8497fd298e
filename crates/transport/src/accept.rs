//! Accept loops: never wait for a peer, back off when the process is out of descriptors, never exit on an error.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::socket::{abort, tune};

/// The first and the longest pause after an error that is not about one connection (EMFILE, ENFILE, ENOBUFS, ENOMEM).
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long nothing is said about connections that were reset because too many are open.
const NO_ROOM_QUIET: Duration = Duration::from_secs(1);

/// A listening socket, whose connections belong to no runtime yet: that of the worker which serves one is the first.
#[derive(Debug)]
pub struct Listener(AsyncFd<TcpListener>);

impl Listener {
    /// Listens on `listener`, within the runtime of this thread.
    ///
    /// # Errors
    /// The runtime has no more room for descriptors.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        #[expect(
            deprecated,
            reason = "what replaces it is unsafe, for descriptors that lie; a listener does not"
        )]
        AsyncFd::with_interest(listener, Interest::READABLE).map(Self)
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.async_io(Interest::READABLE, TcpListener::accept).await?;
        stream.set_nonblocking(true)?;
        // A listener on [::] gives IPv4 peers their IPv6 form.
        Ok((stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())))
    }
}

/// A connection and its place among those that may live at once; dropping the permit frees the place.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, with NODELAY set, nonblocking.
    pub stream: TcpStream,
    /// The other end; IPv4 addresses are IPv4.
    pub peer: SocketAddr,
    /// Held for as long as the connection counts.
    pub permit: OwnedSemaphorePermit,
}

/// Accepts until `shutdown`, and hands each connection with a permit to `on_connection`, which must not block. An idle
/// listener holds no permit, so that listeners may share them; where none is left, the connection is reset at once.
///
/// `on_error` hears of every failed accept, after which the loop goes on after a pause that doubles from 50 ms to 1 s, and
/// at most once a second of connections that were reset for want of a permit.
///
/// Cancel safe: a connection is either handed over or still in the listener's queue.
pub async fn accept_loop(
    listener: &Listener,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    mut on_connection: impl FnMut(Accepted) + Send,
    mut on_error: impl FnMut(&io::Error) + Send,
) {
    let mut pause = BACK_OFF.0;
    let mut quiet_until = Instant::now();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = BACK_OFF.0;
                match permits.clone().try_acquire_owned() {
                    // A connection that can not be tuned is one that its peer gave up.
                    Ok(permit) if tune(&stream, peer.ip()).is_ok() => {
                        on_connection(Accepted { stream, peer, permit });
                    }
                    Ok(_) => {}
                    Err(_) => {
                        abort(stream);
                        let now = Instant::now();
                        if now >= quiet_until {
                            quiet_until = now + NO_ROOM_QUIET;
                            on_error(&io::Error::other(
                                "as many connections as allowed are open; more are reset",
                            ));
                        }
                    }
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                on_error(&error);
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = sleep(pause) => {}
                }
                pause = pause.saturating_mul(2).min(BACK_OFF.1);
            }
        }
    }
}

/// accept(2) also reports errors that were pending on the new connection.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn idle_listeners_hold_no_permit_and_a_connection_too_many_is_reset() {
        let permits = Arc::new(Semaphore::new(1));
        let shutdown = CancellationToken::new();
        let (accepted, mut connections) = mpsc::channel(8);
        let mut loops = tokio::task::JoinSet::new();
        let mut addresses = Vec::new();
        for _ in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            addresses.push(listener.local_addr().unwrap());
            let listener = Listener::new(listener).unwrap();
            let accepted = accepted.clone();
            let hand_over = move |connection| accepted.try_send(connection).unwrap();
            let (permits, shutdown) = (permits.clone(), shutdown.clone());
            loops.spawn(async move { accept_loop(&listener, permits, shutdown, hand_over, |_| {}).await });
        }
        for address in &addresses {
            let _visitor = TcpStream::connect(address).await.unwrap();
            let connection = connections.recv().await.unwrap();
            let mut one_too_many = TcpStream::connect(address).await.unwrap();
            let error = one_too_many.read(&mut [0]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            drop(connection);
        }
        shutdown.cancel();
        while let Some(ended) = loops.join_next().await {
            ended.unwrap();
        }
    }
}
