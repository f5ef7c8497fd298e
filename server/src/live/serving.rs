//! Who takes in those that come to a listener.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use axum::Router;
use ops::ops_listener;
use ops::sockets::Sockets;
use ops::spawn::Spawner;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::listener::Listener;
use super::role::Role;
use crate::admission::{self, Door};
use crate::listeners::BindError;
use crate::registry::NoRoom;
use crate::visitors::{Relayed, Visitors};

/// How often an address that is in use is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The same for one that a client is about to give back.
const RETRY_SOON: Duration = Duration::from_millis(20);
/// How many times that is done.
const SOON: u32 = 50;

/// Takes in those that come to a listener.
pub(crate) struct Serving {
    /// Clients.
    pub(crate) door: Arc<Door>,
    /// Visitors.
    pub(crate) visitors: Visitors,
    /// Those that were inherited, and all that are in use.
    pub(crate) sockets: Arc<Sockets>,
    /// Cancelled when operators are to be served: before that they are another process's.
    pub(crate) open: CancellationToken,
    /// What operators see.
    pub(crate) pages: OnceLock<Router>,
    /// What they ask for over TCP.
    pub(crate) commands: OnceLock<Router>,
    /// Cancelled when even they see nothing more.
    pub(crate) quiet: CancellationToken,
    /// Cancelled when no new work may start.
    pub(crate) drain: CancellationToken,
    /// For tasks.
    pub(crate) spawner: Spawner,
}

/// What a listener needs to begin; nothing while it is down.
#[derive(Default)]
pub(super) struct Beginning {
    sockets: Vec<TcpListener>,
    /// For relayed connections.
    permits: Option<Arc<Semaphore>>,
}

/// Why a listener that was down stays so for now.
#[derive(Debug, thiserror::Error)]
enum StillDown {
    /// It can not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There are too few descriptors for it.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// The sockets of `listener` once more.
fn clones(listener: &Listener) -> Result<Vec<TcpListener>, NoRoom> {
    // What the system says if there are no descriptors.
    listener.clones().map_err(|_| NoRoom)
}

impl Serving {
    /// What ends a new listener for `role`.
    pub(super) fn stop(&self, role: Role) -> CancellationToken {
        match role {
            Role::Ops | Role::Admin => self.quiet.child_token(),
            _ => self.drain.child_token(),
        }
    }

    /// All that can fail before `listener` begins.
    pub(super) fn prepare(&self, listener: &Listener) -> Result<Beginning, NoRoom> {
        let sockets = clones(listener)?;
        let permits = self.room(listener, sockets.len(), &listener.stop)?;
        Ok(Beginning { sockets, permits })
    }

    /// The connections of `listener` with so many `sockets`, until `stop`, where they are counted.
    fn room(
        &self,
        listener: &Listener,
        sockets: usize,
        stop: &CancellationToken,
    ) -> Result<Option<Arc<Semaphore>>, NoRoom> {
        match listener.role {
            Role::Tcp | Role::Tls if sockets > 0 => self.visitors.room(sockets, stop).ok_or(NoRoom).map(Some),
            _ => Ok(None),
        }
    }

    /// Takes in those that come to `listener` from now on.
    pub(super) fn begin(self: &Arc<Self>, listener: &Arc<Listener>, beginning: Beginning) {
        let Beginning { sockets, permits } = beginning;
        if sockets.is_empty() {
            return self.bind_later(listener);
        }
        let (gate, stop) = (&listener.gate, &listener.stop);
        match listener.role {
            Role::Tunnel => admission::listen(&self.door, sockets, stop),
            Role::Http | Role::Https => {
                self.visitors.serve_http(listener.role.as_str(), sockets, gate, stop);
            }
            Role::Ops => {
                let pages = self.pages.get().cloned().unwrap_or_default();
                self.serve_operators("ops", sockets, &pages, stop);
            }
            Role::Admin => self.serve_operators("admin", sockets, &listener.operators.pages(), stop),
            Role::Tcp | Role::Tls => {
                let (Some(address), Some(permits)) = (listener.address(), permits) else { return };
                let relayed = match listener.role {
                    Role::Tls => Relayed::Tls(address),
                    _ => Relayed::Tcp(address),
                };
                self.visitors.serve_relayed(relayed, sockets, &permits, gate, stop);
            }
        }
    }

    /// Binds what is down as soon as it can be.
    fn bind_later(self: &Arc<Self>, listener: &Arc<Listener>) {
        let (serving, stop, listener) = (self.clone(), listener.stop.clone(), Arc::downgrade(listener));
        self.spawner.spawn(self.spawner.next_worker(), "bind again", async move {
            let mut tries = 0_u32;
            loop {
                let pause = if tries < SOON { RETRY_SOON } else { RETRY };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                tries = tries.saturating_add(1);
                if serving.bound(&listener) {
                    return;
                }
            }
        });
    }

    /// Whether there is nothing more to do.
    fn bound(self: &Arc<Self>, listener: &Weak<Listener>) -> bool {
        let Some(listener) = listener.upgrade() else { return true };
        let beginning = match self.prepare_late(&listener) {
            Ok(beginning) => beginning,
            Err(error) => {
                let before = listener.down();
                listener.is_down(&error);
                if listener.down() != before {
                    tracing::warn!(%error, "a listener is down, and tried again");
                }
                return false;
            }
        };
        tracing::info!(
            listener = listener.address().map(tracing::field::display),
            "a listener that was down is up"
        );
        self.begin(&listener, beginning);
        true
    }

    /// Binds what is down, and all else that can fail before it begins. Room comes first: who connects to what nobody accepts
    /// from is worse off than who is refused.
    fn prepare_late(&self, listener: &Listener) -> Result<Beginning, StillDown> {
        let had = listener.stop.child_token();
        let given_back = had.clone().drop_guard();
        let permits = self.room(listener, listener.listen.addresses().len(), &had)?;
        listener.bind(&self.sockets, Vec::new(), Some(&listener.listen))?;
        let sockets = clones(listener)?;
        given_back.disarm();
        Ok(Beginning { sockets, permits })
    }

    fn serve_operators(
        &self,
        name: &'static str,
        sockets: Vec<TcpListener>,
        pages: &Router,
        stop: &CancellationToken,
    ) {
        for socket in sockets {
            let (at, stop, pages) = (self.spawner.clone(), stop.clone(), pages.clone());
            let open = self.open.clone();
            self.spawner.spawn(self.spawner.next_worker(), name, async move {
                if stop.run_until_cancelled(open.cancelled()).await.is_none() {
                    return;
                }
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(listener) => ops_listener::serve(listener, pages, &at, &stop).await,
                    Err(error) => tracing::error!(name, %error, "a listener for operators is lost"),
                }
            });
        }
    }
}
