//! How clients get in: connections that have proved nothing yet are few, short, and cost nobody else anything.

mod authority_file;
mod gate;
mod listener;
mod lobby;
mod login;
mod revocations;
mod warnings;

#[cfg(test)]
mod tests;

pub use authority_file::watch as watch_authority;
pub use gate::{GateError, NewGate, lists};
pub use listener::{listen, take};
pub use revocations::RevocationsError;
pub(crate) use warnings::Warnings;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use ops::config::Lack;
use ops::metrics::Metrics;
use ops::spawn::Spawner;
use parking_lot::Mutex;
use policy::admission::{Admission, Pace};
use policy::throttle::Throttle;
use rustls::ServerConfig;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use transport::session::ProcessBudget;

use crate::config::Clients;
use crate::identity::Store;
use crate::registry::Registry;
use crate::session::{Context, Pulse};
use gate::Gate;
use lobby::Lobby;

/// Connections that have not logged in yet, from everywhere together.
const UNAUTHENTICATED: usize = 512;
/// The same from one address, or one IPv6 network of 64 bits.
const UNAUTHENTICATED_PER_ADDRESS: usize = 32;

/// Logins in progress, those that were just told to go among them.
const TASKS: usize = 2 * UNAUTHENTICATED;

/// Lines in the log a second of failed logins, and of those that were told to come back.
const FAILURE_LINES: u32 = 10;
const PUT_OFF_LINES: u32 = 1;

/// Why a session ends whose certificate its CA has revoked.
const REVOKED: &str = "the certificate of this client was revoked by its CA";

/// Everything that a login is decided with.
pub struct Door {
    gate: ArcSwap<Gate>,
    /// What is wrong with the files of its CA, as far as it was told.
    wrong: ArcSwapOption<String>,
    identity: Arc<Store>,
    registry: Arc<Registry>,
    sessions: Context,
    metrics: Metrics,
    spawner: Spawner,
    budget: Arc<ProcessBudget>,
    drain: CancellationToken,
    /// Cancelled when no other process sends its clients here any more.
    alone: CancellationToken,
    /// Where clients go who come by a listener for visitors while the door is shut; none while it is open.
    elsewhere: watch::Sender<Option<mpsc::Sender<(TcpStream, SocketAddr)>>>,
    lobby: Lobby,
    throttle: Mutex<Throttle>,
    admission: Mutex<Admission>,
    /// Of failed logins, and of those that were told to come back.
    warnings: Warnings,
    put_off: Warnings,
    /// Logins in progress.
    permits: Arc<Semaphore>,
}

impl Door {
    /// A door with nobody in front of it, which asks clients for a key alone. After `drain` nobody is let in. Until `alone`
    /// another process sends its clients, which are let in faster.
    #[must_use]
    pub fn new(
        tls: Arc<ServerConfig>,
        identity: Arc<Store>,
        sessions: Context,
        budget: Arc<ProcessBudget>,
        drain: CancellationToken,
        alone: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            gate: ArcSwap::from_pointee(Gate::by_key(tls)),
            wrong: ArcSwapOption::empty(),
            identity,
            registry: sessions.registry.clone(),
            metrics: sessions.metrics.clone(),
            spawner: sessions.spawner.clone(),
            sessions,
            budget,
            drain,
            alone,
            elsewhere: watch::Sender::new(None),
            lobby: Lobby::new(UNAUTHENTICATED, UNAUTHENTICATED_PER_ADDRESS),
            throttle: Mutex::new(Throttle::new()),
            admission: Mutex::new(Admission::new(now)),
            warnings: Warnings::new(now, FAILURE_LINES),
            put_off: Warnings::new(now, PUT_OFF_LINES),
            permits: Arc::new(Semaphore::new(TASKS)),
        }
    }

    /// What would be asked of clients with this certificate of the server, or the one in use, and as this configuration says.
    /// Where the file of their CA can not be used, `lack` says what becomes of it. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn gate(
        &self,
        tls: Option<Arc<ServerConfig>>,
        clients: Option<&Clients>,
        lack: Lack,
    ) -> Result<NewGate, GateError> {
        let before = self.gate.load_full();
        let tls = tls.unwrap_or_else(|| before.server());
        let gate = match (Gate::new(tls.clone(), clients), clients, lack) {
            (Err(error), Some(clients), Lack::Down) => Gate::lacking(tls, clients, &before, &error)?,
            (gate, ..) => gate?,
        };
        Ok(NewGate(gate))
    }

    /// What is wrong with the file of the clients' CA, and what that means.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let gate = self.gate.load();
        let wrong = self.wrong.load_full().map(|wrong| wrong.to_string()).or_else(|| gate.revoked())?;
        let means = match gate.can_not_check() {
            true => {
                "no certificate of a client can be checked, and who has to show one is told to come back later"
            }
            false => "the one before is used until the server ends",
        };
        Some(format!("{wrong}; {means}"))
    }

    /// That is asked of the clients that come from now on; who is in stays in, unless its certificate is revoked. Says how many
    /// sessions that ended.
    pub fn use_gate(&self, NewGate(gate): NewGate) -> usize {
        self.wrong.store(gate.lacks.clone().map(Arc::new));
        let gate = Arc::new(gate);
        self.gate.store(gate.clone());
        self.dismiss_revoked(&gate)
    }

    /// Ends the sessions that this gate, which is in use, would not let in. Who comes in meanwhile looks at it once more, after
    /// this could have found the session.
    fn dismiss_revoked(&self, gate: &Gate) -> usize {
        self.registry.dismiss(|login| gate.has_revoked(&login.means), REVOKED, Instant::now())
    }

    /// The files with lists of revoked certificates that should have been followed by others, and since when.
    #[must_use]
    pub fn overdue(&self, now: SystemTime) -> Vec<(PathBuf, SystemTime)> {
        self.gate.load().overdue(now)
    }

    /// Takes into use what is in the files of the clients' CA by now; none if there is nothing new to say of it. Says how many
    /// sessions that ended. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`GateError`], said once; what was before stays.
    pub fn look_again(&self) -> Option<Result<usize, GateError>> {
        let before = self.gate.load_full();
        let Some(again) = before.again() else {
            self.wrong.store(None);
            return None;
        };
        match again {
            Ok(gate) => {
                // Where another configuration came meanwhile, it has read the files itself.
                let gate = Arc::new(gate);
                let replaced = !Arc::ptr_eq(&self.gate.compare_and_swap(&before, gate.clone()), &before);
                if replaced {
                    return None;
                }
                self.wrong.store(None);
                Some(Ok(self.dismiss_revoked(&gate)))
            }
            Err(error) => {
                let text = Arc::new(error.to_string());
                let before = self.wrong.swap(Some(text.clone()));
                (before != Some(text)).then_some(Err(error))
            }
        }
    }

    /// Lets an address try again at `now`, whatever failed from there; says how many bans that ended.
    pub fn forgive(&self, address: IpAddr, now: Instant) -> usize {
        self.throttle.lock().forgive(now, address)
    }

    /// How often clients are asked whether they are there.
    #[must_use]
    pub fn pulse(&self) -> &Pulse {
        &self.sessions.pulse
    }

    /// Lets nobody in any more: clients stay in the queue of the listener, which another process may have as well. Those
    /// that come by a listener for visitors go `elsewhere`.
    pub fn shut(&self, elsewhere: mpsc::Sender<(TcpStream, SocketAddr)>) {
        self.elsewhere.send_replace(Some(elsewhere));
    }

    /// Lets clients in again.
    pub fn open(&self) {
        self.elsewhere.send_replace(None);
    }

    /// How fast.
    fn pace(&self) -> Pace {
        if self.alone.is_cancelled() { Pace::USUAL } else { Pace::TAKING_OVER }
    }

    /// Waits until nobody is let in any more, because this server ends.
    pub async fn closes(&self) {
        self.drain.cancelled().await;
    }

    /// Whether clients are let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.drain.is_cancelled() && self.elsewhere.borrow().is_none()
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("lobby", &self.lobby).finish_non_exhaustive()
    }
}
