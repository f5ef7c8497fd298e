//! What the data plane asks: who serves this name, best first.

use ops::spawn::Worker;
use policy::balance::{self, order};
use policy::host::Host;
use policy::ownership::Holding;
use protocol::service_name::ServiceName;
use proxy::directory::{Directory, Lookup, Route, Target};
use tokio::sync::watch;

use super::Registry;
use super::instance::{Instance, MemberState};
use super::name::Name;
use super::names::{Behind, Entry};

impl Directory for Registry {
    fn http(&self, host: &Host) -> Lookup {
        self.lookup(&Name::Http(host.clone()))
    }

    fn tcp(&self, port: u16) -> Lookup {
        self.lookup(&Name::Tcp(port))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.names().changes()
    }
}

impl Registry {
    fn lookup(&self, name: &Name) -> Lookup {
        self.names().look(name, answer).unwrap_or(Lookup::Unknown)
    }
}

fn answer(entry: &Entry) -> Lookup {
    match entry.holding {
        Holding::Free => Lookup::Unknown,
        Holding::Reserved { .. } => Lookup::Reserved(entry.labels.clone()),
        Holding::Live { .. } => match targets(entry) {
            // All of them drain or are about to end: another session may come in a moment.
            targets if targets.is_empty() => Lookup::Reserved(entry.labels.clone()),
            targets => {
                Lookup::Found(Route { labels: entry.labels.clone(), targets, allow: entry.allow.clone() })
            }
        },
    }
}

fn targets(entry: &Entry) -> Vec<Target> {
    match entry.behind.as_slice() {
        [only] => target(only).into_iter().collect(),
        behind => {
            let states: Vec<_> = behind.iter().map(|member| balanced(&member.instance)).collect();
            let order = order(&states, entry.next_turn());
            order.into_iter().filter_map(|index| behind.get(index)).filter_map(target).collect()
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
        service: ServiceName::Own(behind.registration),
    })
}

fn balanced(instance: &Instance) -> balance::MemberState {
    match instance.state() {
        MemberState::Ready => balance::MemberState::Ready,
        MemberState::Draining | MemberState::Absent => balance::MemberState::Draining,
    }
}
