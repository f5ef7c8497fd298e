//! The sessions of one instance, by slot: read by every visitor without a lock.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use ops::spawn::Worker;
use policy::balance::least_busy;
use protocol::id::{Generation, SessionId, Slot};

use crate::session::Live;

/// Changed by the registry only, which holds its lock; everybody else reads.
#[derive(Debug, Default)]
pub struct Slots(ArcSwap<Vec<Arc<Live>>>);

impl Slots {
    /// The sessions, those included that are draining or about to end.
    pub fn all(&self) -> Guard<Arc<Vec<Arc<Live>>>> {
        self.0.load()
    }

    /// Adds a session beside the others.
    pub(super) fn add(&self, live: Arc<Live>) {
        let mut sessions = Vec::clone(&self.0.load());
        sessions.push(live);
        self.0.store(Arc::new(sessions));
    }

    /// Removes a session; says whether it was there.
    pub(super) fn remove(&self, id: SessionId) -> bool {
        let mut sessions = Vec::clone(&self.0.load());
        let before = sessions.len();
        sessions.retain(|live| live.id != id);
        let removed = sessions.len() < before;
        self.0.store(Arc::new(sessions));
        removed
    }

    /// Whether no session is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.load().is_empty()
    }

    /// The sessions in `slot`; more than one while an old one drains.
    pub(super) fn in_slot(&self, slot: Slot) -> Vec<Arc<Live>> {
        self.0.load().iter().filter(|live| live.login.slot == slot).cloned().collect()
    }

    /// The generation of the newest session.
    #[must_use]
    pub fn newest(&self) -> Option<Generation> {
        self.0.load().iter().map(|live| live.generation).max()
    }

    /// The session for the next substream: of those that take work the one with the fewest substreams. One that lives on
    /// the worker `here` may have a quarter more, and `slack` besides: what it carries need not be told to another thread.
    #[must_use]
    pub fn least_busy(&self, here: Worker, slack: usize) -> Option<Arc<Live>> {
        let sessions = self.0.load();
        let load = |live: &Live| {
            let away = live.link().worker() != here;
            let load = live.load();
            let load =
                if away { load.saturating_add(slack).saturating_mul(5) } else { load.saturating_mul(4) };
            (load, away)
        };
        least_busy(sessions.iter().filter(|live| live.takes_work()).map(|live| (live, load(live)))).cloned()
    }
}
