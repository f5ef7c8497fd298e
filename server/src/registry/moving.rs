//! What two processes have to know of each other's clients while one takes over from the other.

use std::sync::atomic::Ordering;

use protocol::control::CloseReason;

use super::{Instance, InstanceKey, Registry};
use crate::session::Live;

impl Registry {
    /// What an instance has asked for at the beginning of this session is answered.
    pub fn settle(&self, live: &Live) {
        let state = self.state.lock();
        let Some(held) = state.instances.get(&InstanceKey::of(live)) else { return };
        held.instance.settled.store(true, Ordering::Relaxed);
        drop(state);
        self.names.tick();
    }

    /// The instances that have what they have asked for, each once.
    #[must_use]
    pub fn newly_settled(&self) -> Vec<InstanceKey> {
        let state = self.state.lock();
        let is_new = |instance: &Instance| {
            instance.settled.load(Ordering::Relaxed) && !instance.told.swap(true, Ordering::Relaxed)
        };
        let new = state.instances.iter().filter(|(_, held)| is_new(&held.instance));
        new.map(|(key, _)| key.clone()).collect()
    }

    /// Ends the sessions whose credential another process has revoked, as the book says that was read anew.
    pub fn dismiss_revoked(&self) {
        let book = self.identity.book();
        for live in self.sessions() {
            if !book.admits(&live.login.means) {
                live.cut(CloseReason::REVOKED, "the operator has revoked this credential");
            }
        }
    }

    /// Ends all sessions, because nothing is known any more of who is revoked. Their clients may dial again.
    pub fn dismiss_all(&self) {
        for live in self.sessions() {
            live.cut(
                CloseReason::SHUTDOWN,
                "this process of the server can not know any more who is revoked",
            );
        }
    }
}
