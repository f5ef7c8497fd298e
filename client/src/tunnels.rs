//! The tunnels of this instance, and what became of each at the server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::control::{
    Outcome, Register, RegisterCode, Registration, RegistrationAnswer, RegistrationKind,
};
use protocol::text::Text;
use tokio::sync::watch;

use crate::tunnel::Tunnel;

/// Registrations per frame: with the longest of them a frame is still below its limit.
const PER_FRAME: usize = 12;
/// How long a name that a newer instance took over is left to it, so that two do not fight for it.
const WITHDRAWN_WAIT: Duration = Duration::from_secs(5 * 60);

/// The tunnels with their numbers: the N of the service name `~/N`. A number is never given to another tunnel.
#[derive(Debug)]
pub struct Tunnels {
    list: Mutex<List>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct List {
    next: u32,
    /// In the order of the configuration.
    all: Vec<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    id: u32,
    tunnel: Tunnel,
    /// Whether the last outcome is of a session that lives.
    current: bool,
    last: Option<Outcome>,
    /// Not to be asked for before.
    not_before: Option<Instant>,
}

/// How the tunnels differ from those before.
#[derive(Debug, Default)]
pub struct Replaced {
    /// Those that are new, or other than before.
    pub new: Vec<(u32, Tunnel)>,
    /// The numbers of those that are there no more.
    pub gone: Vec<u32>,
}

/// What the server is to be told of, in this order.
#[derive(Debug, Default)]
pub struct News {
    /// These ask for what another one has: it moves to them, and visitors find it throughout.
    pub moved: Vec<Registration>,
    /// These are there no more. What they have counts until then.
    pub gone: Vec<u32>,
    /// These are new, or other than before.
    pub register: Vec<Registration>,
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
        let tunnels = Self { list: Mutex::default(), changes: watch::Sender::new(()) };
        tunnels.replace(list);
        tunnels
    }

    /// These tunnels from now on. One that has the name of one before keeps its number; if it asks the server for the same
    /// as before, the server is not asked again.
    pub fn replace(&self, wanted: Vec<Tunnel>) -> Replaced {
        self.replace_with(wanted, |_, _| {})
    }

    /// The same; `first` is called for each, while nobody is told of any.
    pub(crate) fn replace_with(&self, wanted: Vec<Tunnel>, mut first: impl FnMut(u32, &Tunnel)) -> Replaced {
        let mut list = self.list.lock();
        let mut replaced = Replaced::default();
        let mut before = std::mem::take(&mut list.all);
        for tunnel in wanted {
            let place = before.iter().position(|known| known.tunnel.name == tunnel.name);
            let known = match place.map(|place| before.swap_remove(place)) {
                Some(known) if known.tunnel == tunnel => known,
                Some(known) if known.tunnel.registration(known.id) == tunnel.registration(known.id) => {
                    replaced.new.push((known.id, tunnel.clone()));
                    Known { tunnel, ..known }
                }
                other => {
                    let id = other.map_or(list.next, |known| known.id);
                    replaced.new.push((id, tunnel.clone()));
                    list.next = list.next.max(id.saturating_add(1));
                    Known { id, tunnel, current: false, last: None, not_before: None }
                }
            };
            list.all.push(known);
        }
        list.all.iter().for_each(|known| first(known.id, &known.tunnel));
        replaced.gone = before.iter().map(|known| known.id).collect();
        drop(list);
        self.changes.send_replace(());
        replaced
    }

    /// Changes when the tunnels do.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The tunnels with their numbers.
    #[must_use]
    pub fn all(&self) -> Vec<(u32, Tunnel)> {
        self.list.lock().all.iter().map(|known| (known.id, known.tunnel.clone())).collect()
    }

    /// The tunnel of that number.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<Tunnel> {
        self.list.lock().get(id).map(|known| known.tunnel.clone())
    }

    /// How the tunnels differ from `told`, which the server was told on a session. Those withdrawn lately are left alone.
    #[must_use]
    pub fn news(&self, told: &BTreeMap<u32, Registration>, now: Instant) -> News {
        let mut list = self.list.lock();
        let gone = told.keys().filter(|id| list.get(**id).is_none()).copied().collect();
        let wanted = list.all.iter().filter(|known| known.not_before.is_none_or(|at| at <= now));
        let all = wanted.map(|known| known.tunnel.registration(known.id));
        let new = all.filter(|it| told.get(&it.id) != Some(it));
        let (moved, register) = new.partition(|it| told.values().any(|other| takes(it, other)));
        News { moved, gone, register }
    }

    /// What is to be asked for again because it was refused.
    #[must_use]
    pub fn refused(&self, now: Instant) -> Vec<Registration> {
        let list = self.list.lock();
        let refused = list.all.iter().filter(|known| {
            matches!(known.last, Some(Outcome::Refused { .. })) && known.not_before.is_none_or(|at| at <= now)
        });
        refused.map(|known| known.tunnel.registration(known.id)).collect()
    }

    /// The server gave the tunnel `id` to somebody else, and says so in `text`; returns what changed.
    pub fn withdrawn(&self, id: u32, text: Text, now: Instant) -> Vec<Change> {
        let mut list = self.list.lock();
        list.lost(id, text, now).into_iter().collect()
    }

    /// Takes the server's answers; returns what changed. Unknown numbers are nothing to complain about.
    pub fn answered(&self, answers: Vec<RegistrationAnswer>, now: Instant) -> Vec<Change> {
        let mut list = self.list.lock();
        let mut changes = Vec::new();
        for RegistrationAnswer { id, outcome } in answers {
            if let Some((other, text)) = list.loser(id, &outcome) {
                changes.extend(list.lost(other, text, now));
            }
            changes.extend(list.came_out(id, outcome, None));
        }
        changes
    }

    /// All sessions are gone.
    pub fn lost(&self) {
        self.list.lock().all.iter_mut().for_each(|known| known.current = false);
    }

    /// What became of each, in their order.
    #[must_use]
    pub fn standings(&self) -> Vec<(Tunnel, Standing)> {
        let standing = |known: &Known| match &known.last {
            _ if !known.current => Standing::Waiting,
            None => Standing::Waiting,
            Some(Outcome::Granted { url, .. }) => Standing::Ready { url: url.clone() },
            Some(Outcome::Refused { code, text }) => Standing::Refused { code: *code, text: text.clone() },
        };
        self.list.lock().all.iter().map(|known| (known.tunnel.clone(), standing(known))).collect()
    }
}

impl List {
    fn get(&mut self, id: u32) -> Option<&mut Known> {
        self.all.iter_mut().find(|known| known.id == id)
    }

    /// What became of `id`, which is not to be asked for before `not_before`. What changed, if anything did.
    fn came_out(&mut self, id: u32, outcome: Outcome, not_before: Option<Instant>) -> Option<Change> {
        let known = self.get(id)?;
        let first = known.last.is_none();
        (known.current, known.not_before) = (true, not_before);
        if known.last.as_ref() == Some(&outcome) {
            return None;
        }
        known.last = Some(outcome.clone());
        Some(Change { id, outcome, first })
    }

    /// Somebody else has what `id` had.
    fn lost(&mut self, id: u32, text: Text, now: Instant) -> Option<Change> {
        let outcome = Outcome::Refused { code: RegisterCode::NAME_IN_USE, text };
        self.came_out(id, outcome, now.checked_add(WITHDRAWN_WAIT))
    }

    /// The other tunnel of ours that had what `id` is granted, and why it has it no more: two ask for the same.
    fn loser(&mut self, id: u32, outcome: &Outcome) -> Option<(u32, Text)> {
        let Outcome::Granted { public: granted, .. } = outcome else { return None };
        let winner = self.get(id)?.tunnel.name.clone();
        let had = |known: &&Known| matches!(&known.last, Some(Outcome::Granted { public, .. }) if public == granted);
        let loser = self.all.iter().filter(|known| known.id != id).find(had)?;
        let text = format!(
            "tunnel {winner:?} of this client asks for {granted} too, and has it now; each needs its own"
        );
        Some((loser.id, Text::new(&text)))
    }
}

/// Whether `it` asks for the very name or port that `other` has.
fn takes(it: &Registration, other: &Registration) -> bool {
    let is_named = match &it.kind {
        RegistrationKind::Http { host } => host.is_some(),
        RegistrationKind::Tcp { port } => port.is_some(),
    };
    is_named && it.id != other.id && it.kind == other.kind
}

/// The messages that ask for these.
pub(crate) fn messages(items: &[Registration]) -> impl Iterator<Item = Register> {
    items.chunks(PER_FRAME).map(|items| Register { items: items.to_vec() })
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
        Tunnel {
            name: name.to_owned(),
            kind,
            group: None,
            allow: Vec::new(),
            to: "3000".parse().unwrap(),
            plugins: Vec::new(),
        }
    }

    fn granted(id: u32, url: &str) -> RegistrationAnswer {
        RegistrationAnswer { id, outcome: Outcome::Granted { public: format!("h{id}"), url: url.to_owned() } }
    }

    fn refused(id: u32) -> RegistrationAnswer {
        let outcome = Outcome::Refused { code: RegisterCode::NAME_IN_USE, text: "taken".into() };
        RegistrationAnswer { id, outcome }
    }

    fn standings(tunnels: &Tunnels) -> Vec<Standing> {
        tunnels.standings().into_iter().map(|(_, standing)| standing).collect()
    }

    fn ids(items: &[Registration]) -> Vec<u32> {
        items.iter().map(|item| item.id).collect()
    }

    #[test]
    fn only_changes_are_told() {
        let tunnels = Tunnels::new(vec![tunnel("a"), tunnel("b")]);
        assert_eq!(standings(&tunnels), [Standing::Waiting, Standing::Waiting]);
        let changes = tunnels.answered(vec![granted(0, "u"), refused(1), granted(7, "?")], Instant::now());
        assert_eq!(
            changes.iter().map(|change| (change.id, change.first)).collect::<Vec<_>>(),
            [(0, true), (1, true)]
        );
        assert_eq!(tunnels.answered(vec![granted(0, "u"), refused(1)], Instant::now()), []);
        assert_eq!(ids(&tunnels.refused(Instant::now())), [1]);
        tunnels.lost();
        assert_eq!(standings(&tunnels), [Standing::Waiting, Standing::Waiting]);
        let changes = tunnels.answered(vec![granted(0, "u"), granted(1, "v")], Instant::now());
        assert_eq!(changes.iter().map(|change| (change.id, change.first)).collect::<Vec<_>>(), [(1, false)]);
        assert_eq!(standings(&tunnels)[0], Standing::Ready { url: "u".to_owned() });
    }

    #[test]
    fn a_name_that_was_taken_over_is_left_alone_for_a_while() {
        let tunnels = Tunnels::new(vec![tunnel("a")]);
        tunnels.answered(vec![granted(0, "u")], Instant::now());
        let now = Instant::now();
        assert_eq!(tunnels.withdrawn(0, "gone".into(), now).len(), 1);
        assert_eq!(tunnels.withdrawn(9, "gone".into(), now), []);
        let soon = now + Duration::from_secs(299);
        let none = BTreeMap::new();
        assert_eq!((tunnels.news(&none, soon).register.len(), tunnels.refused(soon).len()), (0, 0));
        let later = now + WITHDRAWN_WAIT;
        assert_eq!((tunnels.news(&none, later).register.len(), tunnels.refused(later).len()), (1, 1));
    }

    #[test]
    fn only_what_another_configuration_changes_is_asked_for() {
        let tunnels = Tunnels::new(vec![tunnel("a"), tunnel("b"), tunnel("c"), tunnel("d")]);
        let told: BTreeMap<u32, Registration> = tunnels
            .news(&BTreeMap::new(), Instant::now())
            .register
            .into_iter()
            .map(|it| (it.id, it))
            .collect();
        tunnels.answered((0..4).map(|id| granted(id, "u")).collect(), Instant::now());
        let moved = Tunnel { to: "4000".parse().unwrap(), ..tunnel("b") };
        let hosted =
            Tunnel { kind: TunnelKind::Http { host: Some("h".to_owned()), set_host: None }, ..tunnel("c") };
        // In another order, without `d`, with `e`.
        let replaced = tunnels.replace(vec![hosted, moved, tunnel("a"), tunnel("e")]);
        assert_eq!(replaced.new.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 1, 4]);
        assert_eq!(replaced.gone, [3]);
        let news = tunnels.news(&told, Instant::now());
        assert_eq!((ids(&news.register), news.gone), (vec![2, 4], vec![3]));
        let ready = Standing::Ready { url: "u".to_owned() };
        assert_eq!(standings(&tunnels), [Standing::Waiting, ready.clone(), ready, Standing::Waiting]);
        // A number is not given twice.
        assert_eq!(tunnels.replace(vec![tunnel("d")]).new[0].0, 5);
    }

    fn hosted(name: &str, host: &str) -> Tunnel {
        Tunnel { kind: TunnelKind::Http { host: Some(host.to_owned()), set_host: None }, ..tunnel(name) }
    }

    #[test]
    fn what_moves_to_another_tunnel_is_asked_for_before_it_is_given_up() {
        let tunnels = Tunnels::new(vec![hosted("a", "x"), hosted("b", "y"), tunnel("c"), tunnel("d")]);
        let told: BTreeMap<u32, Registration> = tunnels
            .news(&BTreeMap::new(), Instant::now())
            .register
            .into_iter()
            .map(|it| (it.id, it))
            .collect();
        // `a` is called otherwise, `b` gets what it had, what nobody has named is no other's, and `z` is new.
        tunnels.replace(vec![hosted("e", "x"), hosted("b", "z"), hosted("f", "y"), tunnel("g")]);
        let News { moved, gone, register } = tunnels.news(&told, Instant::now());
        assert_eq!((ids(&moved), gone, ids(&register)), (vec![4, 5], vec![0, 2, 3], vec![1, 6]));
    }

    #[test]
    fn two_that_have_the_same_are_told_apart() {
        let tunnels = Tunnels::new(vec![tunnel("a"), tunnel("b")]);
        let same = |id| RegistrationAnswer { id, outcome: granted(0, "u").outcome };
        let now = Instant::now();
        let changes = tunnels.answered(vec![same(0), same(1)], now);
        assert_eq!(changes.iter().map(|change| change.id).collect::<Vec<_>>(), [0, 0, 1]);
        let all = standings(&tunnels);
        assert!(
            matches!(&all[0], Standing::Refused { text, .. } if text.to_string().contains("tunnel \"b\"")),
            "{all:?}"
        );
        assert_eq!(all[1], Standing::Ready { url: "u".to_owned() });
        // They do not fight for it.
        assert_eq!(tunnels.refused(now), []);
    }

    #[test]
    fn the_longest_registrations_fit_their_frames() {
        let longest = |_| Tunnel {
            name: "n".repeat(NAME_MAX),
            kind: TunnelKind::Http { host: Some("h".repeat(HOST_MAX)), set_host: None },
            group: Some("g".repeat(NAME_MAX)),
            allow: vec!["1111:2222:3333:4444:5555:6666:7777:8888/128".parse().unwrap(); ALLOW_MAX],
            to: "3000".parse().unwrap(),
            plugins: Vec::new(),
        };
        let news = Tunnels::new((0..30).map(longest).collect()).news(&BTreeMap::new(), Instant::now());
        let messages: Vec<_> = messages(&news.register).collect();
        assert_eq!(messages.iter().map(|message| message.items.len()).sum::<usize>(), 30);
        for message in messages {
            Control::from(message).encode(&mut BytesMut::new()).unwrap();
        }
    }
}
