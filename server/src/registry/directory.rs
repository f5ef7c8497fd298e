//! What the data plane asks: who serves this request or this port, best first.

use std::sync::Arc;

use ipnet::IpNet;
use ops::spawn::Worker;
use policy::balance::{Balance, Pick, prefer};
use policy::host::Host;
use policy::ownership::Holding;
use policy::rule::{Asked, WeightedTarget, by_share};
use protocol::service_name::ServiceName;
use proxy::directory::{Directory, Lookup, Route, RouteLabels, Target};
use proxy::plugin::Chain;
use proxy::treatment::Treatment;
use tokio::sync::watch;

use super::Registry;
use super::name::Name;
use super::names::{Behind, Entry};
use super::routing::{Outcome, Routing};

impl Directory for Registry {
    /// Rules come first, registered names after them.
    fn http(&self, asked: &Asked<'_>) -> Lookup {
        let routing = self.routing();
        match routing.find(asked) {
            Some(Outcome::Answer(labels, answer, plugins)) => {
                Lookup::Answer(labels.clone(), answer.clone(), plugins.clone())
            }
            Some(Outcome::Forward { targets, labels, treatment, plugins }) => {
                self.by_rule(targets, labels, treatment.as_ref(), plugins, asked)
            }
            None => self.lookup(&Name::Http(Host::clone(asked.host)), &routing, Some(asked)),
        }
    }

    fn tcp(&self, port: u16) -> Lookup {
        self.lookup(&Name::Tcp(port), &self.routing(), None)
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.names().changes()
    }
}

/// The members that serve a service of a group.
#[derive(Debug)]
pub struct Members {
    /// Best first; those that can not take work are not in it.
    pub targets: Vec<Target>,
    /// Which visitors may come; empty: all.
    pub allow: Arc<[IpNet]>,
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

    fn by_rule(
        &self,
        targets: &[WeightedTarget],
        labels: &[Arc<RouteLabels>],
        treatment: Option<&Arc<Treatment>>,
        plugins: &Chain,
        asked: &Asked<'_>,
    ) -> Lookup {
        let point = if targets.len() > 1 { rand::random() } else { 0 };
        let mut drawn: Option<&Arc<RouteLabels>> = None;
        let mut route: Option<Route> = None;
        for index in by_share(targets, point) {
            let (Some(target), Some(labels)) = (targets.get(index), labels.get(index)) else { continue };
            drawn.get_or_insert(labels);
            let members = match &target.target {
                ServiceName::Grouped { group, service } => self.members(group, service, asked),
                ServiceName::Plain(service) => self.next_to_the_server(service),
                ServiceName::Own(_) => None,
            };
            let Some(Members { mut targets, allow }) = members else { continue };
            match &mut route {
                _ if targets.is_empty() => {}
                None => {
                    let (labels, treatment) = (RouteLabels::clone(labels), treatment.cloned());
                    route = Some(Route { labels, targets, allow, treatment, plugins: plugins.clone() });
                }
                // For when those before it fail. Whom it does not let in it does not serve.
                Some(route) if admits(&allow, asked) => {
                    targets.iter_mut().for_each(|target| target.labels = Some(labels.clone()));
                    route.targets.append(&mut targets);
                }
                Some(_) => {}
            }
        }
        match (route, drawn) {
            (Some(route), _) => Lookup::Found(route),
            (None, Some(labels)) => Lookup::Reserved(RouteLabels::clone(labels), plugins.clone()),
            (None, None) => Lookup::Unknown,
        }
    }
}

fn admits(allow: &[IpNet], asked: &Asked<'_>) -> bool {
    let client = asked.client.to_canonical();
    allow.is_empty() || allow.iter().any(|net| net.contains(&client))
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
