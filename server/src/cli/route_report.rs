//! What people read of routes: the table of all of them, and everything about one.

use std::time::{SystemTime, UNIX_EPOCH};

use super::report::{ago, down, failure_line, milliseconds, short};
use super::table::table;
use crate::admin::api::GroupMemberInfo;
use crate::admin::{FailureInfo, RouteInfo, Routes, ServerInfo, TargetInfo};

/// One line per route.
pub(super) fn routes(routes: &Routes) -> String {
    let rows = routes.routes.iter().map(|route| {
        let failures: u64 = route.failures.values().fold(0, |sum, count| sum.saturating_add(*count));
        [
            route.kind.clone(),
            route.name.clone(),
            route.takes.clone(),
            route.does.clone(),
            route.state.clone(),
            who(route),
            failures.to_string(),
        ]
    });
    let text = table(["KIND", "ROUTE", "TAKES", "DOES", "STATE", "READY", "FAILED"], rows);
    let text = if text.is_empty() {
        "no rule, no tunnel, no relay: visitors get 404 no-route\n".to_owned()
    } else {
        text
    };
    format!("{}{text}", down(&routes.down))
}

/// Members that are ready, of all that should be.
fn who(route: &RouteInfo) -> String {
    let ready = route.targets.iter().map(TargetInfo::ready).sum::<usize>();
    let all = route.targets.iter().map(|it| it.members.len().saturating_add(it.absent.len())).sum::<usize>();
    let servers = route.targets.iter().flat_map(|it| &it.servers);
    let healthy = servers.clone().filter(|it| it.state == "healthy").count();
    match (all, servers.count()) {
        (0, 0) => "-".to_owned(),
        (0, servers) => format!("{healthy}/{servers} servers"),
        (all, _) => format!("{ready}/{all}"),
    }
}

/// Everything about one route.
pub(super) fn route(route: &RouteInfo, now: SystemTime) -> String {
    let RouteInfo { kind, name, takes, does, targets, failures, recent, .. } = route;
    let mut text = format!("{kind} {name}: {takes}; {does}\n");
    text.push_str(&failure_line(failures));
    // One line for each kind: what failed last of it.
    let mut told: Vec<&str> = Vec::new();
    for FailureInfo { kind, at, trace } in recent {
        if !told.contains(&kind.as_str()) {
            told.push(kind);
            text.push_str(&format!("    last {kind} {}, trace {trace}\n", ago(*at, now.max(UNIX_EPOCH))));
        }
    }
    for target in targets {
        text.push_str(&target_lines(target, kind, targets.len() > 1));
    }
    text
}

fn target_lines(target: &TargetInfo, kind: &str, weighted: bool) -> String {
    let TargetInfo { target: to, weight, members, absent, servers } = target;
    let share = if weighted { format!(", weight {weight}") } else { String::new() };
    let there = members.len().saturating_add(absent.len());
    let mut text = match servers.as_slice() {
        [] => format!("  {to}{share}: {} of {there} members ready\n", target.ready()),
        servers => format!("  {to}{share}: next to the server, {} servers\n", servers.len()),
    };
    for ServerInfo { address, state, carries } in servers {
        text.push_str(&format!("    server {address} {state}, carries {carries}\n"));
    }
    let rows = members.iter().map(|GroupMemberInfo { member, principal, .. }| {
        [
            format!("    {} ({})", member.name, short(&member.client)),
            principal.clone(),
            member.state.clone(),
            milliseconds(member.rtt_ms),
            member.sessions.to_string(),
        ]
    });
    let gone = absent.iter().map(|principal| {
        let word = |text: &str| text.to_owned();
        [word("    -"), principal.clone(), word("absent"), word("-"), word("0")]
    });
    text.push_str(&table(["    MEMBER", "PRINCIPAL", "STATE", "RTT", "SESSIONS"], rows.chain(gone)));
    for GroupMemberInfo { member, .. } in members.iter().filter(|it| !it.member.servers.is_empty()) {
        let servers: Vec<_> = member.servers.iter().map(|it| format!("{} {}", it.server, it.state)).collect();
        text.push_str(&format!("    {}: {}\n", member.name, servers.join(", ")));
    }
    // Not in the table: it has a line to paste, whole.
    for GroupMemberInfo { member, reason, .. } in members {
        if let Some(reason) = reason {
            text.push_str(&format!("    {}: {reason}\n", member.name));
        }
    }
    if target.ready() == 0 && servers.is_empty() {
        let then = if matches!(kind, "tcp" | "tls") { "are cut off" } else { "get 503 no-member" };
        text.push_str(&format!("    nobody is ready to serve it; visitors wait a moment, then {then}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::admin::api::MemberInfo;

    #[test]
    fn the_question_at_two_in_the_morning() {
        let member = |name: &str, state: &str, reason: Option<&str>| GroupMemberInfo {
            member: MemberInfo {
                client: "0123456789abcdef".to_owned(),
                instance: String::new(),
                name: name.to_owned(),
                state: state.to_owned(),
                rtt_ms: Some(1.25),
                sessions: 2,
                servers: Vec::new(),
            },
            principal: name.to_owned(),
            reason: reason.map(str::to_owned),
        };
        let info = RouteInfo {
            kind: "rule".to_owned(),
            name: "app".to_owned(),
            host: Some("app.t.example.com".to_owned()),
            takes: "host app.t.example.com".to_owned(),
            does: "to web/app".to_owned(),
            state: "served".to_owned(),
            targets: vec![TargetInfo {
                target: "web/app".to_owned(),
                weight: 1,
                members: vec![
                    member("edge-1", "ready", None),
                    member("edge-2", "behind", Some("add to [allow]")),
                ],
                absent: vec!["edge-3".to_owned()],
                servers: Vec::new(),
            }],
            failures: BTreeMap::from([("service-refused".to_owned(), 3)]),
            recent: [(90, "b"), (40, "a")]
                .map(|(at, trace)| FailureInfo {
                    kind: "service-refused".to_owned(),
                    at,
                    trace: trace.to_owned(),
                })
                .into(),
        };
        let text = route(&info, UNIX_EPOCH + Duration::from_secs(100));
        let expected = "rule app: host app.t.example.com; to web/app\n  \
             failures service-refused 3\n    \
               last service-refused 10s ago, trace b\n  \
             web/app: 1 of 3 members ready\n    \
               MEMBER             PRINCIPAL  STATE   RTT     SESSIONS\n    \
               edge-1 (01234567)  edge-1     ready   1.2 ms  2\n    \
               edge-2 (01234567)  edge-2     behind  1.2 ms  2\n    \
               -                  edge-3     absent  -       0\n    \
               edge-2: add to [allow]\n";
        assert_eq!(text, expected, "\n{text}");
        let down = [("http".to_owned(), "taken".to_owned())].into();
        let all = routes(&Routes { revision: 1, routes: vec![info], down });
        assert!(all.starts_with("http is down, and tried again: taken\n"), "{all}");
        assert!(all.contains("rule  app    host app.t.example.com  to web/app  served  1/3    3"), "{all}");
    }
}
