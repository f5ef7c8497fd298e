//! The tunnels of this instance, and what became of each at the server.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::control::{Outcome, Register, RegisterCode, RegistrationAnswer};
use protocol::text::Text;

use crate::tunnel::Tunnel;

/// Registrations per frame: with the longest of them a frame is still below its limit.
const PER_FRAME: usize = 12;
/// How long a name that a newer instance took over is left to it, so that two do not fight for it.
const WITHDRAWN_WAIT: Duration = Duration::from_secs(5 * 60);

/// The tunnels, numbered from 0: the N of the service name `~/N`.
#[derive(Debug)]
pub struct Tunnels {
    list: Vec<Tunnel>,
    states: Mutex<Vec<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Whether the last outcome is of a session that lives.
    current: bool,
    last: Option<Outcome>,
    /// Not to be asked for before.
    not_before: Option<Instant>,
}

/// What became of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is no session, or it has not answered yet.
    Waiting,
    /// It is public at this URL.
    Ready {
        /// What visitors type.
        url: String,
    },
    /// The server refused it; it is asked again.
    Refused {
        /// The reason.
        code: RegisterCode,
        /// The reason, for a person.
        text: Text,
    },
}

/// A tunnel whose outcome is another than the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub id: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether there was no outcome before.
    pub first: bool,
}

impl Tunnels {
    /// These tunnels; nothing is known of them yet.
    #[must_use]
    pub fn new(list: Vec<Tunnel>) -> Self {
        let states = Mutex::new(vec![State::default(); list.len()]);
        Self { list, states }
    }

    /// The tunnels with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Tunnel)> {
        (0..).zip(&self.list)
    }

    /// The tunnel of that number.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Tunnel> {
        self.list.get(usize::try_from(id).ok()?)
    }

    /// All numbers.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.iter().map(|(id, _)| id).collect()
    }

    /// The messages that ask for all tunnels, but those withdrawn lately.
    #[must_use]
    pub fn register_all(&self, now: Instant) -> Vec<Register> {
        self.register(now, |_| true)
    }

    /// The messages that ask again for those refused.
    #[must_use]
    pub fn register_refused(&self, now: Instant) -> Vec<Register> {
        self.register(now, |state| matches!(state.last, Some(Outcome::Refused { .. })))
    }

    fn register(&self, now: Instant, wanted: impl Fn(&State) -> bool) -> Vec<Register> {
        let states = self.states.lock();
        let items: Vec<_> = (0..)
            .zip(self.list.iter().zip(states.iter()))
            .filter(|(_, (_, state))| wanted(state) && state.not_before.is_none_or(|at| at <= now))
            .map(|(id, (tunnel, _))| tunnel.registration(id))
            .collect();
        items.chunks(PER_FRAME).map(|items| Register { items: items.to_vec() }).collect()
    }

    /// The server gave the tunnel `id` to somebody else, and says so in `text`; returns what changed.
    pub fn withdrawn(&self, id: u32, text: Text, now: Instant) -> Vec<Change> {
        let outcome = Outcome::Refused { code: RegisterCode::NAME_IN_USE, text };
        let changes = self.answered(vec![RegistrationAnswer { id, outcome }]);
        let mut states = self.states.lock();
        if let Some(state) = usize::try_from(id).ok().and_then(|at| states.get_mut(at)) {
            state.not_before = now.checked_add(WITHDRAWN_WAIT);
        }
        changes
    }

    /// Takes the server's answers; returns what changed. Unknown numbers are nothing to complain about.
    pub fn answered(&self, answers: Vec<RegistrationAnswer>) -> Vec<Change> {
        let mut states = self.states.lock();
        let changes = answers.into_iter().filter_map(|RegistrationAnswer { id, outcome }| {
            let state = states.get_mut(usize::try_from(id).ok()?)?;
            let first = state.last.is_none();
            (state.current, state.not_before) = (true, None);
            if state.last.as_ref() == Some(&outcome) {
                return None;
            }
            state.last = Some(outcome.clone());
            Some(Change { id, outcome, first })
        });
        changes.collect()
    }

    /// All sessions are gone.
    pub fn lost(&self) {
        self.states.lock().iter_mut().for_each(|state| state.current = false);
    }

    /// What became of each, in their order.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let states = self.states.lock();
        let standing = |state: &State| match &state.last {
            _ if !state.current => Standing::Waiting,
            None => Standing::Waiting,
            Some(Outcome::Granted { url, .. }) => Standing::Ready { url: url.clone() },
            Some(Outcome::Refused { code, text }) => Standing::Refused { code: *code, text: text.clone() },
        };
        states.iter().map(standing).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use protocol::control::Control;
    use protocol::limits::{ALLOW_MAX, HOST_MAX, NAME_MAX};

    use super::*;
    use crate::tunnel::TunnelKind;

    fn tunnel(name: &str) -> Tunnel {
        let kind = TunnelKind::Http { host: None, set_host: None };
        Tunnel { name: name.to_owned(), kind, group: None, allow: Vec::new(), to: "3000".parse().unwrap() }
    }

    fn granted(id: u32, url: &str) -> RegistrationAnswer {
        RegistrationAnswer { id, outcome: Outcome::Granted { public: "h".to_owned(), url: url.to_owned() } }
    }

    fn refused(id: u32) -> RegistrationAnswer {
        let outcome = Outcome::Refused { code: RegisterCode::NAME_IN_USE, text: "taken".into() };
        RegistrationAnswer { id, outcome }
    }

    #[test]
    fn only_changes_are_told() {
        let tunnels = Tunnels::new(vec![tunnel("a"), tunnel("b")]);
        assert_eq!(tunnels.standings(), [Standing::Waiting, Standing::Waiting]);
        let changes = tunnels.answered(vec![granted(0, "u"), refused(1), granted(7, "?")]);
        assert_eq!(
            changes.iter().map(|change| (change.id, change.first)).collect::<Vec<_>>(),
            [(0, true), (1, true)]
        );
        assert_eq!(tunnels.answered(vec![granted(0, "u"), refused(1)]), []);
        let again = tunnels.register_refused(Instant::now());
        assert_eq!(again.iter().flat_map(|it| &it.items).map(|it| it.id).collect::<Vec<_>>(), [1]);
        tunnels.lost();
        assert_eq!(tunnels.standings(), [Standing::Waiting, Standing::Waiting]);
        let changes = tunnels.answered(vec![granted(0, "u"), granted(1, "v")]);
        assert_eq!(changes.iter().map(|change| (change.id, change.first)).collect::<Vec<_>>(), [(1, false)]);
        assert_eq!(tunnels.standings()[0], Standing::Ready { url: "u".to_owned() });
    }

    #[test]
    fn a_name_that_was_taken_over_is_left_alone_for_a_while() {
        let tunnels = Tunnels::new(vec![tunnel("a")]);
        tunnels.answered(vec![granted(0, "u")]);
        let now = Instant::now();
        assert_eq!(tunnels.withdrawn(0, "gone".into(), now).len(), 1);
        assert_eq!(tunnels.withdrawn(9, "gone".into(), now), []);
        let soon = now + Duration::from_secs(299);
        assert_eq!((tunnels.register_all(soon).len(), tunnels.register_refused(soon).len()), (0, 0));
        let later = now + WITHDRAWN_WAIT;
        assert_eq!((tunnels.register_all(later).len(), tunnels.register_refused(later).len()), (1, 1));
    }

    #[test]
    fn the_longest_registrations_fit_their_frames() {
        let longest = |_| Tunnel {
            name: "n".repeat(NAME_MAX),
            kind: TunnelKind::Http { host: Some("h".repeat(HOST_MAX)), set_host: None },
            group: Some("g".repeat(NAME_MAX)),
            allow: vec!["1111:2222:3333:4444:5555:6666:7777:8888/128".parse().unwrap(); ALLOW_MAX],
            to: "3000".parse().unwrap(),
        };
        let messages = Tunnels::new((0..30).map(longest).collect()).register_all(Instant::now());
        assert_eq!(messages.iter().map(|message| message.items.len()).sum::<usize>(), 30);
        for message in messages {
            Control::from(message).encode(&mut BytesMut::new()).unwrap();
        }
    }
}
