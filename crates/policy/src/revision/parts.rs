//! What two documents differ in, part by part. Names only: values may be secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What became of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It says something else.
    Changed,
    /// Its entries are in another order.
    Reordered,
}

/// A part that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartChange {
    /// The key of the document: `rule`, `listen.https`.
    pub part: String,
    /// Which of several; empty if there is one only.
    pub name: String,
    /// What became of it.
    pub change: Change,
}

impl fmt::Display for PartChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.change {
            Change::Added => "added",
            Change::Removed => "removed",
            Change::Changed => "changed",
            Change::Reordered => "in another order",
        };
        match self.name.as_str() {
            "" => write!(f, "{} {word}", self.part),
            name => write!(f, "{} {name} {word}", self.part),
        }
    }
}

/// The keys that an entry of a list is called by, best first.
const NAMES: [&str; 4] = ["name", "host", "listen", "cert"];

/// What `after` says otherwise than `before`, in order; nothing exactly if they are equal.
#[must_use]
pub fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<PartChange> {
    let mut changes = Vec::new();
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        match (before.get(key), after.get(key)) {
            (Some(Value::Object(before)), Some(Value::Object(after)))
                if !(before.is_empty() || after.is_empty()) =>
            {
                tables(key, before, after, &mut changes);
            }
            (before, after)
                if is_entries(before) && is_entries(after) && !(is_empty(before) && is_empty(after)) =>
            {
                entries(key, before, after, &mut changes);
            }
            (before, after) => put(key.clone(), String::new(), before, after, &mut changes),
        }
    }
    changes
}

/// A table whose keys are parts of their own.
fn tables(
    part: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<PartChange>,
) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        put(format!("{part}.{key}"), String::new(), before.get(key), after.get(key), changes);
    }
}

/// A list of tables, or nothing.
fn is_entries(value: Option<&Value>) -> bool {
    match value {
        None => true,
        Some(Value::Array(list)) => list.iter().all(Value::is_object),
        Some(_) => false,
    }
}

fn is_empty(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.as_array().is_some_and(Vec::is_empty))
}

fn entries(part: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<PartChange>) {
    let (differs, found) = (before != after, changes.len());
    let (before, after) = (named(before), named(after));
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (before.iter().cloned().collect(), after.iter().cloned().collect());
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        put(part.to_owned(), name.clone(), old.get(name).copied(), new.get(name).copied(), changes);
    }
    let kept_before = before.iter().map(|(name, _)| name).filter(|name| new.contains_key(*name));
    let kept_after = after.iter().map(|(name, _)| name).filter(|name| old.contains_key(*name));
    if !kept_before.eq(kept_after) {
        changes.push(PartChange { part: part.to_owned(), name: String::new(), change: Change::Reordered });
    }
    if differs && changes.len() == found {
        // Names that look like numbered ones hide it.
        changes.push(PartChange { part: part.to_owned(), name: String::new(), change: Change::Changed });
    }
}

/// The entries of a list with what they are called. Those of one name, and those without, have a number too.
fn named(list: Option<&Value>) -> Vec<(String, &Value)> {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let list = list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let called = list.iter().map(|entry| {
        let called = NAMES.iter().find_map(|key| entry.get(key).and_then(Value::as_str)).unwrap_or_default();
        let count = taken.entry(called.to_owned()).or_default();
        *count = count.saturating_add(1);
        let name = match (called, *count) {
            ("", count) => format!("#{count}"),
            (called, 1) => called.to_owned(),
            (called, count) => format!("{called} #{count}"),
        };
        (name, entry)
    });
    called.collect()
}

fn put(
    part: String,
    name: String,
    before: Option<&Value>,
    after: Option<&Value>,
    changes: &mut Vec<PartChange>,
) {
    let change = match (before, after) {
        (None, Some(_)) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(before), Some(after)) if before != after => Change::Changed,
        _ => return,
    };
    changes.push(PartChange { part, name, change });
}
