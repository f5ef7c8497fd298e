//! What the slots of this instance are doing, for status, readiness and health.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::id::{SessionId, Slot};
use protocol::join::HostPort;
use tokio::sync::watch;
use transport::session::Session;

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
    /// Opens substreams.
    pub link: Session,
}

/// The slots, from 0.
#[derive(Debug)]
pub struct Sessions {
    slots: Mutex<Vec<SlotState>>,
    changes: watch::Sender<u64>,
}

impl Sessions {
    /// `count` slots that have not begun.
    #[must_use]
    pub fn new(count: u16) -> Self {
        let slots = Mutex::new(vec![SlotState::Over; count.into()]);
        Self { slots, changes: watch::Sender::new(0) }
    }

    /// There are `count` slots from now on; what became of those that are too many is nobody's concern.
    pub fn resize(&self, count: u16) {
        self.slots.lock().resize(count.into(), SlotState::Over);
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// A slot does something else now. Returns whether that left the instance without a session.
    pub fn set(&self, slot: Slot, state: SlotState) -> bool {
        let mut slots = self.slots.lock();
        let before = up_in(&slots);
        if let Some(place) = slots.get_mut(usize::from(slot.0)) {
            *place = state;
        }
        let lost = before > 0 && up_in(&slots) == 0;
        drop(slots);
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
        lost
    }

    /// Changes whenever a slot does something else.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The sessions that are up, the least busy first.
    #[must_use]
    pub fn links(&self) -> Vec<Session> {
        let slots = self.slots.lock();
        let up = slots.iter().filter_map(|state| match state {
            SlotState::Up(up) if !up.link.is_closed() => Some((up.link.substreams_open(), up.link.clone())),
            _ => None,
        });
        let mut links: Vec<_> = up.collect();
        links.sort_by_key(|(load, _)| *load);
        links.into_iter().map(|(_, link)| link).collect()
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
    use std::sync::Arc;

    use bytes::Bytes;
    use ops::spawn::{Placement, Spawner, Worker};
    use protocol::handshake::PeerLimits;
    use protocol::limits::DEAD_AFTER;
    use tokio::io::{DuplexStream, duplex};
    use transport::session::{Liveness, ProcessBudget, Role, SessionConfig, start};

    use super::*;

    /// A session of which the other end does nothing.
    fn link(spawner: &Spawner) -> (Session, DuplexStream) {
        let (ours, theirs) = duplex(1 << 16);
        let config = SessionConfig {
            role: Role::Client,
            peer: PeerLimits::OURS,
            liveness: Arc::new(Liveness::new()),
            dead_after: DEAD_AFTER,
            early: Bytes::new(),
            budget: ProcessBudget::new(1 << 30),
        };
        (start(ours, config, spawner, Worker(0)).0, theirs)
    }

    fn up(session: u64, link: &Session) -> SlotState {
        let (server, link) = ("h:1".parse().unwrap(), link.clone());
        SlotState::Up(Up { server, session: SessionId(session), since: Instant::now(), rtt: None, link })
    }

    fn waiting() -> SlotState {
        SlotState::Waiting { reason: "lost".to_owned(), until: Instant::now() }
    }

    #[test]
    fn the_last_session_is_noticed() {
        let (spawner, _workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let ((one, _first), (other, _second)) = (link(&spawner), link(&spawner));
        let sessions = Sessions::new(2);
        assert!(!sessions.set(Slot(0), up(1, &one)));
        assert!(!sessions.set(Slot(1), up(2, &other)));
        assert!(!sessions.set(Slot(0), waiting()));
        assert_eq!(sessions.up(), 1);
        assert!(sessions.set(Slot(1), waiting()));
        assert!(!sessions.set(Slot(1), waiting()));
    }

    #[test]
    fn round_trips_of_a_replaced_session_do_not_count() {
        let (spawner, _workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let (link, _other_end) = link(&spawner);
        let sessions = Sessions::new(1);
        sessions.set(Slot(0), up(2, &link));
        let rtt = || match &sessions.all()[0] {
            SlotState::Up(up) => up.rtt,
            _ => None,
        };
        sessions.measured(Slot(0), SessionId(1), Duration::from_millis(9));
        assert_eq!(rtt(), None);
        sessions.measured(Slot(0), SessionId(2), Duration::from_millis(3));
        assert_eq!(rtt(), Some(Duration::from_millis(3)));
    }

    #[test]
    fn visitors_go_to_the_session_that_carries_least_and_never_to_one_that_is_over() {
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let ((one, _first), (other, _second)) = (link(&spawner), link(&spawner));
        let sessions = Sessions::new(2);
        let mut changes = sessions.changes();
        sessions.set(Slot(0), up(1, &one));
        sessions.set(Slot(1), up(2, &other));
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let _busy = one.open(Bytes::new()).unwrap();
        let links = sessions.links();
        assert!(links.len() == 2 && links[0].is_same(&other));
        other.close();
        workers.block_on(other.closed());
        assert!(sessions.links().iter().all(|link| link.is_same(&one)));
    }
}
