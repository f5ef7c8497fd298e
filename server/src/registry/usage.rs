//! What the clients of one principal carry together, and how much that may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use policy::principal::Principal;

use super::instance::{Instance, InstanceKey};
use super::register::Held;
use super::{Registry, State};
use crate::session::Live;

/// No limit.
const UNLIMITED: u64 = u64::MAX;

/// Shared by the instances of a principal. What they carry is looked up, not counted along: it is as true as their
/// substreams are. Requests that are found a member in the same moment may together go over it by as many as there are
/// workers.
#[derive(Debug)]
pub struct Usage {
    most: AtomicU64,
    instances: ArcSwap<Vec<Arc<Instance>>>,
}

impl Default for Usage {
    fn default() -> Self {
        Self { most: AtomicU64::new(UNLIMITED), instances: ArcSwap::default() }
    }
}

impl Usage {
    /// Whether no more may be carried.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        most != UNLIMITED && self.carried() >= most
    }

    /// Requests and connections, both ways.
    #[must_use]
    pub fn carried(&self) -> u64 {
        let instances = self.instances.load();
        let loads = instances.iter().map(|instance| instance.load());
        loads.fold(0, |sum, load| sum.saturating_add(u64::try_from(load).unwrap_or(u64::MAX)))
    }

    /// So much may be carried from now on.
    pub(super) fn limit(&self, most: Option<u32>) {
        self.most.store(most.map_or(UNLIMITED, u64::from), Ordering::Relaxed);
    }

    /// Under the registry's lock, as everything that changes who there is.
    pub(super) fn join(&self, instance: &Arc<Instance>) {
        let mut instances = Vec::clone(&self.instances.load());
        instances.push(instance.clone());
        self.instances.store(Arc::new(instances));
    }

    /// The same. Says whether nobody is left.
    pub(super) fn leave(&self, instance: &Instance) -> bool {
        let mut instances = Vec::clone(&self.instances.load());
        instances.retain(|other| other.key != instance.key);
        let is_empty = instances.is_empty();
        self.instances.store(Arc::new(instances));
        is_empty
    }
}

impl Registry {
    /// What the grants of `principal` say of its requests holds from now on.
    pub fn limit(&self, principal: &Principal) {
        if let Some(usage) = self.state.lock().usages.get(principal) {
            self.limit_to_grants(principal, usage);
        }
    }

    pub(super) fn limit_to_grants(&self, principal: &Principal, usage: &Usage) {
        let grants = self.identity.book().grants(principal, &self.naming().domain);
        usage.limit(grants.and_then(|grants| grants.quotas.requests));
    }

    /// The instance that a session belongs to, which is made if this is its first.
    pub(super) fn instance_of(&self, state: &mut State, live: &Live, key: InstanceKey) -> Arc<Instance> {
        let usage = state.usages.entry(key.principal.clone()).or_default().clone();
        self.limit_to_grants(&key.principal, &usage);
        let held = state.instances.entry(key).or_insert_with(|| {
            let held = Held::new(Instance::new(live, usage.clone()));
            usage.join(&held.instance);
            held
        });
        held.instance.clone()
    }
}
