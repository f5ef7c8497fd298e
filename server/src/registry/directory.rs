//! What the data plane asks: who serves this request or this connection, best first.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use ops::spawn::Worker;
use policy::balance::{Balance, Pick, hash_address, prefer};
use policy::host::Host;
use policy::ownership::Holding;
use policy::rule::Asked;
use protocol::service_name::ServiceName;
use proxy::directory::{Connecting, Directory, Lookup, Public, Route, RouteLabels, Target};
use proxy::plugin::Chain;
use proxy::routes::Members;
use tokio::sync::watch;

use super::Registry;
use super::name::Name;
use super::names::{Behind, Entry};
use super::relays::Relay;
use super::routing::Routing;

impl Directory for Registry {
    /// Rules come first, registered names after them.
    fn http(&self, asked: &Asked<'_>) -> Lookup {
        let routing = self.routing();
        let by_rule = routing.routes().lookup(asked, |service| match service {
            ServiceName::Grouped { group, service } => self.members(group, service, asked),
            ServiceName::Plain(service) => self.next_to_the_server(service),
            ServiceName::Own(_) => None,
        });
        let name = || Name::Http(Host::clone(asked.host));
        let disabled = self.disabled();
        let ruled = |found| shut(found, |labels| disabled.is_rule(&labels.route));
        let found = by_rule.map(ruled);
        let found = found.unwrap_or_else(|| self.lookup(&name(), &routing, Whose::Request(asked)));
        shut(found, |_| disabled.is_host(asked.host))
    }

    fn connection(&self, asked: &Connecting<'_>) -> Lookup {
        let (routing, disabled) = (self.routing(), self.disabled());
        let found = match (asked.to, routing.relays().find(asked.to)) {
            // Of a port that the operator has taken, who was accepted before goes where those go who come after.
            (_, Some(relay)) => self.by_relay(relay, asked.client),
            (Public::Port(port), None) => {
                self.lookup(&Name::Tcp(*port), &routing, Whose::Connection(asked.client))
            }
            (_, None) => Lookup::Unknown,
        };
        // Of TLS the host, since its port has others too.
        shut(found, |_| match asked.to.host() {
            Some(host) => disabled.is_host(host),
            None => disabled.is_port(asked.to.port()),
        })
    }

    fn passes(&self, listener: SocketAddr, host: &Host) -> bool {
        self.routing().relays().tls(listener, host).is_some()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.names().changes()
    }
}

impl Registry {
    /// The members of `group` that serve its `service`, in the order in which it balances `asked`; none if it has none.
    #[must_use]
    pub fn members(&self, group: &str, service: &str, asked: &Asked<'_>) -> Option<Members> {
        self.members_for(group, service, Whose::Request(asked))
    }

    fn members_for(&self, group: &str, service: &str, whose: Whose<'_>) -> Option<Members> {
        let routing = self.routing();
        self.groups().look(group, service, |served| {
            let balance = Balancing { balance: routing.balance(group), whose, group };
            let disabled = self.disabled().is_group(group);
            Members {
                targets: match disabled {
                    true => Vec::new(),
                    false => balance.targets(&served.behind, || served.next_turn()),
                },
                allow: served.allow.clone(),
            }
        })
    }

    fn next_to_the_server(&self, service: &str) -> Option<Members> {
        Some(self.nearby().targets(service)).map(|targets| Members { targets, allow: [].into() })
    }

    fn lookup(&self, name: &Name, routing: &Routing, whose: Whose<'_>) -> Lookup {
        let found = self.names().look(name, |entry| answer(entry, routing, whose)).unwrap_or(Lookup::Unknown);
        shut(found, |labels| self.disabled().is_group(&labels.group))
    }

    fn by_relay(&self, relay: &Relay, client: IpAddr) -> Lookup {
        let members = match &relay.to {
            ServiceName::Grouped { group, service } => {
                self.members_for(group, service, Whose::Connection(client))
            }
            ServiceName::Plain(service) => self.next_to_the_server(service),
            ServiceName::Own(_) => None,
        };
        let labels = relay.labels.clone();
        match members {
            Some(Members { targets, allow }) if !targets.is_empty() => Lookup::Found(Route {
                labels,
                targets,
                // Both lists hold: whom the members do not let in is refused by theirs.
                allow: if admits(&allow, client) { relay.allow.clone() } else { allow },
                plugins: Chain::default(),
                treatment: None,
                idle_timeout: relay.idle_timeout,
            }),
            _ => Lookup::Reserved(labels, Chain::default()),
        }
    }
}

fn admits(allow: &[IpNet], client: IpAddr) -> bool {
    let client = client.to_canonical();
    allow.is_empty() || allow.iter().any(|net| net.contains(&client))
}

/// What was found, with nobody there who serves it if it `is_disabled`. Its plugins see who asks all the same.
fn shut(found: Lookup, is_disabled: impl Fn(&RouteLabels) -> bool) -> Lookup {
    match found {
        Lookup::Found(Route { labels, plugins, .. }) | Lookup::Answer(labels, _, plugins)
            if is_disabled(&labels) =>
        {
            Lookup::Reserved(labels, plugins)
        }
        other => other,
    }
}

fn answer(entry: &Entry, routing: &Routing, whose: Whose<'_>) -> Lookup {
    match entry.holding {
        Holding::Free => Lookup::Unknown,
        Holding::Reserved { .. } => Lookup::Reserved(entry.labels.clone(), Chain::default()),
        Holding::Live { .. } => {
            let group = &*entry.labels.group;
            let balance = Balancing { balance: routing.balance(group), whose, group };
            match balance.targets(&entry.behind, || entry.next_turn()) {
                // All of them drain or are about to end: another session may come in a moment.
                targets if targets.is_empty() => Lookup::Reserved(entry.labels.clone(), Chain::default()),
                targets => Lookup::Found(Route {
                    labels: entry.labels.clone(),
                    targets,
                    allow: entry.allow.clone(),
                    treatment: None,
                    plugins: Chain::default(),
                    idle_timeout: None,
                }),
            }
        }
    }
}

/// For what a member is chosen.
#[derive(Clone, Copy)]
enum Whose<'a> {
    Request(&'a Asked<'a>),
    /// Of a visitor with this address, of which nothing else is known.
    Connection(IpAddr),
}

/// Requests that a session of the visitor's own worker may have more than one of another: most are short, and a word to
/// another thread costs as much as they do. Connections, which go where their session is, are spread evenly.
const REQUESTS_SLACK: usize = 16;

/// How a group shares its load, and for what.
#[derive(Clone, Copy)]
struct Balancing<'a> {
    balance: &'a Balance,
    whose: Whose<'a>,
    group: &'a str,
}

impl Balancing<'_> {
    fn targets(self, behind: &[Behind], turn: impl FnOnce() -> usize) -> Vec<Target> {
        match behind {
            [only] if only.instance.stands_by(self.group) => Vec::new(),
            [only] => self.target(only).into_iter().collect(),
            behind => {
                let candidates: Vec<_> = behind.iter().map(|one| one.candidate(self.group)).collect();
                let order = prefer(&candidates, self.pick(turn()));
                order
                    .into_iter()
                    .filter_map(|index| behind.get(index))
                    .filter_map(|behind| self.target(behind))
                    .collect()
            }
        }
    }

    /// The least busy session of a member that takes work, rather one of this worker; none if all of them drain.
    fn target(self, behind: &Behind) -> Option<Target> {
        let slack = match self.whose {
            Whose::Request(_) => REQUESTS_SLACK,
            Whose::Connection(_) => 0,
        };
        let live = behind.instance.slots.least_busy(Worker::here(), slack)?;
        Some(Target {
            member: behind.instance.key.instance,
            member_name: behind.instance.name.clone(),
            session: live.link().clone(),
            service: behind.service.clone(),
            labels: None,
            fitness: behind.fitness.clone(),
            over_quota: behind.instance.usage.is_used_up(),
        })
    }

    fn pick(self, turn: usize) -> Pick {
        match (self.balance, self.whose) {
            (Balance::RoundRobin, _) => Pick::Turn(turn),
            (Balance::Weighted, _) => Pick::Weighted(turn),
            (Balance::LeastConnections, _) => Pick::Least(turn),
            (Balance::Hash(key), Whose::Request(asked)) => Pick::Hash(key.of(asked)),
            // As a request is that has not what the key asks for.
            (Balance::Hash(_), Whose::Connection(client)) => Pick::Hash(hash_address(client)),
        }
    }
}
