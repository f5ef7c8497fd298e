//! What the slots of this instance are doing, for status, readiness and health.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::id::{SessionId, Slot};
use protocol::join::HostPort;

/// What a slot is doing.
#[derive(Debug, Clone)]
pub enum SlotState {
    /// It dials a server.
    Dialling(HostPort),
    /// It has a session.
    Up(Up),
    /// It waits before it dials again.
    Waiting {
        /// Why there is no session.
        reason: String,
        /// When it dials again.
        until: Instant,
    },
    /// It has ended.
    Over,
}

/// A session that is up.
#[derive(Debug, Clone)]
pub struct Up {
    /// With this server.
    pub server: HostPort,
    /// As the server counts it.
    pub session: SessionId,
    /// Since then.
    pub since: Instant,
    /// The round trip of the last heartbeat.
    pub rtt: Option<Duration>,
}

/// The slots, from 0.
#[derive(Debug)]
pub struct Sessions {
    slots: Mutex<Vec<SlotState>>,
}

impl Sessions {
    /// `count` slots that have not begun.
    #[must_use]
    pub fn new(count: u16) -> Self {
        Self { slots: Mutex::new(vec![SlotState::Over; count.into()]) }
    }

    /// A slot does something else now. Returns whether that left the instance without a session.
    pub fn set(&self, slot: Slot, state: SlotState) -> bool {
        let mut slots = self.slots.lock();
        let before = up_in(&slots);
        if let Some(place) = slots.get_mut(usize::from(slot.0)) {
            *place = state;
        }
        before > 0 && up_in(&slots) == 0
    }

    /// A heartbeat of `session` came back. That of a session which has been replaced does not count.
    pub fn measured(&self, slot: Slot, session: SessionId, rtt: Duration) {
        if let Some(SlotState::Up(up)) = self.slots.lock().get_mut(usize::from(slot.0))
            && up.session == session
        {
            up.rtt = Some(rtt);
        }
    }

    /// How many slots have a session.
    #[must_use]
    pub fn up(&self) -> usize {
        up_in(&self.slots.lock())
    }

    /// All slots.
    #[must_use]
    pub fn all(&self) -> Vec<SlotState> {
        self.slots.lock().clone()
    }
}

fn up_in(slots: &[SlotState]) -> usize {
    slots.iter().filter(|state| matches!(state, SlotState::Up(_))).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(session: u64) -> SlotState {
        let server = "h:1".parse().unwrap();
        SlotState::Up(Up { server, session: SessionId(session), since: Instant::now(), rtt: None })
    }

    fn waiting() -> SlotState {
        SlotState::Waiting { reason: "lost".to_owned(), until: Instant::now() }
    }

    #[test]
    fn the_last_session_is_noticed() {
        let sessions = Sessions::new(2);
        assert!(!sessions.set(Slot(0), up(1)));
        assert!(!sessions.set(Slot(1), up(2)));
        assert!(!sessions.set(Slot(0), waiting()));
        assert_eq!(sessions.up(), 1);
        assert!(sessions.set(Slot(1), waiting()));
        assert!(!sessions.set(Slot(1), waiting()));
    }

    #[test]
    fn round_trips_of_a_replaced_session_do_not_count() {
        let sessions = Sessions::new(1);
        sessions.set(Slot(0), up(2));
        let rtt = || match &sessions.all()[0] {
            SlotState::Up(up) => up.rtt,
            _ => None,
        };
        sessions.measured(Slot(0), SessionId(1), Duration::from_millis(9));
        assert_eq!(rtt(), None);
        sessions.measured(Slot(0), SessionId(2), Duration::from_millis(3));
        assert_eq!(rtt(), Some(Duration::from_millis(3)));
    }
}
