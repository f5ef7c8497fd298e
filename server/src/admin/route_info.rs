//! What the admin interface says of routes: every way that a visitor may come in, and where it leads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::api::GroupMemberInfo;

/// Answer of `GET /v1/routes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// Number of the configuration in use; 0 without one.
    pub revision: u64,
    /// First the rules, in the order of the file; then tunnels, then what is relayed, each in order.
    pub routes: Vec<RouteInfo>,
    /// Listeners that could not be bound yet, as in `status`, and why; absent without.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub down: BTreeMap<String, String>,
}

/// One way that a visitor may come in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouteInfo {
    /// `rule`, `tunnel`, `tcp` or `tls`.
    pub kind: String,
    /// The rule's name; what is public of a tunnel; where relayed connections come in.
    pub name: String,
    /// The host or pattern that it is for; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Which requests or connections it takes, in words.
    pub takes: String,
    /// What becomes of them, in words.
    pub does: String,
    /// `served` by somebody, by `nobody`, or `answers` itself; `down` if nothing listens where connections to relay come in.
    pub state: String,
    /// Where it leads.
    pub targets: Vec<TargetInfo>,
    /// Failures so far, by error kind.
    pub failures: BTreeMap<String, u64>,
    /// The last of them, the newest first.
    pub recent: Vec<FailureInfo>,
}

/// One place that a route leads to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// `GROUP/SERVICE`, or a service next to the server.
    pub target: String,
    /// Its share.
    pub weight: u32,
    /// Who serves it or should.
    pub members: Vec<GroupMemberInfo>,
    /// Principals that are granted its group and have nobody connected.
    #[serde(default)]
    pub absent: Vec<String>,
    /// How its servers are, where that is known here: of services next to the server.
    #[serde(default)]
    pub servers: Vec<ServerInfo>,
}

/// One server of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Where it listens, and what it speaks.
    pub address: String,
    /// `healthy`, `failing`, `ejected`, `sick` or `disabled`.
    pub state: String,
    /// Requests and connections on it.
    pub carries: u32,
}

/// One failure, as it is found in the logs of both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureInfo {
    /// The error kind.
    pub kind: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// The trace id.
    pub trace: String,
}

impl RouteInfo {
    /// Whether it is about what `of` means: a host (also one without its `domain`), a port, a rule, a group, a service or a
    /// client. Lower case.
    #[must_use]
    pub fn is_about(&self, of: &str, domain: &str) -> bool {
        let is = |text: &str| text.eq_ignore_ascii_case(of);
        let full = if of.contains('.') { of.to_owned() } else { format!("{of}.{domain}") };
        // A port, or a service of a group, is not under a wildcard.
        let named = !of.contains('/') && of.parse::<u16>().is_err();
        let covers = |pattern: &str| match pattern.strip_prefix("*.") {
            Some(suffix) => {
                named && full.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(suffix))
            }
            None => pattern.eq_ignore_ascii_case(&full) || is(pattern),
        };
        let port = self.name.rsplit_once(':').map(|(_, port)| port);
        is(&self.name)
            || port.is_some_and(is)
            || self.host.as_deref().is_some_and(covers)
            || self.targets.iter().any(|target| target.is_about(of))
    }

    /// What it may be asked for by, for who mistyped it.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let of_targets = self.targets.iter().flat_map(|target| target.target.split('/'));
        [self.name.as_str()].into_iter().chain(self.host.as_deref()).chain(of_targets)
    }
}

impl TargetInfo {
    fn is_about(&self, of: &str) -> bool {
        let is = |text: &str| text.eq_ignore_ascii_case(of);
        is(&self.target)
            || self.target.split('/').any(is)
            || self.absent.iter().any(|principal| is(principal))
            || self.members.iter().any(|GroupMemberInfo { member, principal, .. }| {
                is(&member.client) || is(&member.name) || is(principal)
            })
    }

    /// How many of its members take work.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.members.iter().filter(|it| it.member.state == "ready").count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_means_a_route_by_any_part_of_it() {
        let target = |target: &str| TargetInfo {
            target: target.to_owned(),
            weight: 1,
            members: Vec::new(),
            absent: Vec::new(),
            servers: Vec::new(),
        };
        let route = |kind: &str, name: &str, host: Option<&str>, to: &str| RouteInfo {
            kind: kind.to_owned(),
            name: name.to_owned(),
            host: host.map(str::to_owned),
            takes: String::new(),
            does: String::new(),
            state: String::new(),
            targets: vec![target(to)],
            failures: BTreeMap::new(),
            recent: Vec::new(),
        };
        let routes = [
            route("rule", "app-api", Some("app.t.example.com"), "web/api"),
            route("rule", "wild", Some("*.t.example.com"), "web/app"),
            route("tcp", "[::]:5432", None, "web/db"),
            route("rule", "all", None, "billing"),
        ];
        for (of, expected) in [
            ("app.t.example.com", &["app-api", "wild"][..]),
            ("app", &["app-api", "wild"]),
            ("app-api", &["app-api", "wild"]),
            ("x.app.t.example.com", &[]),
            ("5432", &["[::]:5432"]),
            ("web", &["app-api", "wild", "[::]:5432"]),
            ("web/db", &["[::]:5432"]),
            ("billing", &["wild", "all"]),
            ("other.example.com", &[]),
        ] {
            let found: Vec<_> =
                routes.iter().filter(|it| it.is_about(of, "t.example.com")).map(|it| &*it.name).collect();
            assert_eq!(found, expected, "{of}");
        }
    }
}
