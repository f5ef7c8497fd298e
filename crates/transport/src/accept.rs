//! Accept loops: never wait for a peer, back off when the process is out of descriptors, never exit on an error.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The first and the longest pause after an error that is not about one connection (EMFILE, ENFILE, ENOBUFS, ENOMEM).
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A connection and its place among those that may live at once; dropping the permit frees the place.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, with NODELAY set.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Held for as long as the connection counts.
    pub permit: OwnedSemaphorePermit,
}

/// Accepts until `shutdown`: takes a permit, then a connection, and hands both to `on_connection`, which must not block.
/// `on_error` hears of every failed accept; the loop goes on after a pause that doubles from 50 ms to 1 s.
///
/// Cancel safe: a connection is either handed over or still in the listener's queue.
pub async fn accept_loop(
    listener: TcpListener,
    permits: Arc<Semaphore>,
    shutdown: CancellationToken,
    mut on_connection: impl FnMut(Accepted) + Send,
    mut on_error: impl FnMut(&std::io::Error) + Send,
) {
    let mut pause = BACK_OFF.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok(Some(accepted)) => {
                pause = BACK_OFF.0;
                on_connection(accepted);
            }
            Ok(None) => {}
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

/// One connection; `None` for one that its peer gave up before we took it.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> std::io::Result<Option<Accepted>> {
    let permit = permits.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = match listener.accept().await {
        Ok(accepted) => accepted,
        Err(error) if is_about_one_connection(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if crate::socket::tune(&stream).is_err() {
        return Ok(None);
    }
    Ok(Some(Accepted { stream, peer, permit }))
}

/// accept(2) also reports errors that were pending on the new connection.
fn is_about_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
