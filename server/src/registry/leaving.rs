//! Sessions and instances that go, or give way to newer ones, and what becomes of what they held.

use std::time::{Duration, Instant};

use ops::metrics::ReplacedReason;
use policy::ownership::Leaving;
use protocol::control::CloseReason;

use super::instance::{Instance, InstanceKey};
use super::register::Held;
use super::{Registry, State};
use crate::session::{DrainCause, Live};

/// How long a session that has served its time may finish what it carries, once another one has its place: as long as sessions
/// last.
const ROTATED: Duration = Duration::from_secs(24 * 3600);

impl Registry {
    /// The older instance of a client whose newer one has logged in.
    pub(super) fn supersede(&self, state: &mut State, key: &InstanceKey, now: Instant) {
        let Some(held) = state.instances.remove(key) else { return };
        self.memberships.leave(key, &self.groups);
        for old in held.instance.slots.all().iter() {
            state.end(old.id);
            old.cut(CloseReason::SUPERSEDED, "another process of this client has logged in");
            self.metrics.session_replaced(ReplacedReason::Superseded);
        }
        self.give_back(state, &held, Leaving::Lost, now);
    }

    /// The older session of a slot.
    pub(super) fn replace(&self, state: &mut State, instance: &Instance, old: &Live, new: &Live) {
        if old.is_draining() && !old.is_over() {
            return;
        }
        // Its client was told to go, and has come back, because the upgrade has failed for which it went: what it has here it
        // finishes.
        let was_sent = old.is_told_to_go() && !old.is_over();
        if was_sent || new.login.replaces == Some(old.id) {
            old.drain(ROTATED, DrainCause::Replaced);
            self.metrics.session_replaced(ReplacedReason::Replaces);
            return;
        }
        instance.slots.remove(old.id);
        state.end(old.id);
        old.cut(CloseReason::REPLACED, "this slot has logged in anew");
        self.metrics.session_replaced(ReplacedReason::Reconnected);
    }

    pub(super) fn remove(&self, state: &mut State, live: &Live, how: Leaving, now: Instant) {
        let key = InstanceKey::of(live);
        if !state.end(live.id) {
            return;
        }
        let Some(held) = state.instances.get(&key) else { return };
        held.instance.slots.remove(live.id);
        if held.instance.slots.is_empty()
            && let Some(held) = state.instances.remove(&key)
        {
            self.memberships.leave(&key, &self.groups);
            self.give_back(state, &held, how, now);
        }
    }

    pub(super) fn give_back(&self, state: &mut State, held: &Held, how: Leaving, now: Instant) {
        if held.instance.usage.leave(&held.instance) {
            state.usages.remove(&held.instance.key.principal);
        }
        let member = held.instance.member();
        for registered in held.registered() {
            self.names.leave(&registered.name, &member, how, now);
            self.leave_group(&held.instance, registered);
        }
    }
}
