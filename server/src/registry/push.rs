//! Another part for groups while their members serve the old one (`spec/05`, "parts"): it is prepared, answered, used, and the
//! old one is retired.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::grant::Grants;
use policy::part::GroupPart;
use policy::principal::Principal;
use protocol::id::SessionId;
use protocol::limits::PARTS_MAX;
use protocol::text::Text;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::timeout;

use super::instance::{Instance, InstanceKey};
use super::memberships::{Answer, GroupError, Handed, ToHand};
use super::{Registry, State};
use crate::config::Document;
use crate::identity::Book;
use crate::session::Live;

/// For all members together; each has 5 s of its own once it has all of its part.
const PREPARE_MAX: Duration = Duration::from_secs(15);
/// How long the part before is kept for requests that chose it just before the switch.
const RETIRE_AFTER: Duration = Duration::from_secs(10);

/// What a configuration says of groups and their members.
#[derive(Debug, Clone, Default)]
pub struct WantedParts {
    /// The groups.
    pub groups: Vec<WantedPart>,
    /// Who is granted what.
    pub principals: Vec<(Principal, Grants)>,
    /// The number of the configuration.
    pub revision: u64,
    /// Every member must take its part.
    pub require_all: bool,
}

/// What a configuration says of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPart {
    /// The group.
    pub group: String,
    /// What its members are to serve.
    pub part: GroupPart,
    /// The share of its members, in percent, that must take it.
    pub min_ack: u8,
}

/// A member that does not serve what it is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The group.
    pub group: String,
    /// What it calls itself.
    pub member: String,
    /// Whose it is.
    pub principal: String,
    /// Why.
    pub reason: Text,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, principal, reason, .. } = self;
        write!(f, "{member} ({principal}): {reason}")
    }
}

/// Too few members of a group take its new part. Who configured it, or what the members allow, is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct TooFewAcks {
    /// The groups, by name.
    pub groups: Vec<TooFew>,
}

/// One group that lacks members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFew {
    /// The group.
    pub group: String,
    /// Its members that were asked.
    pub asked: usize,
    /// Those that take it.
    pub taken: usize,
    /// Those that must.
    pub needed: usize,
    /// What each of the others says.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for TooFewAcks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, TooFew { group, asked, taken, needed, refusals }) in self.groups.iter().enumerate() {
            let before = if place == 0 { "" } else { "\n" };
            write!(
                f,
                "{before}group {group:?}: {taken} of its {asked} connected members take it, and {needed} must"
            )?;
            for refusal in refusals {
                write!(f, "\n  {refusal}")?;
            }
        }
        f.write_str("\nhelp these members, or lower `min_ack` of the group")
    }
}

/// Why the parts are not used.
#[derive(Debug, thiserror::Error)]
pub enum Unprepared {
    /// One can not be handed over.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Too few take them.
    #[error(transparent)]
    TooFewAcks(#[from] TooFewAcks),
}

/// Parts that members hold beside those in use. What is dropped instead of used, they let go of.
#[derive(Debug)]
#[must_use = "what is prepared is given up when this is dropped"]
pub struct PreparedParts {
    registry: Arc<Registry>,
    /// All groups of the configuration, with the share of each that must take a part.
    groups: BTreeMap<String, u8>,
    refusals: Vec<Refusal>,
    done: bool,
    _turn: OwnedMutexGuard<()>,
}

impl PreparedParts {
    /// The members that will be behind.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }
}

impl Drop for PreparedParts {
    fn drop(&mut self) {
        if !self.done {
            let state = self.registry.state.lock();
            self.registry.memberships.undo();
            self.registry.look_at_parts(&state);
        }
    }
}

/// The sessions whose answer is awaited, of every group.
#[derive(Debug)]
pub(super) struct Awaited {
    sessions: HashSet<(SessionId, String)>,
    done: Arc<Notify>,
}

impl Awaited {
    /// Nothing more comes from this session: for one part, or for good.
    pub(super) fn settle(&mut self, session: SessionId, group: Option<&str>) {
        let is = |of: &String| group.is_none_or(|group| of == group);
        self.sessions.retain(|(id, of)| *id != session || !is(of));
        if self.sessions.is_empty() {
            self.done.notify_one();
        }
    }
}

impl WantedParts {
    /// What `document` says, as revision `revision`.
    #[must_use]
    pub fn of(document: &Document, revision: u64, require_all: bool) -> Self {
        let groups = document.groups.iter().map(|group| WantedPart {
            group: group.name.clone(),
            part: group.part.clone(),
            min_ack: group.min_ack,
        });
        let principals = document.principals.iter().map(|it| (it.name.clone(), it.grants.clone()));
        Self { groups: groups.collect(), principals: principals.collect(), revision, require_all }
    }
}

impl Registry {
    /// Has the members of the groups that change make their new parts ready, and waits for their answers. Nothing that
    /// is in use changes; a group that stays as it is keeps its part and its number.
    ///
    /// # Errors
    /// [`Unprepared`]; then nothing has changed.
    pub async fn prepare_parts(self: &Arc<Self>, wanted: WantedParts) -> Result<PreparedParts, Unprepared> {
        let turn = self.preparing.clone().lock_owned().await;
        let changed = self.changed(&wanted)?;
        let groups = wanted.groups.iter().map(|it| (it.group.clone(), it.min_ack)).collect();
        let refusals = Vec::new();
        let mut prepared =
            PreparedParts { registry: self.clone(), groups, refusals, done: false, _turn: turn };
        let done = Arc::new(Notify::new());
        let asked = self.ask(&wanted, &changed, &done);
        // Who has not answered by then has not taken it.
        drop(timeout(PREPARE_MAX, done.notified()).await);
        let mut state = self.state.lock();
        state.awaited = None;
        drop(state);
        prepared.refusals = self.judge(&wanted, &changed, &asked)?;
        Ok(prepared)
    }

    /// Uses what was prepared, from now on. The parts before are retired a moment later. Who is granted what must be known
    /// by now.
    pub fn use_parts(self: &Arc<Self>, mut prepared: PreparedParts) {
        prepared.done = true;
        let state = self.state.lock();
        let until = Instant::now() + RETIRE_AFTER;
        self.memberships.switch(&prepared.groups, until, &self.groups);
        self.grant_again(&state);
        drop(state);
        self.names.tick();
    }

    /// The names of the groups that a session's principal is granted.
    pub(super) fn groups_of(&self, live: &Live) -> Vec<String> {
        let grants = self.identity.book().grants(&live.login.principal, &self.naming().domain);
        grants.unwrap_or_default().groups
    }

    /// What the instance of a session is to be handed.
    #[must_use]
    pub fn to_hand(&self, live: &Live) -> ToHand {
        self.memberships.to_hand(&InstanceKey::of(live), PARTS_MAX)
    }

    /// Members are whoever is granted a group by now.
    pub fn regrant(&self) {
        let state = self.state.lock();
        self.grant_again(&state);
        drop(state);
        self.names.tick();
    }

    /// What has been kept beside the parts in use for long enough is let go of.
    pub(super) fn retire_parts(&self, state: &State, now: Instant) {
        if self.memberships.retire(now, &self.groups) {
            self.look_at_parts(state);
        }
    }

    /// An instance has answered to a part that it was handed on this session.
    pub fn part_answered(&self, live: &Live, handed: &Arc<Handed>, refusal: Option<Text>) {
        let group = &handed.id().group;
        let answer = refusal.clone().map_or(Answer::Taken, Answer::Refused);
        let mut state = self.state.lock();
        if !state.sessions.contains_key(&live.id) {
            return;
        }
        let changed = self.memberships.answered(&InstanceKey::of(live), handed, answer, &self.groups);
        if self.memberships.is_asked_for(handed) {
            state.settle(live.id, Some(group));
        }
        drop(state);
        if !changed {
            return;
        }
        let (client, revision) = (&live.login.name, handed.id().revision);
        match refusal {
            None => tracing::info!(session = %live.id, client, group, revision, "a member is ready"),
            Some(reason) => {
                tracing::warn!(session = %live.id, client, group, revision, %reason, "a member is behind");
            }
        }
        self.names.tick();
    }

    /// The answer to a part that was handed over on this session is late.
    pub fn part_unanswered(&self, live: &Live, handed: &Arc<Handed>) {
        let group = &handed.id().group;
        let mut state = self.state.lock();
        let changed = self.memberships.silent(&InstanceKey::of(live), handed, &self.groups);
        if self.memberships.is_asked_for(handed) {
            state.settle(live.id, Some(group));
        }
        drop(state);
        if changed {
            tracing::warn!(session = %live.id, client = live.login.name, group, "a member does not answer");
        }
    }

    /// The parts that are not those in use.
    fn changed(&self, wanted: &WantedParts) -> Result<BTreeMap<String, Arc<Handed>>, GroupError> {
        let groups = self.memberships.all();
        let mut changed = BTreeMap::new();
        for WantedPart { group, part, .. } in &wanted.groups {
            let handed = Handed::new(group, part.clone(), wanted.revision)?;
            let used = groups.get(group).and_then(|group| group.used());
            if used.is_none_or(|used| used.whole().digest != handed.whole().digest) {
                changed.insert(group.clone(), Arc::new(handed));
            }
        }
        Ok(changed)
    }

    /// Hands the parts over. Whom of each group it asked.
    fn ask(
        &self,
        wanted: &WantedParts,
        changed: &BTreeMap<String, Arc<Handed>>,
        done: &Arc<Notify>,
    ) -> BTreeMap<String, HashSet<InstanceKey>> {
        let before = self.identity.book();
        let mut book = before.as_ref().clone();
        book.configure(wanted.principals.iter().cloned());
        let mut leaving = self.leaving(wanted, &before, &book);
        let mut state = self.state.lock();
        for (group, handed) in changed {
            let may = |instance: &Arc<Instance>| {
                let grants = book.grants(&instance.key.principal, &self.naming().domain);
                grants.is_some_and(|grants| grants.allows_group(group))
            };
            let new = state.instances.values().map(|held| &held.instance).filter(|it| may(it));
            let leaving = leaving.remove(group).unwrap_or_default();
            self.memberships.prepare(group, handed, &new.cloned().collect::<Vec<_>>(), leaving);
        }
        let groups = self.memberships.all();
        let (mut asked, mut sessions) = (BTreeMap::new(), HashSet::new());
        for group in changed.keys().filter_map(|name| groups.get(name)) {
            let members = group.memberships().iter().map(|member| &member.instance);
            let has_a_say =
                |instance: &&Arc<Instance>| instance.takes_parts && !group.is_leaving(&instance.key);
            let members: Vec<_> = members.filter(has_a_say).collect();
            // The answers of all sessions of an instance: what one of them has not read yet could undo what another did.
            for live in members.iter().flat_map(|instance| instance.slots.all().to_vec()) {
                if !live.is_over() {
                    sessions.insert((live.id, group.name().to_owned()));
                }
            }
            let keys = members.iter().map(|instance| instance.key.clone()).collect();
            asked.insert(group.name().to_owned(), keys);
        }
        let mut awaited = Awaited { sessions, done: done.clone() };
        awaited.sessions.retain(|(id, _)| state.sessions.contains_key(id));
        if awaited.sessions.is_empty() {
            done.notify_one();
        }
        state.awaited = Some(awaited);
        self.look_at_parts(&state);
        asked
    }

    /// Of each group, the principals that are granted it `before`, and not `after`: they are not to learn its new part.
    fn leaving(
        &self,
        wanted: &WantedParts,
        before: &Book,
        after: &Book,
    ) -> BTreeMap<String, BTreeSet<Principal>> {
        let naming = self.naming();
        let mut leaving: BTreeMap<String, BTreeSet<Principal>> = BTreeMap::new();
        // Nobody else's groups change with the configuration.
        let named = wanted.principals.iter().map(|(name, _)| name);
        for principal in before.configured().map(|(name, _)| name).chain(named) {
            let had = before.grants(principal, &naming.domain).unwrap_or_default().groups;
            let has = after.grants(principal, &naming.domain).unwrap_or_default();
            for group in had.into_iter().filter(|group| !has.allows_group(group)) {
                leaving.entry(group).or_default().insert(principal.clone());
            }
        }
        leaving
    }

    /// Whether enough of those that were asked have taken their part; and who has not.
    fn judge(
        &self,
        wanted: &WantedParts,
        changed: &BTreeMap<String, Arc<Handed>>,
        asked: &BTreeMap<String, HashSet<InstanceKey>>,
    ) -> Result<Vec<Refusal>, TooFewAcks> {
        let groups = self.memberships.all();
        let (mut lacking, mut refused) = (Vec::new(), Vec::new());
        for WantedPart { group: name, min_ack, .. } in &wanted.groups {
            let (Some(group), Some(asked), true) =
                (groups.get(name), asked.get(name), changed.contains_key(name))
            else {
                continue;
            };
            // Who has gone meanwhile has no say.
            let members = group.memberships().iter().filter(|it| asked.contains(&it.instance.key));
            let answers: Vec<_> = members.map(|member| (member, member.next().refusal())).collect();
            let refusals: Vec<Refusal> = answers
                .iter()
                .filter_map(|(member, reason)| {
                    Some(Refusal {
                        group: name.clone(),
                        member: member.instance.name.to_string(),
                        principal: member.instance.key.principal.to_string(),
                        reason: reason.clone()?,
                    })
                })
                .collect();
            let asked = answers.len();
            let taken = asked.saturating_sub(refusals.len());
            let share = if wanted.require_all { 100 } else { usize::from(*min_ack) };
            let needed = asked.saturating_mul(share).div_ceil(100);
            refused.extend(refusals.iter().cloned());
            if taken < needed {
                lacking.push(TooFew { group: name.clone(), asked, taken, needed, refusals });
            }
        }
        if lacking.is_empty() { Ok(refused) } else { Err(TooFewAcks { groups: lacking }) }
    }

    /// Every session looks at what its instance is to hold.
    fn look_at_parts(&self, state: &State) {
        state.sessions.values().for_each(|live| live.look_at_parts());
    }

    fn grant_again(&self, state: &State) {
        let book = self.identity.book();
        for held in state.instances.values() {
            let grants = book.grants(&held.instance.key.principal, &self.naming().domain);
            self.memberships.grant(&grants.unwrap_or_default().groups, &held.instance, &self.groups);
        }
        self.look_at_parts(state);
    }
}
