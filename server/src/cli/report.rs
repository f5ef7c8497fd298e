//! What people read: a few aligned lines.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::table::table;
use crate::admin::Entry;
use crate::admin::api::{
    ConfigInfo, CredentialInfo, DisabledInfo, GroupInfo, GroupMemberInfo, IngressInfo, Invited, MemberInfo,
    NameInfo, PrincipalInfo, Revoked, ServerInfo, SessionInfo, Status, Switched,
};

/// Digits of a client's id that tell it apart on a screen.
const SHORT_ID: usize = 8;

/// The whole server.
pub(super) fn status(status: &Status) -> String {
    let Status { version, state, domain, listen, uptime_seconds, sessions, names, groups, ingresses, .. } =
        status;
    let mut text = format!(
        "tunneld {version}, {state}, up {}\ndomain {domain}\nlisten tunnel {}, http {}{}, ops {}{}\n",
        span(*uptime_seconds),
        listen.tunnel,
        listen.http,
        listen.https.as_ref().map_or_else(String::new, |https| format!(", https {https}")),
        listen.ops,
        listen.admin.as_ref().map_or_else(String::new, |admin| format!(", admin {admin}"))
    );
    text.push_str(&down(&listen.down));
    text.push_str(&config(status.revision, &status.config));
    if !status.disabled.is_empty() {
        text.push_str(&format!("\ndisabled ({})\n", status.disabled.len()));
        status.disabled.iter().for_each(|info| text.push_str(&disabled_line(info)));
    }
    text.push_str(&format!("\nnames ({})\n{}", names.len(), names_table(names)));
    if !ingresses.is_empty() {
        text.push_str(&format!("\ningresses ({})\n", ingresses.len()));
        ingresses.iter().for_each(|info| text.push_str(&ingress_lines(info)));
    }
    if !groups.is_empty() {
        text.push_str(&format!("\ngroups ({})\n", groups.len()));
        groups.iter().for_each(|info| text.push_str(&group_lines(info)));
    }
    text.push_str(&format!("\nsessions ({})\n{}", sessions.len(), self::sessions(sessions)));
    text
}

/// The listeners that could not be bound yet.
pub(super) fn down(listeners: &BTreeMap<String, String>) -> String {
    listeners.iter().map(|(name, why)| format!("{name} is down, and tried again: {why}\n")).collect()
}

/// Which configuration is in force, and what is to be known of it.
pub(super) fn config(revision: u64, info: &ConfigInfo) -> String {
    if revision == 0 {
        return "no configuration\n".to_owned();
    }
    let ConfigInfo { by, note, undone_in_seconds, pending, lacks } = info;
    let by = by.as_ref().map_or_else(String::new, |by| format!(", by {by}"));
    let note = note.as_ref().map_or_else(String::new, |note| format!(": {}", note.escape_debug()));
    let mut text = format!("revision {revision}{by}{note}\n");
    if let Some(seconds) = undone_in_seconds {
        text.push_str(&format!("  it is undone in {seconds} s unless you say `tunneld config confirm`\n"));
    }
    if let Some(reason) = pending {
        text.push_str(&format!("  the configuration file is not in force: {reason}\n"));
    }
    lacks.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}

/// What is out of service of what was asked for.
pub(super) fn disabled(infos: &[DisabledInfo]) -> String {
    infos.iter().map(|info| format!("disabled: {}", disabled_line(info).trim_start())).collect()
}

fn disabled_line(info: &DisabledInfo) -> String {
    let DisabledInfo { what, called, since } = info;
    let called = called.as_ref().map_or_else(String::new, |called| format!(" ({called})"));
    format!("  {what}{called}, {}\n", ago(*since, SystemTime::now()))
}

/// The groups and sessions of one word; its routes say the rest.
pub(super) fn matches(status: &Status) -> String {
    let mut text: String = status.groups.iter().map(group_lines).collect();
    if !status.sessions.is_empty() {
        text.push_str(&sessions(&status.sessions));
    }
    text
}

/// A configured ingress, and who is behind it.
fn ingress_lines(info: &IngressInfo) -> String {
    let IngressInfo { kind, listen, down, host, to, members, failures } = info;
    let host = host.as_ref().map_or_else(String::new, |host| format!(" for {host}"));
    let mut text = format!("{kind} {listen}{host} to {to}\n");
    if let Some(why) = down {
        text.push_str(&format!("  down: {why}\n"));
    }
    if members.is_empty() && to.contains('/') {
        text.push_str("  nobody is connected who serves it; visitors wait a moment, then are cut off\n");
    }
    members.iter().for_each(|info| text.push_str(&member(info)));
    text.push_str(&failure_line(failures));
    text
}

pub(super) fn failure_line(failures: &BTreeMap<String, u64>) -> String {
    if failures.is_empty() {
        return String::new();
    }
    let kinds: Vec<_> = failures.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    format!("  failures {}\n", kinds.join(", "))
}

fn member(info: &MemberInfo) -> String {
    let MemberInfo { client, name, state, rtt_ms, sessions, servers, .. } = info;
    let rtt = milliseconds(*rtt_ms);
    let mut text =
        format!("  member {name} ({}) {state}, round trip {rtt}, sessions {sessions}\n", short(client));
    let mut services: BTreeMap<&str, Vec<&ServerInfo>> = BTreeMap::new();
    for server in servers {
        services.entry(&server.service).or_default().push(server);
    }
    for (service, servers) in services {
        let servers: Vec<_> = servers.iter().map(|it| format!("{} {}", it.server, it.state)).collect();
        text.push_str(&format!("    {service}: {}\n", servers.join(", ")));
    }
    text
}

/// What is behind one group of the configuration.
fn group_lines(info: &GroupInfo) -> String {
    let GroupInfo { name, revision, services, members, disabled } = info;
    let services = if services.is_empty() { "no service".to_owned() } else { services.join(", ") };
    let mut text = format!("group {name}, revision {revision}: {services}\n");
    if *disabled {
        text.push_str("  disabled: visitors wait a moment, then get 503 no-member\n");
    }
    if members.is_empty() {
        text.push_str("  nobody is connected who is granted it\n");
    }
    for GroupMemberInfo { member: info, reason, .. } in members {
        text.push_str(&member(info));
        if let Some(reason) = reason {
            text.push_str(&format!("    {reason}\n"));
        }
    }
    text
}

fn names_table(names: &[NameInfo]) -> String {
    let rows = names.iter().map(|info| {
        let members: Vec<_> =
            info.members.iter().map(|member| format!("{} {}", member.name, member.state)).collect();
        let members = if members.is_empty() { "-".to_owned() } else { members.join(", ") };
        [info.url.clone(), info.state.clone(), info.principal.clone(), group(&info.group), members]
    });
    table(["URL", "STATE", "PRINCIPAL", "GROUP", "MEMBERS"], rows)
}

/// One line per session.
pub(super) fn sessions(sessions: &[SessionInfo]) -> String {
    let rows = sessions.iter().map(|info| {
        [
            info.session.to_string(),
            info.principal.clone(),
            format!("{} ({})", info.name, short(&info.client)),
            info.slot.to_string(),
            info.peer.clone(),
            span(info.age_seconds),
            milliseconds(info.rtt_ms),
            info.substreams.to_string(),
            info.state.clone(),
        ]
    });
    table(["SESSION", "PRINCIPAL", "CLIENT", "SLOT", "FROM", "AGE", "RTT", "SUBSTREAMS", "STATE"], rows)
}

/// One line per credential, under its principal.
pub(super) fn principals(principals: &[PrincipalInfo], now: SystemTime) -> String {
    let mut text = String::new();
    for info in principals {
        text.push_str(&format!("{}  {}\n", info.name, grants(info)));
        let rows = info.credentials.iter().map(|it| credential(it, now));
        text.push_str(&table(["  CREDENTIAL", "MADE", "LAST USED", "EXPIRES", "FOR"], rows));
    }
    if text.is_empty() {
        text.push_str("nobody may log in; `tunneld invite NAME` lets somebody in\n");
    }
    text
}

fn credential(info: &CredentialInfo, now: SystemTime) -> [String; 5] {
    let client = match (&info.client, info.once) {
        (Some(client), _) => short(client),
        (None, true) => "first client".to_owned(),
        (None, false) => "any client".to_owned(),
    };
    [
        format!("  {}", info.id),
        ago(info.created, now),
        info.last_used.map_or_else(|| "never".to_owned(), |at| ago(at, now)),
        info.expires.map_or_else(|| "never".to_owned(), |at| until(at, now)),
        client,
    ]
}

fn grants(info: &PrincipalInfo) -> String {
    let part = |what: &str, list: &[String]| match list {
        [] => None,
        list => Some(format!("{what} {}", list.join(", "))),
    };
    let parts = [
        part("hosts", &info.hosts),
        part("ports", &info.ports),
        part("groups", &info.groups),
        part("reach", &info.reach),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    match parts.as_slice() {
        [] => "one random name per tunnel".to_owned(),
        parts => parts.join("; "),
    }
}

/// What to send to whoever was invited.
pub(super) fn invited(invited: &Invited) -> String {
    let info = &invited.principal;
    format!(
        "{}: {}\nThis is the only copy of the secret (credential {}). On the client's machine:\n\n  tunnelc join '{}'\n",
        info.name,
        grants(info),
        invited.credential,
        invited.join
    )
}

/// What is gone.
pub(super) fn revoked(name: &str, revoked: &Revoked) -> String {
    let Revoked { credentials, sessions } = revoked;
    format!("{name}: revoked credentials: {}; sessions ended: {sessions}\n", credentials.join(", "))
}

/// What is out of service now, or in it again.
pub(super) fn switched(switched: &Switched, how: &str) -> String {
    let Switched { what, changed } = switched;
    if *changed { format!("{what} is {how}\n") } else { format!("{what} was {how} already\n") }
}

/// What operators did, the newest last.
pub(super) fn audit(entries: &[Entry], now: SystemTime) -> String {
    let rows = entries.iter().map(|entry| {
        let Entry { time, who, what, words, deed, result, reason } = entry;
        let words = if words.is_null() { String::new() } else { words.to_string() };
        let said = [words, deed.clone().unwrap_or_default(), reason.clone().unwrap_or_default()];
        let said: Vec<_> = said.into_iter().filter(|part| !part.is_empty()).collect();
        [ago(*time, now), who.clone(), what.clone(), result.clone(), said.join("; ")]
    });
    match entries {
        [] => "nothing was changed by a command yet\n".to_owned(),
        _ => table(["WHEN", "WHO", "COMMAND", "RESULT", "WHAT"], rows),
    }
}

/// A client's own group is as long as its id.
fn group(group: &str) -> String {
    match group.strip_prefix('~') {
        Some(client) => format!("~{}", short(client)),
        None => group.to_owned(),
    }
}

pub(super) fn short(id: &str) -> String {
    id.chars().take(SHORT_ID).collect()
}

pub(super) fn milliseconds(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"))
}

/// The two largest units of a time span.
pub(super) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{}h", hours % 24),
        () if hours > 0 => format!("{hours}h{}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

pub(super) fn since_epoch(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

pub(super) fn ago(at: u64, now: SystemTime) -> String {
    format!("{} ago", span(since_epoch(now).saturating_sub(at)))
}

fn until(at: u64, now: SystemTime) -> String {
    match at.checked_sub(since_epoch(now)) {
        Some(left) if left > 0 => format!("in {}", span(left)),
        _ => "expired".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_roughly() {
        assert_eq!(span(59), "59s");
        assert_eq!(span(61), "1m1s");
        assert_eq!(span(7_260), "2h1m");
        assert_eq!(span(90_000), "1d1h");
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(ago(40, now), "1m0s ago");
        assert_eq!((until(160, now), until(100, now)), ("in 1m0s".to_owned(), "expired".to_owned()));
    }
}
