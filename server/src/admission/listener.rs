//! The accept loop for clients: hands every connection to a task of its own and waits for nobody.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use ops::metrics::GuardReason;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use transport::accept::{Accepted, Listener, accept_loop};

use super::lobby::Entered;
use super::{Door, login};

/// Accepts clients on `listeners` while the door is open, until `stop`, which should be a child of the door's drain. Returns at once.
pub fn listen(door: &Arc<Door>, listeners: Vec<TcpListener>, stop: &CancellationToken) {
    for listener in listeners {
        let (door, spawner, stop) = (door.clone(), door.spawner.clone(), stop.clone());
        spawner.clone().spawn(spawner.next_worker(), "accept clients", async move {
            let listener = match Listener::new(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the listener for clients is lost"),
            };
            accept(&door, &listener, &stop).await;
        });
    }
}

/// Accepts while the door is open.
async fn accept(door: &Arc<Door>, listener: &Listener, stop: &CancellationToken) {
    let (mut shuts, mut opens) = (door.elsewhere.subscribe(), door.elsewhere.subscribe());
    while !stop.is_cancelled() {
        let on_error = |error: &std::io::Error| {
            door.metrics.accept_error();
            tracing::warn!(%error, "no client can be accepted");
        };
        let on_connection = |Accepted { stream, peer, permit }: Accepted| admit(door, stream, peer, permit);
        let (permits, until) = (door.permits.clone(), stop.clone());
        tokio::select! {
            biased;
            // The door has the other end for as long as it is there.
            _ = shuts.wait_for(Option::is_some) => {}
            () = accept_loop(listener, permits, until, on_connection, on_error) => return,
        }
        tokio::select! {
            _ = opens.wait_for(Option::is_none) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Takes in a client that came to another listener, and of which nothing has been read. Returns at once; where too many are
/// on their way in, the connection is closed.
pub fn take(door: &Arc<Door>, stream: TcpStream, peer: SocketAddr) {
    if let Some(elsewhere) = &*door.elsewhere.borrow() {
        // Where too many are on their way already, it is closed.
        drop(elsewhere.try_send((stream, peer)));
        return;
    }
    match door.permits.clone().try_acquire_owned() {
        Ok(permit) if !door.drain.is_cancelled() => admit(door, stream, peer, permit),
        _ => door.metrics.guard_closed(GuardReason::TooMany),
    }
}

/// The login is on any worker; the session, once it is known whose it is, on the one that is its.
fn admit(door: &Arc<Door>, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
    let entered = door.lobby.enter(peer.ip(), Instant::now());
    if entered.as_ref().is_none_or(|entered| entered.another_went) {
        door.metrics.guard_closed(GuardReason::TooMany);
    }
    let Some(Entered { place, .. }) = entered else { return };
    let inside = door.clone();
    door.spawner.spawn(door.spawner.next_worker(), "login", async move {
        let door = inside;
        let entrant = tokio::select! {
            biased;
            () = place.evicted() => None,
            entrant = login::run(&door, &place, stream, peer) => entrant,
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
