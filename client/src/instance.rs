//! One running process of a client: what all its slots share.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use ops::drain::Drain;
use parking_lot::Mutex;
use protocol::id::{ClientId, InstanceId, SessionId, Slot};
use protocol::limits::NAME_MAX;
use proxy::context::Context;
use proxy::service::ServiceTable;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use transport::handshake::HelloDraft;
use transport::session::ProcessBudget;

use crate::events::Events;
use crate::groups::Groups;
use crate::login::Login;
use crate::rotation::Rotation;
use crate::sessions::Sessions;
use crate::settings::Mode;
use crate::tunnels::Tunnels;

/// What all slots of this process share.
#[derive(Debug)]
pub struct Instance {
    /// The installation.
    pub client: ClientId,
    /// This process.
    pub id: InstanceId,
    /// As whom it logs in, and where, from the next time on.
    pub login: ArcSwap<Login>,
    /// How to take refusals.
    pub mode: Mode,
    /// When a session is replaced by another one.
    pub rotation: Mutex<Rotation>,
    /// What is public.
    pub tunnels: Tunnels,
    /// What the server may open substreams to.
    pub services: Arc<ServiceTable>,
    /// What the server has handed over.
    pub groups: Groups,
    /// What the slots are doing.
    pub sessions: Arc<Sessions>,
    /// Who hears of it.
    pub events: Events,
    /// What the data plane shares.
    pub context: Context,
    /// What all sessions of this process may hold.
    pub budget: Arc<ProcessBudget>,
    /// Sessions that the server may still open substreams on; a drain waits for them first.
    pub(crate) registered: TaskTracker,
    /// Why the program ends, if the server says so. Holds one.
    pub(crate) refused: mpsc::Sender<String>,
    /// What people have been told about failing attempts since the last that did not.
    pub(crate) told: Mutex<Vec<String>>,
    /// When the process began.
    pub started: Instant,
}

/// Different reasons that are remembered as told; more are told again.
const TOLD_MAX: usize = 16;

impl Instance {
    /// What a slot says in its login.
    pub(crate) fn hello(&self, login: &Login, slot: Slot, replaces: Option<SessionId>) -> HelloDraft {
        HelloDraft {
            client: self.client,
            instance: self.id,
            slot,
            replaces,
            credential: login.credential.clone(),
            // Who serves one tunnel by hand has no configuration to allow anything in.
            takes_parts: self.mode != Mode::AdHoc,
            name: login.name.clone(),
            agent: crate::AGENT.to_owned(),
        }
    }

    /// The drain of the whole process.
    pub(crate) fn drain(&self) -> &Drain {
        &self.context.drain
    }

    /// Ends the program: the server refused it for this reason.
    pub(crate) fn give_up(&self, reason: String) {
        // The first reason is the one to report.
        let _ = self.refused.try_send(reason);
    }

    /// Whether this reason for a failing attempt is news.
    pub(crate) fn is_news(&self, reason: &str) -> bool {
        let mut told = self.told.lock();
        if told.iter().any(|known| known == reason) {
            return false;
        }
        if told.len() >= TOLD_MAX {
            told.remove(0);
        }
        told.push(reason.to_owned());
        true
    }

    /// An attempt succeeded: everything is news again.
    pub(crate) fn forget_news(&self) {
        self.told.lock().clear();
    }
}

/// The name of this machine, as far as it can be a name on the wire; empty if it has none.
pub(crate) fn host_name() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    name.chars().filter(|c| c.is_ascii_graphic()).take(NAME_MAX).collect()
}
