//! What the operator has taken out of service: it gets no new work, and finishes what it has. Kept apart from what is sick
//! and from what drains, which nobody asked for or which comes to its end.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use protocol::id::ClientId;
use protocol::service_name::is_name;

use crate::group::GroupKey;
use crate::host::Host;
use crate::principal::Principal;

/// Things that may be out of service at once.
pub const DISABLED_MAX: usize = 4_096;

/// What can be taken out of service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// All clients of a principal.
    Principal(Principal),
    /// One installation, in everything that it serves.
    Client(Installation),
    /// One installation as a member of a group; its other tunnels go on.
    Member(String, Installation),
    /// All that the members of a group serve.
    Group(String),
    /// Requests for a host, and its TLS that is passed through.
    Host(Host),
    /// Connections to a port.
    Port(u16),
    /// What a rule takes.
    Rule(String),
    /// One server of a service next to this server, by the name of the service and its address; the service's others go on.
    Server(String, String),
}

/// An installation of a client. Its id is its own choice, so it means nothing without whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Installation {
    /// Who logs in with it.
    pub principal: Principal,
    /// Which.
    pub client: ClientId,
}

/// The text names nothing that can be taken out of service. Whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is none of principal:NAME, client:PRINCIPAL/ID, member:GROUP/PRINCIPAL/ID, group:NAME, host:HOST, port:N, rule:NAME, server:SERVICE/ADDRESS"
)]
pub struct WhatError(String);

/// What is out of service. A value: whoever changes it changes a copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disabled(BTreeMap<What, Note>);

/// How something came to be out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// What a client called itself then; ids are hard to read.
    pub called: Option<String>,
}

/// Too much is out of service already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{DISABLED_MAX} things are disabled, which is all that there may be; `tunneld enable` some")]
pub struct TooMany;

/// How far an instance is out of service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standby {
    everything: bool,
    groups: Vec<String>,
}

impl Disabled {
    /// Takes `what` out of service. Says whether it was in service until now.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn disable(&mut self, what: What, note: Note) -> Result<bool, TooMany> {
        if self.0.contains_key(&what) {
            return Ok(false);
        }
        if self.0.len() >= DISABLED_MAX {
            return Err(TooMany);
        }
        self.0.insert(what, note);
        Ok(true)
    }

    /// Takes `what` into service again. Says whether it was out of it.
    pub fn enable(&mut self, what: &What) -> bool {
        self.0.remove(what).is_some()
    }

    /// All of it, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&What, &Note)> {
        self.0.iter()
    }

    /// Whether nothing is out of service, as nearly always.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `what` itself is named.
    #[must_use]
    pub fn names(&self, what: &What) -> bool {
        self.0.contains_key(what)
    }

    /// Whether requests for `host` are.
    #[must_use]
    pub fn is_host(&self, host: &Host) -> bool {
        !self.is_empty() && self.names(&What::Host(host.clone()))
    }

    /// Whether connections to `port` are.
    #[must_use]
    pub fn is_port(&self, port: u16) -> bool {
        self.names(&What::Port(port))
    }

    /// Whether the group called `group` is.
    #[must_use]
    pub fn is_group(&self, group: &str) -> bool {
        !self.is_empty() && self.names(&What::Group(group.to_owned()))
    }

    /// Whether the rule called `rule` is.
    #[must_use]
    pub fn is_rule(&self, rule: &str) -> bool {
        !self.is_empty() && self.names(&What::Rule(rule.to_owned()))
    }

    /// Whether the server at `address` of the service called `service` is.
    #[must_use]
    pub fn is_server(&self, service: &str, address: &str) -> bool {
        !self.is_empty() && self.names(&What::Server(service.to_owned(), address.to_owned()))
    }

    /// How far the instances of an installation are.
    #[must_use]
    pub fn of(&self, installation: &Installation) -> Standby {
        let mut standby = Standby::default();
        for what in self.0.keys() {
            match what {
                What::Principal(principal) => standby.everything |= *principal == installation.principal,
                What::Client(client) => standby.everything |= client == installation,
                What::Member(group, client) if client == installation => standby.groups.push(group.clone()),
                What::Member(..)
                | What::Group(_)
                | What::Host(_)
                | What::Port(_)
                | What::Rule(_)
                | What::Server(..) => {}
            }
        }
        standby
    }
}

impl Standby {
    /// Whether it gets nothing at all.
    #[must_use]
    pub const fn is_total(&self) -> bool {
        self.everything
    }

    /// Whether it gets nothing as a member of `group`.
    #[must_use]
    pub fn covers(&self, group: &str) -> bool {
        self.everything || self.groups.iter().any(|off| off == group)
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.principal, self.client)
    }
}

impl FromStr for Installation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (principal, client) = text.split_once('/').ok_or(())?;
        let principal = Principal::parse(principal).map_err(|_| ())?;
        Ok(Self { principal, client: client.parse().map_err(|_| ())? })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(name) => write!(f, "principal:{name}"),
            Self::Client(installation) => write!(f, "client:{installation}"),
            Self::Member(group, installation) => write!(f, "member:{group}/{installation}"),
            Self::Group(name) => write!(f, "group:{name}"),
            Self::Host(host) => write!(f, "host:{host}"),
            Self::Port(port) => write!(f, "port:{port}"),
            Self::Rule(name) => write!(f, "rule:{name}"),
            Self::Server(service, address) => write!(f, "server:{service}/{address}"),
        }
    }
}

impl FromStr for What {
    type Err = WhatError;

    fn from_str(text: &str) -> Result<Self, WhatError> {
        let error = || WhatError(text.to_owned());
        let group = |name: &str| GroupKey::named(name).map(|_| name.to_owned()).map_err(|_| error());
        let (kind, name) = text.split_once(':').ok_or_else(error)?;
        match kind {
            "principal" => Principal::parse(name).map(Self::Principal).map_err(|_| error()),
            "client" => name.parse().map(Self::Client).map_err(|()| error()),
            "member" => {
                let (of, installation) = name.split_once('/').ok_or_else(error)?;
                Ok(Self::Member(group(of)?, installation.parse().map_err(|()| error())?))
            }
            "group" => group(name).map(Self::Group),
            "host" => Host::parse(name).map(Self::Host).map_err(|_| error()),
            "port" => name.parse().map(Self::Port).map_err(|_| error()),
            // What a rule may be called, the configuration says.
            "rule" if !name.is_empty() => Ok(Self::Rule(name.to_owned())),
            "server" => match name.split_once('/') {
                Some((service, address)) if is_name(service) && !address.is_empty() => {
                    Ok(Self::Server(service.to_owned(), address.to_owned()))
                }
                _ => Err(error()),
            },
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn installation(principal: &str, client: u8) -> Installation {
        Installation { principal: Principal::parse(principal).unwrap(), client: ClientId([client; 16]) }
    }

    fn note() -> Note {
        Note { since: 1, called: None }
    }

    #[test]
    fn what_is_written_reads_back() {
        let id = "01".repeat(16);
        for text in [
            "principal:bob@example.com".to_owned(),
            format!("client:bob/{id}"),
            format!("member:web/bob/{id}"),
            "group:web".to_owned(),
            "host:app.t.example.com".to_owned(),
            "port:5432".to_owned(),
            "rule:app".to_owned(),
            "server:billing/http://10.0.0.5:8080".to_owned(),
            "server:db/unix:/run/db.sock".to_owned(),
        ] {
            assert_eq!(text.parse::<What>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "bob",
            "principal:",
            "client:bob",
            "client:bob/xy",
            "member:web",
            "group:~x",
            "host:",
            "rule:",
            "server:billing",
            "server:billing/",
            "server:/10.0.0.5:80",
        ] {
            assert!(text.parse::<What>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_principal_is_all_its_clients_and_a_member_only_in_its_group() {
        let (one, two, other) = (installation("bob", 1), installation("bob", 2), installation("eve", 1));
        let mut disabled = Disabled::default();
        assert_eq!(disabled.disable(What::Member("web".to_owned(), one.clone()), note()), Ok(true));
        assert_eq!(disabled.disable(What::Member("web".to_owned(), one.clone()), note()), Ok(false));
        assert!(disabled.of(&one).covers("web") && !disabled.of(&one).covers("api"));
        assert!(!disabled.of(&one).is_total() && !disabled.of(&two).covers("web"));
        disabled.disable(What::Client(two.clone()), note()).unwrap();
        assert!(disabled.of(&two).is_total() && disabled.of(&two).covers("api"));
        // The same id of somebody else is another client.
        assert_eq!(disabled.of(&other), Standby::default());
        disabled.disable(What::Principal(one.principal.clone()), note()).unwrap();
        assert!(disabled.of(&one).is_total());
        assert!(disabled.enable(&What::Principal(one.principal.clone())));
        assert!(!disabled.of(&one).is_total() && disabled.of(&one).covers("web"), "each word for itself");
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut disabled = Disabled::default();
        for port in (1..).take(DISABLED_MAX) {
            assert_eq!(disabled.disable(What::Port(port), note()), Ok(true));
        }
        assert_eq!(disabled.disable(What::Port(u16::MAX), note()), Err(TooMany));
        assert_eq!(disabled.disable(What::Port(1), note()), Ok(false), "nothing new");
    }

    proptest! {
        #[test]
        fn enabling_undoes_disabling(names in prop::collection::btree_set("[a-z]{1,3}", 0..8), which in 0usize..8) {
            let mut disabled = Disabled::default();
            for name in &names {
                disabled.disable(What::Rule(name.clone()), note()).unwrap();
            }
            let before = disabled.clone();
            let what = What::Group(format!("g{which}"));
            prop_assert!(disabled.disable(what.clone(), note()).unwrap());
            prop_assert!(disabled.enable(&what) && !disabled.enable(&what));
            prop_assert_eq!(disabled, before);
        }
    }
}
