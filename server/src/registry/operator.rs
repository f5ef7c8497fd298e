//! The operator's names come before those of clients: a configuration that needs what a client holds takes it, if the
//! operator says so.

use std::fmt;
use std::sync::Arc;

use policy::ownership::Holding;
use policy::principal::Principal;
use protocol::control::{Notice, NoticeCode, NoticeLevel};

use super::configured::Configured;
use super::instance::InstanceKey;
use super::name::Name;
use super::register::Held;
use super::{Registry, State};

/// A name that a configuration needs, and that is somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameHeld {
    /// Which.
    pub name: Name,
    /// Whose.
    pub principal: Principal,
    /// What the client calls itself that holds it; none while it is only reserved.
    pub client: Option<String>,
}

impl fmt::Display for NameHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, principal, client } = self;
        match client {
            Some(client) => write!(f, "{} is held by {principal} (client {client:?})", name.public()),
            None => write!(f, "{} is reserved for {principal}", name.public()),
        }
    }
}

/// Names that are kept for a configuration which is being proven. Given back when it is dropped.
#[derive(Debug)]
pub struct NamesWanted(Arc<Registry>);

impl NamesWanted {
    /// These ports as well.
    pub fn and_ports(&self, ports: impl IntoIterator<Item = u16>) {
        self.0.configured.want_ports(ports);
    }
}

impl Drop for NamesWanted {
    fn drop(&mut self) {
        self.0.configured.want(Configured::default());
    }
}

impl Registry {
    /// Keeps the names of a configuration for it: no client gets them from now on. Those that clients hold already stay
    /// theirs until [`Registry::use_names`], if the operator wants to `take` them.
    ///
    /// # Errors
    /// What clients hold of it, unless they are to be taken.
    pub fn want_names(
        self: &Arc<Self>,
        wanted: Configured,
        take: bool,
    ) -> Result<NamesWanted, Vec<NameHeld>> {
        let _state = self.state.lock();
        let mut held: Vec<_> = wanted.each().filter_map(|name| self.holder(name)).collect();
        if !take && !held.is_empty() {
            held.sort_by(|one, other| one.name.cmp(&other.name));
            return Err(held);
        }
        self.configured.want(wanted);
        Ok(NamesWanted(self.clone()))
    }

    /// The names that were wanted are the operator's: whoever held one is told. Says which ones those were.
    pub fn use_names(&self, wanted: NamesWanted) -> Vec<NameHeld> {
        let mut state = self.state.lock();
        let names = self.configured.use_wanted();
        // Nothing is wanted any more: it has nothing to give back.
        drop(wanted);
        let taken: Vec<_> = names.each().filter_map(|name| self.holder(name)).collect();
        for NameHeld { name, .. } in &taken {
            self.take(&mut state, name);
        }
        // A port that nobody has any more may be bound for a moment yet.
        names.ports.iter().for_each(|port| self.ports.close(*port));
        taken
    }

    fn take(&self, state: &mut State, name: &Name) {
        let why = format!("{} belongs to the configuration of the server now", name.public());
        let members = self.names.look(name, |entry| entry.holding.members().to_vec()).unwrap_or_default();
        for member in members {
            let (principal, client) = (member.principal, member.client);
            let key = InstanceKey { principal, client, instance: member.instance };
            if let Some(held) = state.instances.get_mut(&key) {
                self.lose(held, name, &why);
            }
        }
        self.names.free(name);
    }

    /// An instance has `name` no more, and is told why; the name itself stays as it is.
    pub(super) fn lose(&self, held: &mut Held, name: &Name, why: &str) {
        let Some((id, registered)) = held.give_up(name) else { return };
        self.leave_group(&held.instance, &registered);
        tracing::info!(%name, client = &*held.instance.name, why, "a name was withdrawn");
        for session in held.instance.slots.all().iter() {
            session.notify(Notice {
                level: NoticeLevel::Warning,
                code: NoticeCode::NAME_WITHDRAWN,
                registration: Some(id),
                text: why.into(),
            });
        }
    }

    fn holder(&self, name: Name) -> Option<NameHeld> {
        let found = self.names.look(&name, |entry| {
            let principal = entry.holding.principal().cloned();
            let client = match entry.holding {
                Holding::Live { .. } => entry.behind.first().map(|behind| behind.instance.name.to_string()),
                Holding::Free | Holding::Reserved { .. } => None,
            };
            principal.map(|principal| (principal, client))
        });
        let (principal, client) = found.flatten()?;
        Some(NameHeld { name, principal, client })
    }
}
