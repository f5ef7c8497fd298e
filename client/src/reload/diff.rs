//! What another configuration changes, in words.

use crate::login::Login;
use crate::settings::Settings;

/// How `new` differs from `old`; nothing if it does not.
pub(super) fn diff(old: &Settings, new: &Settings) -> Vec<String> {
    let mut changes = Vec::new();
    named("tunnel", &old.tunnels, &new.tunnels, |it| &it.name, &mut changes);
    named("forward", &old.forwards, &new.forwards, |it| &it.name, &mut changes);
    named("plugin", &old.plugins, &new.plugins, |it| &it.name, &mut changes);
    let simple = [
        ("[allow]", old.allow != new.allow),
        ("name", old.name != new.name),
        ("servers", old.servers != new.servers),
        ("the join string", old.join != new.join),
        ("whom it trusts", old.trust != new.trust && old.join == new.join),
        ("the certificate", old.certificate != new.certificate),
        ("connections", old.connections != new.connections),
        ("rotation", old.rotation != new.rotation),
        ("ops", old.ops != new.ops),
    ];
    let changed = simple.iter().filter(|(_, changed)| *changed);
    changes.extend(changed.map(|(what, _)| format!("{what} changed")));
    debug_assert!(Login::is_same(old, new) || !changes.is_empty());
    changes
}

fn named<T: PartialEq>(
    what: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    changes: &mut Vec<String>,
) {
    let find = |list: &[T], wanted: &T| list.iter().position(|it| name(it) == name(wanted));
    for it in old.iter().filter(|it| find(new, it).is_none()) {
        changes.push(format!("{what} {} removed", name(it)));
    }
    for it in new {
        match find(old, it).and_then(|place| old.get(place)) {
            None => changes.push(format!("{what} {} added", name(it))),
            Some(before) if before != it => changes.push(format!("{what} {} changed", name(it))),
            Some(_) => {}
        }
    }
}
