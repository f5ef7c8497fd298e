//! What the data plane asks: who serves this request or this port, best first.

use ops::spawn::Worker;
use policy::balance::{Balance, Pick, prefer};
use policy::host::Host;
use policy::ownership::Holding;
use policy::rule::Asked;
use protocol::service_name::ServiceName;
use proxy::directory::{Directory, Lookup, Route, Target};
use proxy::plugin::Chain;
use proxy::routes::Members;
use tokio::sync::watch;

use super::Registry;
use super::name::Name;
use super::names::{Behind, Entry};
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
        by_rule.unwrap_or_else(|| self.lookup(&Name::Http(Host::clone(asked.host)), &routing, Some(asked)))
    }

    fn tcp(&self, port: u16) -> Lookup {
        self.lookup(&Name::Tcp(port), &self.routing(), None)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.names().changes()
    }
}

impl Registry {
    /// The members of `group` that serve its `service`, in the order in which it balances `asked`; none if it has none.
    #[must_use]
    pub fn members(&self, group: &str, service: &str, asked: &Asked<'_>) -> Option<Members> {
        let routing = self.routing();
        self.groups().look(group, service, |served| {
            let balance = Balancing { balance: routing.balance(group), asked: Some(asked) };
            Members {
                targets: balance.targets(&served.behind, || served.next_turn()),
                allow: served.allow.clone(),
            }
        })
    }

    fn next_to_the_server(&self, service: &str) -> Option<Members> {
        Some(self.nearby().targets(service)).map(|targets| Members { targets, allow: [].into() })
    }

    fn lookup(&self, name: &Name, routing: &Routing, asked: Option<&Asked<'_>>) -> Lookup {
        self.names().look(name, |entry| answer(entry, routing, asked)).unwrap_or(Lookup::Unknown)
    }
}

fn answer(entry: &Entry, routing: &Routing, asked: Option<&Asked<'_>>) -> Lookup {
    match entry.holding {
        Holding::Free => Lookup::Unknown,
        Holding::Reserved { .. } => Lookup::Reserved(entry.labels.clone(), Chain::default()),
        Holding::Live { .. } => {
            let balance = Balancing { balance: routing.balance(&entry.labels.group), asked };
            match balance.targets(&entry.behind, || entry.next_turn()) {
                // All of them drain or are about to end: another session may come in a moment.
                targets if targets.is_empty() => Lookup::Reserved(entry.labels.clone(), Chain::default()),
                targets => Lookup::Found(Route {
                    labels: entry.labels.clone(),
                    targets,
                    allow: entry.allow.clone(),
                    treatment: None,
                    plugins: Chain::default(),
                }),
            }
        }
    }
}

/// How a group shares its load, and for which request.
#[derive(Clone, Copy)]
struct Balancing<'a> {
    balance: &'a Balance,
    asked: Option<&'a Asked<'a>>,
}

impl Balancing<'_> {
    fn targets(self, behind: &[Behind], turn: impl FnOnce() -> usize) -> Vec<Target> {
        match behind {
            [only] => target(only).into_iter().collect(),
            behind => {
                let candidates: Vec<_> = behind.iter().map(|member| member.instance.candidate()).collect();
                let order = prefer(&candidates, self.pick(turn()));
                order.into_iter().filter_map(|index| behind.get(index)).filter_map(target).collect()
            }
        }
    }

    fn pick(self, turn: usize) -> Pick {
        match (self.balance, self.asked) {
            (Balance::Weighted, _) => Pick::Weighted(turn),
            (Balance::LeastConnections, _) => Pick::Least(turn),
            (Balance::Hash(key), Some(asked)) => Pick::Hash(key.of(asked)),
            (Balance::RoundRobin, _) | (Balance::Hash(_), None) => Pick::Turn(turn),
        }
    }
}

/// The least busy session of a member that takes work, rather one of this worker; none if all of them drain.
fn target(behind: &Behind) -> Option<Target> {
    let live = behind.instance.slots.least_busy(Worker::here())?;
    Some(Target {
        member: behind.instance.key.instance,
        member_name: behind.instance.name.clone(),
        session: live.link().clone(),
        service: behind.service.clone(),
        labels: None,
    })
}
