//! The tunnels of this instance, and what became of each at the server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use protocol::control::{
    Control, Outcome, Register, RegisterCode, Registration, RegistrationAnswer, RegistrationKind,
};
use protocol::limits::{CONTROL_FRAME_MAX, REGISTRATIONS_MAX};
use protocol::text::Text;
use tokio::sync::watch;

use crate::tunnel::Tunnel;

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
    /// The tunnel of ours that has what this one asks for. It is not to be asked for before one of the two is another.
    lost_to: Option<u32>,
}

impl Known {
    fn is_to_be_asked_for(&self, now: Instant) -> bool {
        self.lost_to.is_none() && self.not_before.is_none_or(|at| at <= now)
    }
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
        let mut unchanged = BTreeSet::new();
        for tunnel in wanted {
            let place = before.iter().position(|known| known.tunnel.name == tunnel.name);
            let mut same = true;
            let known = match place.map(|place| before.swap_remove(place)) {
                Some(known) if known.tunnel == tunnel => known,
                Some(known) if known.tunnel.registration(known.id) == tunnel.registration(known.id) => {
                    replaced.new.push((known.id, tunnel.clone()));
                    Known { tunnel, ..known }
                }
                other => {
                    same = false;
                    let id = other.map_or(list.next, |known| known.id);
                    replaced.new.push((id, tunnel.clone()));
                    list.next = list.next.max(id.saturating_add(1));
                    Known { id, tunnel, current: false, last: None, not_before: None, lost_to: None }
                }
            };
            if same {
                unchanged.insert(known.id);
            }
            list.all.push(known);
        }
        for known in list.all.iter_mut().filter(|it| it.lost_to.is_some_and(|id| !unchanged.contains(&id))) {
            known.lost_to = None;
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

    /// How the tunnels differ from `told`, which the server was told on a session. Those withdrawn lately are left alone, and
    /// those that another one of ours has won.
    #[must_use]
    pub fn news(&self, told: &BTreeMap<u32, Registration>, now: Instant) -> News {
        let mut list = self.list.lock();
        let gone = told.keys().filter(|id| list.get(**id).is_none()).copied().collect();
        let wanted = list.all.iter().filter(|known| known.is_to_be_asked_for(now));
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
            matches!(known.last, Some(Outcome::Refused { .. })) && known.is_to_be_asked_for(now)
        });
        refused.map(|known| known.tunnel.registration(known.id)).collect()
    }

    /// The server gave the tunnel `id` to somebody else, and says so in `text`; returns what changed.
    pub fn withdrawn(&self, id: u32, text: Text, now: Instant) -> Vec<Change> {
        let mut list = self.list.lock();
        let outcome = Outcome::Refused { code: RegisterCode::NAME_IN_USE, text };
        list.came_out(id, outcome, now.checked_add(WITHDRAWN_WAIT)).into_iter().collect()
    }

    /// Takes the server's answers; returns what changed. Unknown numbers are nothing to complain about.
    pub fn answered(&self, answers: Vec<RegistrationAnswer>) -> Vec<Change> {
        let mut list = self.list.lock();
        let mut changes = Vec::new();
        for RegistrationAnswer { id, outcome } in answers {
            if let Some((other, text)) = list.loser(id, &outcome) {
                changes.extend(list.lost(other, id, text));
            }
            changes.extend(list.came_out(id, outcome, None));
        }
        changes
    }

    /// All sessions are gone.
    pub fn lost(&self) {
        // What is not asked for does not come out otherwise.
        let mut list = self.list.lock();
        list.all.iter_mut().filter(|known| known.lost_to.is_none()).for_each(|known| known.current = false);
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
        (known.current, known.not_before, known.lost_to) = (true, not_before, None);
        if known.last.as_ref() == Some(&outcome) {
            return None;
        }
        known.last = Some(outcome.clone());
        Some(Change { id, outcome, first })
    }

    /// Our tunnel `winner` has what `id` had.
    fn lost(&mut self, id: u32, winner: u32, text: Text) -> Option<Change> {
        let change = self.came_out(id, Outcome::Refused { code: RegisterCode::NAME_IN_USE, text }, None);
        if let Some(known) = self.get(id) {
            known.lost_to = Some(winner);
        }
        change
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

/// The messages that ask for these, as few as there can be: what moves from one to another of the same message is there
/// throughout.
pub(crate) fn messages(items: &[Registration]) -> Vec<Register> {
    let mut all = Vec::<Register>::new();
    let mut room = 0_usize;
    for item in items {
        let size = size(item);
        match all.last_mut().filter(|last| size <= room && last.items.len() < REGISTRATIONS_MAX) {
            Some(last) => last.items.push(item.clone()),
            None => {
                room = CONTROL_FRAME_MAX;
                all.push(Register { items: vec![item.clone()] });
            }
        }
        room = room.saturating_sub(size);
    }
    all
}

/// What it takes of a frame, at most.
fn size(item: &Registration) -> usize {
    let mut alone = BytesMut::new();
    let encoded = Control::from(Register { items: vec![item.clone()] }).encode(&mut alone);
    // One that can not be said at all is by itself, and an error when it is sent.
    encoded.map_or(CONTROL_FRAME_MAX, |()| alone.len())
}

#[cfg(test)]
mod tests {
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
        let changes = tunnels.answered(vec![granted(0, "u"), refused(1), granted(7, "?")]);
        assert_eq!(
            changes.iter().map(|change| (change.id, change.first)).collect::<Vec<_>>(),
            [(0, true), (1, true)]
        );
        assert_eq!(tunnels.answered(vec![granted(0, "u"), refused(1)]), []);
        assert_eq!(ids(&tunnels.refused(Instant::now())), [1]);
        tunnels.lost();
        assert_eq!(standings(&tunnels), [Standing::Waiting, Standing::Waiting]);
        let changes = tunnels.answered(vec![granted(0, "u"), granted(1, "v")]);
        assert_eq!(changes.iter().map(|change| (change.id, change.first)).collect::<Vec<_>>(), [(1, false)]);
        assert_eq!(standings(&tunnels)[0], Standing::Ready { url: "u".to_owned() });
    }

    #[test]
    fn a_name_that_was_taken_over_is_left_alone_for_a_while() {
        let tunnels = Tunnels::new(vec![tunnel("a")]);
        tunnels.answered(vec![granted(0, "u")]);
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
        tunnels.answered((0..4).map(|id| granted(id, "u")).collect());
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
        let changes = tunnels.answered(vec![same(0), same(1)]);
        assert_eq!(changes.iter().map(|change| change.id).collect::<Vec<_>>(), [0, 0, 1]);
        let all = standings(&tunnels);
        assert!(
            matches!(&all[0], Standing::Refused { text, .. } if text.to_string().contains("tunnel \"b\"")),
            "{all:?}"
        );
        assert_eq!(all[1], Standing::Ready { url: "u".to_owned() });
        // They do not fight for it, however long it takes and on whichever session, before one of them is another.
        let later = now + 2 * WITHDRAWN_WAIT;
        assert_eq!(tunnels.refused(later), []);
        assert_eq!(ids(&tunnels.news(&BTreeMap::new(), later).register), [1]);
        tunnels.lost();
        assert_eq!(standings(&tunnels), [all[0].clone(), Standing::Waiting]);
        tunnels.replace(vec![tunnel("a"), tunnel("b")]);
        assert_eq!(tunnels.refused(later), []);
        tunnels.replace(vec![tunnel("a"), hosted("b", "other")]);
        assert_eq!(ids(&tunnels.refused(now)), [0]);
    }

    #[test]
    fn as_many_as_fit_go_in_one_message() {
        let many = Tunnels::new((0..300).map(|n| hosted(&format!("t{n}"), "h")).collect());
        let all = messages(&many.news(&BTreeMap::new(), Instant::now()).register);
        assert_eq!(all.iter().map(|it| it.items.len()).collect::<Vec<_>>(), [REGISTRATIONS_MAX, 44]);
        assert!(messages(&[]).is_empty());
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
        let all = messages(&news.register);
        assert_eq!(all.iter().map(|message| message.items.len()).sum::<usize>(), 30);
        for message in all {
            Control::from(message).encode(&mut BytesMut::new()).unwrap();
        }
    }
}
