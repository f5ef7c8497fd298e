//! A bound on label sets whose values come from configuration or from peers.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// Values by key, at most `limit` of them; every key beyond shares one value.
///
/// Entries are never removed: a series that disappears and returns would look like a restart.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    limit: usize,
    entries: Mutex<HashMap<K, V>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Bounded<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, entries: Mutex::new(HashMap::new()) }
    }

    /// The value of `key`, made with `make` when it is new. Beyond the limit it is the value of
    /// `other`, which has room of its own.
    pub(super) fn get(&self, key: &K, other: impl FnOnce() -> K, make: impl FnOnce(&K) -> V) -> V {
        let mut entries = self.entries.lock();
        if let Some(value) = entries.get(key) {
            return value.clone();
        }
        let key = if entries.len() < self.limit { key.clone() } else { other() };
        entries.entry(key).or_insert_with_key(make).clone()
    }
}
