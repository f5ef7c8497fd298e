//! Principals and their grants, as `invite` makes them.

use policy::grant::{Grants, Quotas};
use policy::group::GroupKey;
use policy::host::Host;
use policy::host_pattern::HostPattern;
use policy::port::PortRange;
use policy::principal::Principal;
use protocol::limits::NAME_MAX;
use protocol::service_name::is_name;
use serde::{Deserialize, Serialize};

use super::written::Written;

/// What a principal was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    /// Who.
    pub name: Written<Principal>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Hosts, exact or `*.sub`.
    #[serde(default)]
    pub hosts: Vec<Written<HostPattern>>,
    /// TCP ports.
    #[serde(default)]
    pub ports: Vec<Written<PortRange>>,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Services next to the server that it may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reach: Vec<String>,
    /// Names at once; none: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_names: Option<u32>,
    /// Sessions at once; none: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Requests and connections at once; none: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
}

/// Grants to add.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewGrants {
    hosts: Vec<HostPattern>,
    ports: Vec<PortRange>,
    groups: Vec<String>,
    reach: Vec<String>,
    max_names: Option<u32>,
    max_sessions: Option<u32>,
    max_requests: Option<u32>,
}

/// A grant that can not be made. Each says which one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No host pattern.
    #[error("--host {0:?}: {1}")]
    Host(String, String),
    /// No port range.
    #[error("--port {0:?}: {1}")]
    Port(String, String),
    /// No group.
    #[error("--group {0:?}: {1}")]
    Group(String, String),
    /// No service.
    #[error("--reach {0:?}: a service's name is 1 to {NAME_MAX} letters, digits, '.', '_' or '-'")]
    Reach(String),
    /// No quota.
    #[error("--quota {0:?}: write names=N, sessions=N or requests=N")]
    Quota(String),
}

impl NewGrants {
    /// Reads grants; a host without a dot is meant under `domain`.
    ///
    /// # Errors
    /// The first that is none.
    pub fn parse(
        domain: &Host,
        hosts: &[String],
        ports: &[String],
        groups: &[String],
        reach: &[String],
        quotas: &[String],
    ) -> Result<Self, GrantError> {
        let mut grants = Self::default();
        for text in hosts {
            grants.hosts.push(pattern(text, domain).map_err(|e| GrantError::Host(text.clone(), e))?);
        }
        for text in ports {
            let range = PortRange::parse(text).map_err(|e| GrantError::Port(text.clone(), e.to_string()))?;
            grants.ports.push(range);
        }
        for text in groups {
            GroupKey::named(text).map_err(|e| GrantError::Group(text.clone(), e.to_string()))?;
            grants.groups.push(text.clone());
        }
        for text in reach {
            if !is_name(text) {
                return Err(GrantError::Reach(text.clone()));
            }
            grants.reach.push(text.clone());
        }
        for text in quotas {
            let place = match text.split_once('=') {
                Some(("names", _)) => &mut grants.max_names,
                Some(("sessions", _)) => &mut grants.max_sessions,
                Some(("requests", _)) => &mut grants.max_requests,
                _ => return Err(GrantError::Quota(text.clone())),
            };
            let number = text.split_once('=').and_then(|(_, n)| n.parse().ok());
            *place = Some(number.ok_or_else(|| GrantError::Quota(text.clone()))?);
        }
        Ok(grants)
    }
}

impl Granted {
    /// A principal with nothing.
    #[must_use]
    pub fn new(name: Principal, created: u64) -> Self {
        Self {
            name: Written(name),
            created,
            hosts: Vec::new(),
            ports: Vec::new(),
            groups: Vec::new(),
            reach: Vec::new(),
            max_names: None,
            max_sessions: None,
            max_requests: None,
        }
    }

    /// Adds `more`; a quota takes the place of the one before.
    pub fn add(&mut self, more: NewGrants) {
        add_new(&mut self.hosts, more.hosts.into_iter().map(Written));
        add_new(&mut self.ports, more.ports.into_iter().map(Written));
        add_new(&mut self.groups, more.groups);
        add_new(&mut self.reach, more.reach);
        self.max_names = more.max_names.or(self.max_names);
        self.max_sessions = more.max_sessions.or(self.max_sessions);
        self.max_requests = more.max_requests.or(self.max_requests);
    }

    /// As decisions need them.
    #[must_use]
    pub fn grants(&self) -> Grants {
        let standard = Quotas::default();
        Grants {
            hosts: self.hosts.iter().map(|Written(pattern)| pattern.clone()).collect(),
            any_host_under: None,
            ports: self.ports.iter().map(|Written(range)| *range).collect(),
            groups: self.groups.clone(),
            reach: self.reach.clone(),
            quotas: Quotas {
                names: self.max_names.unwrap_or(standard.names),
                sessions: self.max_sessions.unwrap_or(standard.sessions),
                requests: self.max_requests.or(standard.requests),
            },
        }
    }
}

fn pattern(text: &str, domain: &Host) -> Result<HostPattern, String> {
    let complete = match text {
        "" | "*" => text.to_owned(),
        _ if text.contains('.') => text.to_owned(),
        _ => format!("{text}.{domain}"),
    };
    HostPattern::parse(&complete).map_err(|error| error.to_string())
}

fn add_new<T: PartialEq>(to: &mut Vec<T>, new: impl IntoIterator<Item = T>) {
    for value in new {
        if !to.contains(&value) {
            to.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn parse(
        hosts: &[&str],
        ports: &[&str],
        groups: &[&str],
        quotas: &[&str],
    ) -> Result<NewGrants, GrantError> {
        let domain = Host::parse("t.example.com").unwrap();
        NewGrants::parse(
            &domain,
            &texts(hosts),
            &texts(ports),
            &texts(groups),
            &texts(&["billing"]),
            &texts(quotas),
        )
    }

    #[test]
    fn grants_are_added_once_and_quotas_replaced() {
        let mut bob = Granted::new(Principal::parse("bob").unwrap(), 1);
        bob.add(parse(&["wiki", "*.b.org"], &["2222"], &["web"], &["names=3"]).unwrap());
        bob.add(
            parse(
                &["wiki", "demo.c.org"],
                &["2222", "8000-8001"],
                &["web"],
                &["names=4", "sessions=1", "requests=7"],
            )
            .unwrap(),
        );
        let grants = bob.grants();
        let hosts: Vec<_> = grants.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["wiki.t.example.com", "*.b.org", "demo.c.org"]);
        assert_eq!(grants.ports.len(), 2);
        assert_eq!(grants.groups, ["web"]);
        assert_eq!(grants.reach, ["billing"]);
        assert_eq!(grants.quotas, Quotas { names: 4, sessions: 1, requests: Some(7) });
    }

    #[test]
    fn what_is_no_grant_is_named() {
        assert!(matches!(parse(&["a_b"], &[], &[], &[]), Err(GrantError::Host(..))));
        assert!(matches!(parse(&["*"], &[], &[], &[]), Err(GrantError::Host(..))));
        assert!(matches!(parse(&[], &["0"], &[], &[]), Err(GrantError::Port(..))));
        assert!(matches!(parse(&[], &[], &["~x"], &[]), Err(GrantError::Group(..))));
        assert!(matches!(parse(&[], &[], &[], &["names=-1"]), Err(GrantError::Quota(_))));
        assert!(matches!(parse(&[], &[], &[], &["bytes=1"]), Err(GrantError::Quota(_))));
    }
}
