//! What an instance says of the servers of its services: whether it goes last, and what operators see.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ops::metrics::{GaugeGuard, Metrics, ServerState};
use parking_lot::Mutex;
use protocol::control::{self, ServerHealth, ServiceHealth};
use protocol::service_name::ServiceName;

/// Services of one instance about which something is known or asked. More are not listened to.
const SERVICES_MAX: usize = 4_096;
/// Servers of one instance that are remembered by name. Of more only the verdict counts.
const SERVERS_MAX: usize = 16_384;

/// What one instance has said of all its services.
#[derive(Debug, Default)]
pub struct Reports(Mutex<HashMap<ServiceName, Arc<Reported>>>);

/// What one instance has said of the servers of one service. Visitors ask it without a lock.
#[derive(Debug, Default)]
pub struct Reported {
    sick: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// Of the report that it is from.
    number: u64,
    servers: Vec<ServerHealth>,
    /// The same for the metrics, until the instance is gone.
    _counted: Vec<GaugeGuard>,
}

/// A service whose last healthy server is gone, or that has one again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    /// Which.
    pub service: ServiceName,
    /// Whether none of its servers is healthy.
    pub sick: bool,
}

impl Reported {
    /// Whether none of the servers is healthy.
    #[must_use]
    pub fn is_sick(&self) -> bool {
        self.sick.load(Ordering::Relaxed)
    }

    /// The servers as they were last told; none if nothing is known.
    #[must_use]
    pub fn servers(&self) -> Vec<ServerHealth> {
        self.said.lock().servers.clone()
    }

    /// Whether that turned it. An older report than the last changes nothing.
    fn hear(&self, number: u64, health: ServiceHealth, room: usize, counted: Vec<GaugeGuard>) -> bool {
        let mut said = self.said.lock();
        if number <= said.number {
            return false;
        }
        let sick = health.is_sick();
        let servers = if health.servers.len() > room { Vec::new() } else { health.servers };
        *said = Said { number, servers, _counted: counted };
        self.sick.swap(sick, Ordering::Relaxed) != sick
    }

    fn length(&self) -> usize {
        self.said.lock().servers.len()
    }
}

impl Reports {
    /// What is said of `service`, from now on too.
    pub(super) fn of(&self, service: &ServiceName) -> Arc<Reported> {
        let mut services = self.0.lock();
        if let Some(known) = services.get(service) {
            return known.clone();
        }
        // What nobody asks for and nothing is known of.
        services.retain(|_, reported| Arc::strong_count(reported) > 1 || reported.length() > 0);
        services.entry(service.clone()).or_default().clone()
    }

    /// What is said of `service`, if anybody asks for it or has spoken of it.
    pub(super) fn find(&self, service: &ServiceName) -> Option<Arc<Reported>> {
        self.0.lock().get(service).cloned()
    }

    /// The instance has said this, of services of its own. Returns what it turned.
    pub(super) fn hear(&self, report: control::Health, metrics: &Metrics) -> Vec<Turned> {
        let mut turned = Vec::new();
        let mut remembered = self.remembered();
        for health in report.services {
            let (service, sick) = (health.service.clone(), health.is_sick());
            let Some(reported) = self.of_bounded(&service) else { continue };
            remembered = remembered.saturating_sub(reported.length());
            let counted = count(&health, metrics);
            let room = SERVERS_MAX.saturating_sub(remembered);
            if reported.hear(report.number, health, room, counted) {
                turned.push(Turned { service, sick });
            }
            remembered = remembered.saturating_add(reported.length());
        }
        turned
    }

    fn of_bounded(&self, service: &ServiceName) -> Option<Arc<Reported>> {
        let mut services = self.0.lock();
        if !services.contains_key(service) && services.len() >= SERVICES_MAX {
            return None;
        }
        Some(services.entry(service.clone()).or_default().clone())
    }

    /// Servers of all services.
    fn remembered(&self) -> usize {
        self.0.lock().values().map(|reported| reported.length()).fold(0, usize::saturating_add)
    }
}

/// Only what the configuration names has metrics of its own.
fn count(health: &ServiceHealth, metrics: &Metrics) -> Vec<GaugeGuard> {
    let ServiceName::Grouped { group, service } = &health.service else { return Vec::new() };
    let metrics = metrics.service(group, service);
    let state = |server: &ServerHealth| match server.state {
        control::ServerState::Healthy => ServerState::Healthy,
        control::ServerState::Ejected => ServerState::Ejected,
        control::ServerState::Sick => ServerState::Sick,
    };
    health.servers.iter().map(|server| metrics.server(state(server))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(number: u64, service: &str, states: &[control::ServerState]) -> control::Health {
        let server = |state: &control::ServerState| ServerHealth { server: "3000".to_owned(), state: *state };
        let servers = states.iter().map(server).collect();
        control::Health {
            number,
            services: vec![ServiceHealth { service: service.parse().unwrap(), servers }],
        }
    }

    #[test]
    fn the_newest_report_holds() {
        use control::ServerState::{Ejected, Healthy, Sick};
        let (reports, metrics) = (Reports::default(), Metrics::new("0"));
        let app: ServiceName = "web/app".parse().unwrap();
        let reported = reports.of(&app);
        let hear = |report| reports.hear(report, &metrics);
        assert_eq!(hear(health(1, "web/app", &[Sick, Healthy])), []);
        assert!(!reported.is_sick());
        let turned = |sick| [Turned { service: app.clone(), sick }];
        assert_eq!(hear(health(3, "web/app", &[Sick, Ejected])), turned(true));
        // From a slower session.
        assert_eq!(hear(health(2, "web/app", &[Healthy, Healthy])), []);
        assert!(reported.is_sick());
        let scraped = metrics.encode().unwrap();
        let line = |state, count| {
            format!("tunnel_service_servers{{group=\"web\",service=\"app\",state=\"{state}\"}} {count}")
        };
        assert!(scraped.contains(&line("sick", 1)) && scraped.contains(&line("ejected", 1)), "{scraped}");
        assert_eq!(hear(health(5, "web/app", &[])), turned(false));
        assert!(reported.servers().is_empty());
        assert!(metrics.encode().unwrap().contains(&line("sick", 0)));
    }

    #[test]
    fn what_nobody_can_keep_is_not_kept_but_counts() {
        let (reports, metrics) = (Reports::default(), Metrics::new("0"));
        let many = vec![control::ServerState::Sick; 256];
        for number in 1..=70 {
            reports.hear(health(number, &format!("web/s{number}"), &many), &metrics);
        }
        let last = reports.of(&"web/s70".parse().unwrap());
        assert!(last.is_sick());
        assert!(last.servers().is_empty());
        assert_eq!(reports.remembered(), SERVERS_MAX);
        for number in 100..10_000 {
            reports.hear(health(number, &format!("~/{number}"), &many[..1]), &metrics);
        }
        assert!(reports.0.lock().len() <= SERVICES_MAX);
    }
}
