//! The accept loop for clients: hands every connection to a task of its own and waits for nobody.

use std::net::TcpListener;
use std::sync::Arc;

use ops::metrics::GuardReason;
use tokio::sync::Semaphore;
use transport::accept::{Accepted, accept_loop};

use super::{Door, UNAUTHENTICATED, login};

/// Logins in progress, those that were just told to go among them.
const TASKS: usize = 2 * UNAUTHENTICATED;

/// Accepts clients on `listeners` until the door's drain. Returns at once.
pub fn listen(door: &Arc<Door>, listeners: Vec<TcpListener>) {
    let permits = Arc::new(Semaphore::new(TASKS));
    for listener in listeners {
        let (door, permits) = (door.clone(), permits.clone());
        let (spawner, drain) = (door.spawner.clone(), door.drain.clone());
        spawner.clone().spawn(spawner.next_worker(), "accept clients", async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the listener for clients is lost"),
            };
            let on_error = |error: &std::io::Error| {
                door.metrics.accept_error();
                tracing::warn!(%error, "no client can be accepted");
            };
            accept_loop(listener, permits, drain, |accepted| enter(&door, accepted), on_error).await;
        });
    }
}

/// The whole life of the connection is on one worker, chosen before its first byte is read.
fn enter(door: &Arc<Door>, Accepted { stream, peer, permit }: Accepted) {
    let (place, another_went) = door.lobby.enter(peer.ip());
    if another_went {
        door.metrics.guard_closed(GuardReason::TooMany);
    }
    // A socket that the kernel does not give back is dropped, and with it the connection.
    let Ok(stream) = stream.into_std() else { return };
    let worker = door.spawner.next_worker();
    let inside = door.clone();
    door.spawner.spawn(worker, "login", async move {
        let door = inside;
        let session = tokio::select! {
            biased;
            () = place.evicted() => None,
            session = login::run(&door, stream, peer, worker) => session,
        };
        drop((permit, place));
        if let Some(session) = session {
            session.run(&door).await;
        }
    });
}
