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

/// The login is on any worker; the session, once it is known whose it is, on the one that is its.
fn enter(door: &Arc<Door>, Accepted { stream, peer, permit }: Accepted) {
    let (place, another_went) = door.lobby.enter(peer.ip());
    if another_went {
        door.metrics.guard_closed(GuardReason::TooMany);
    }
    // A socket that the kernel does not give back is dropped, and with it the connection.
    let Ok(stream) = stream.into_std() else { return };
    let inside = door.clone();
    door.spawner.spawn(door.spawner.next_worker(), "login", async move {
        let door = inside;
        let entrant = tokio::select! {
            biased;
            () = place.evicted() => None,
            entrant = login::run(&door, stream, peer) => entrant,
        };
        let Some(entrant) = entrant else { return };
        let (worker, inside) = (entrant.worker(door.spawner.workers()), door.clone());
        door.spawner.spawn(worker, "session", async move {
            let door = inside;
            let session = tokio::select! {
                biased;
                () = place.evicted() => None,
                session = entrant.enter(&door, worker) => session,
            };
            drop((permit, place));
            if let Some(session) = session {
                session.run(&door).await;
            }
        });
    });
}
