//! Who serves which service of a group: where rules send requests. Visitors read it without waiting for anybody; only the
//! registry changes it, under its own lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use ipnet::IpNet;

use super::names::Behind;

/// The services of all groups.
#[derive(Debug, Default)]
pub struct Groups(DashMap<Arc<str>, HashMap<Arc<str>, Served>>);

/// One service of a group, and the members that serve it.
#[derive(Debug, Default)]
pub struct Served {
    /// The members; one that serves it in two ways is in it twice.
    pub behind: Vec<Behind>,
    /// Which visitors may come; empty: all. The newest member's list holds for all.
    pub allow: Arc<[IpNet]>,
    turn: AtomicUsize,
}

impl Served {
    /// The index at which the next round-robin starts.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Groups {
    /// Looks at a service.
    pub fn look<T>(&self, group: &str, service: &str, at: impl FnOnce(&Served) -> T) -> Option<T> {
        self.0.get(group).and_then(|services| services.get(service).map(at))
    }

    /// A member serves `service` from now on.
    pub(super) fn join(&self, group: &Arc<str>, service: &str, behind: Behind, allow: Arc<[IpNet]>) {
        let mut services = self.0.entry(group.clone()).or_default();
        let served = services.entry(service.into()).or_default();
        served.behind.retain(|other| !other.is_same(&behind));
        served.behind.push(behind);
        served.allow = allow;
    }

    /// A member serves it no more; whoever does not changes nothing.
    pub(super) fn leave(&self, group: &Arc<str>, service: &str, behind: &Behind) {
        let Some(mut services) = self.0.get_mut(group) else { return };
        if let Some(served) = services.get_mut(service) {
            served.behind.retain(|other| !other.is_same(behind));
            if served.behind.is_empty() {
                services.remove(service);
            }
        }
        drop(services);
        self.0.remove_if(group, |_, services| services.is_empty());
    }
}
