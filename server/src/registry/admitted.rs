//! Logins that were let in and have no session yet: they count as if they had.

use std::sync::Arc;

use policy::principal::Principal;
use protocol::id::{Generation, SessionId};

use super::Registry;
use crate::session::{Live, Login};

/// A login that was let in; it counts as a session until it has one or is dropped.
#[derive(Debug)]
pub struct Admitted {
    registry: Arc<Registry>,
    /// The number of its session.
    pub id: SessionId,
    /// Newer is greater.
    pub generation: Generation,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.registry.state.lock().admitted.remove(&self.id);
    }
}

/// A principal has as many sessions as it may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal} has {max} sessions, which is all it may have")]
pub struct OverQuota {
    principal: Principal,
    max: u32,
}

impl Registry {
    /// How many logins were let in and have no session yet.
    #[must_use]
    pub fn logins_under_way(&self) -> usize {
        self.state.lock().admitted.len()
    }

    /// The numbers of a session that is about to begin.
    ///
    /// # Errors
    /// [`OverQuota`].
    pub fn admit(self: &Arc<Self>, login: &Login) -> Result<Admitted, OverQuota> {
        let max = self
            .identity
            .book()
            .grants(&login.principal, &self.naming().domain)
            .map_or(0, |grants| grants.quotas.sessions);
        let mut state = self.state.lock();
        // Sessions that this one takes the place of do not stand in its way; one that drains already stays.
        let stays = |live: &&Arc<Live>| {
            let other = &live.login;
            let same_slot = other.slot == login.slot && !live.is_draining();
            other.principal == login.principal
                && !live.is_over()
                && (other.client != login.client || (other.instance == login.instance && !same_slot))
        };
        let others = state.sessions.values().filter(stays).count();
        // Each may become a session beside this one, whatever it says that it replaces.
        let under_way = state.admitted.values().filter(|other| **other == login.principal).count();
        let others = others.saturating_add(under_way);
        if u32::try_from(others).unwrap_or(u32::MAX) >= max {
            return Err(OverQuota { principal: login.principal.clone(), max });
        }
        state.last_session = state.last_session.saturating_add(1);
        state.last_generation = state.last_generation.saturating_add(1);
        let (id, generation) = (SessionId(state.last_session), Generation(state.last_generation));
        state.admitted.insert(id, login.principal.clone());
        Ok(Admitted { registry: self.clone(), id, generation })
    }
}
