//! What the server is told of the servers of our services: what has changed since it was told last on this session.

use std::collections::HashMap;
use std::time::Duration;

use policy::server_health::Standing;
use protocol::control::{Health, ServerHealth, ServerState, ServiceHealth};
use protocol::limits::{REPORTED_SERVERS_MAX, REPORTED_SERVICES_MAX, SERVER_MAX};
use protocol::service_name::ServiceName;
use proxy::service::{Judged, ServiceTable};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// From a change to the report, so that what changes together is said together.
const GATHER: Duration = Duration::from_millis(50);
/// Between two reports.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes of one report after which no further service begins in it. The longest one fits behind them.
const REPORT: usize = 16 * 1024;

/// The reports on one session.
#[derive(Debug)]
pub(super) struct Reports {
    changes: watch::Receiver<u64>,
    /// What was said of each service.
    said: HashMap<ServiceName, Vec<ServerHealth>>,
    /// When the next report leaves, if there is something to report.
    due: Option<Instant>,
    /// None leaves before.
    not_before: Instant,
}

impl Reports {
    /// Nothing was said yet.
    pub(super) fn new(services: &ServiceTable, now: Instant) -> Self {
        Self { changes: services.changes(), said: HashMap::new(), due: Some(now + GATHER), not_before: now }
    }

    /// Waits until something may have to be said. Cancel safe.
    pub(super) async fn due(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => {
                if self.changes.changed().await.is_err() {
                    // The services are gone, and the session ends.
                    return std::future::pending().await;
                }
                *self.due.insert(self.not_before.max(Instant::now() + GATHER))
            }
        };
        sleep_until(due).await;
    }

    /// What is to be said now; the rest is due later.
    pub(super) fn next(&mut self, services: &ServiceTable, now: Instant) -> Option<Health> {
        self.changes.mark_unchanged();
        let Judged { number, services } = services.judged();
        let mut said = Vec::new();
        let (mut length, mut rest) = (0usize, false);
        for (service, servers) in services {
            let servers = servers_of(servers);
            if self.said.get(&service) == Some(&servers) {
                continue;
            }
            rest = length > REPORT || said.len() >= REPORTED_SERVICES_MAX;
            if rest {
                break;
            }
            let bytes = servers.iter().map(|server| server.server.len().saturating_add(2));
            length = bytes.fold(length.saturating_add(SERVER_MAX), usize::saturating_add);
            self.said.insert(service.clone(), servers.clone());
            said.push(ServiceHealth { service, servers });
        }
        self.not_before = now + PAUSE;
        self.due = rest.then_some(self.not_before);
        (!said.is_empty()).then_some(Health { number, services: said })
    }
}

/// As it can be said: the worst first, and not more than can be said, with a healthy one if there is one.
fn servers_of(servers: Vec<(String, Standing)>) -> Vec<ServerHealth> {
    let mut servers: Vec<_> = servers
        .into_iter()
        .map(|(address, standing)| ServerHealth {
            server: speakable(&address),
            state: match standing {
                Standing::Healthy => ServerState::Healthy,
                Standing::Ejected => ServerState::Ejected,
                Standing::Sick => ServerState::Sick,
            },
        })
        .collect();
    // Stable, so that equal ones stay as they were written.
    servers.sort_by_key(|server| std::cmp::Reverse(server.state));
    if servers.len() > REPORTED_SERVERS_MAX {
        let best = servers.pop();
        servers.truncate(REPORTED_SERVERS_MAX - 1);
        servers.extend(best);
    }
    servers
}

/// A text that goes over the wire.
fn speakable(text: &str) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.truncate(text.floor_char_boundary(SERVER_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_there_are_a_healthy_one_is_among_those_that_are_told() {
        let mut servers = vec![(format!("10.0.0.1:{}", "é".repeat(90)), Standing::Healthy)];
        servers.extend((0..400).map(|port| (format!("10.0.0.2:{port}\u{1b}"), Standing::Sick)));
        let told = servers_of(servers);
        assert_eq!(told.len(), REPORTED_SERVERS_MAX);
        let health = ServiceHealth { service: ServiceName::Own(1), servers: told };
        assert!(!health.is_sick());
        let mut out = bytes::BytesMut::new();
        let message = protocol::control::Control::from(Health { number: 1, services: vec![health] });
        message.encode(&mut out).unwrap();
    }
}
