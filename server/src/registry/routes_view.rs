//! What `routes` says: every way that a visitor may come in, where it leads, and whether somebody is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant, UNIX_EPOCH};

use ops::metrics::Failure;
use policy::ownership::Holding;
use policy::rule::{Action, Rule};
use protocol::service_name::ServiceName;
use proxy::directory::RouteLabels;

use super::Registry;
use super::name::Name;
use super::names::{Behind, Entry};
use super::view::{behind_info, failures};
use crate::admin::api::{GroupInfo, GroupMemberInfo};
use crate::admin::{FailureInfo, RouteInfo, ServerInfo, TargetInfo};

impl Registry {
    /// Every way that a visitor may come in: the rules, in the order of the file, then tunnels, then what is relayed.
    #[must_use]
    pub fn route_infos(&self) -> Vec<RouteInfo> {
        let groups: HashMap<String, GroupInfo> =
            self.group_infos().into_iter().map(|group| (group.name.clone(), group)).collect();
        let routing = self.routing();
        let rules = routing.routes().each().map(|(rule, labels)| self.rule_info(rule, &labels, &groups));
        let mut routes: Vec<_> = rules.collect();
        let mut tunnels = BTreeMap::new();
        self.names().each(|name, entry| {
            tunnels.insert(name.clone(), self.tunnel_info(name, entry));
        });
        routes.extend(tunnels.into_values());
        routes.extend(routing.relays().all().into_iter().map(|(listener, host, relay)| {
            let target = self.target_info(&relay.to, 1, &groups);
            let takes = match &host {
                Some(host) => format!("TLS for {host} at {listener}"),
                None => format!("connections to {listener}"),
            };
            RouteInfo {
                kind: if host.is_some() { "tls" } else { "tcp" }.to_owned(),
                name: listener.to_string(),
                host,
                takes,
                does: format!("to {}", relay.to),
                state: state_of(std::slice::from_ref(&target)),
                targets: vec![target],
                failures: failures(&relay.labels),
                recent: recent(&[&relay.labels]),
            }
        }));
        routes
    }

    fn rule_info(
        &self,
        rule: &Rule,
        labels: &[&RouteLabels],
        groups: &HashMap<String, GroupInfo>,
    ) -> RouteInfo {
        let targets: Vec<_> = match &rule.action {
            Action::Forward(targets) => {
                targets.iter().map(|it| self.target_info(&it.target, it.weight, groups)).collect()
            }
            Action::Redirect { .. } | Action::Respond { .. } => Vec::new(),
        };
        // What is counted is counted by group: two targets in one group have one count.
        let mut seen = HashSet::new();
        let mut counts = BTreeMap::new();
        for labels in labels.iter().filter(|labels| seen.insert(labels.group.clone())) {
            for (kind, count) in failures(labels) {
                let sum: &mut u64 = counts.entry(kind).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        RouteInfo {
            kind: "rule".to_owned(),
            name: rule.name.to_string(),
            host: rule.matcher.host.as_ref().map(ToString::to_string),
            takes: rule.matcher.to_string(),
            does: rule.action.to_string(),
            state: if targets.is_empty() { "answers".to_owned() } else { state_of(&targets) },
            targets,
            failures: counts,
            recent: recent(labels),
        }
    }

    fn tunnel_info(&self, name: &Name, entry: &Entry) -> RouteInfo {
        let labels = &entry.labels;
        let principal = entry.holding.principal().map(ToString::to_string).unwrap_or_default();
        let member = |behind: &Behind| GroupMemberInfo {
            member: seen(behind),
            principal: behind.instance.key.principal.to_string(),
            reason: None,
        };
        let own = labels.group.starts_with('~');
        let target = TargetInfo {
            target: if own {
                labels.service.to_string()
            } else {
                format!("{}/{}", labels.group, labels.service)
            },
            weight: 1,
            members: entry.behind.iter().map(member).collect(),
            absent: Vec::new(),
            servers: Vec::new(),
        };
        RouteInfo {
            kind: "tunnel".to_owned(),
            name: name.public(),
            host: matches!(name, Name::Http(_)).then(|| name.public()),
            takes: self.url(name),
            does: match entry.holding {
                Holding::Live { .. } => format!("to the tunnel {} of {principal}", labels.service),
                _ => format!("kept for {principal}"),
            },
            state: state_of(std::slice::from_ref(&target)),
            targets: vec![target],
            failures: failures(labels),
            recent: recent(&[labels]),
        }
    }

    fn target_info(&self, to: &ServiceName, weight: u32, groups: &HashMap<String, GroupInfo>) -> TargetInfo {
        let mut info = TargetInfo {
            target: to.to_string(),
            weight,
            members: Vec::new(),
            absent: Vec::new(),
            servers: Vec::new(),
        };
        match to {
            ServiceName::Grouped { group, service } => {
                info.members = self.members_of(group, service, groups.get(group));
                info.absent = self.absent(group, &info.members);
            }
            ServiceName::Plain(service) => {
                let standings = self.nearby().service(service).map(|it| it.standings()).unwrap_or_default();
                let server = |it: proxy::service::ServerStanding| ServerInfo {
                    address: it.address,
                    state: it.state.to_owned(),
                    carries: it.carries,
                };
                info.servers = standings.into_iter().map(server).collect();
            }
            ServiceName::Own(_) => {}
        }
        info
    }

    /// Those who serve it, and those who are in the group and do not.
    fn members_of(&self, group: &str, service: &str, info: Option<&GroupInfo>) -> Vec<GroupMemberInfo> {
        let mut members = info.map_or_else(Vec::new, |info| info.members.clone());
        // The group's list has those of all its services.
        members.iter_mut().for_each(|it| it.member.servers.retain(|server| server.service == service));
        let serving = self.groups().look(group, service, |served| {
            let known = |behind: &Behind| (behind.instance.key.principal.to_string(), seen(behind));
            served.behind.iter().map(known).collect::<Vec<_>>()
        });
        for (principal, member) in serving.unwrap_or_default() {
            let is_it = |other: &&mut GroupMemberInfo| other.member.instance == member.instance;
            match members.iter_mut().find(is_it) {
                // That its service fails is found by those who ask it; the rest it says itself.
                Some(known) if known.member.state == "ready" => known.member.state = member.state,
                // What it does not serve of the group's part it may serve by a tunnel of its own.
                Some(known) if known.member.state == "behind" => {
                    known.member.state = member.state;
                    known.reason =
                        known.reason.take().map(|reason| format!("by a tunnel of its own; {reason}"));
                }
                Some(_) => {}
                None => members.push(GroupMemberInfo { member, principal, reason: None }),
            }
        }
        members
    }

    /// The principals that are granted `group` and have none of `members`.
    fn absent(&self, group: &str, members: &[GroupMemberInfo]) -> Vec<String> {
        let book = self.identity.book();
        let configured = book.configured().filter(|(_, grants)| grants.groups.iter().any(|it| it == group));
        let invited =
            book.principals().filter(|granted| granted.grants().groups.iter().any(|it| it == group));
        let names =
            configured.map(|(name, _)| name.to_string()).chain(invited.map(|it| it.name.0.to_string()));
        let mut absent: Vec<_> =
            names.filter(|name| members.iter().all(|member| member.principal != *name)).collect();
        absent.sort();
        absent.dedup();
        absent
    }
}

/// A member, and whether its service fails.
fn seen(behind: &Behind) -> crate::admin::api::MemberInfo {
    let mut info = behind_info(behind);
    if info.state == "ready" && !behind.fitness.is_fit(Instant::now()) {
        info.state = "sick".to_owned();
    }
    info
}

fn state_of(targets: &[TargetInfo]) -> String {
    let serves = |it: &TargetInfo| it.servers.iter().any(|server| server.state != "disabled");
    let served = targets.iter().any(|it| it.ready() > 0 || serves(it));
    if served { "served" } else { "nobody" }.to_owned()
}

/// The last failures of all `labels`, the newest first.
fn recent(labels: &[&RouteLabels]) -> Vec<FailureInfo> {
    let mut failures: Vec<Failure> = labels.iter().flat_map(|labels| labels.metrics.failures()).collect();
    failures.sort_by_key(|failure| (std::cmp::Reverse(failure.at), failure.trace));
    failures.dedup();
    failures.truncate(RECENT);
    let info = |failure: Failure| FailureInfo {
        kind: failure.kind.as_str().to_owned(),
        at: failure.at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs(),
        trace: failure.trace.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    failures.into_iter().map(info).collect()
}

/// So many are shown.
const RECENT: usize = 8;
