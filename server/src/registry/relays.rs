//! Where the connections of configured listeners go: by the listener alone, or by the name that TLS asks for there.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use ops::metrics::Metrics;
use policy::host::Host;
use policy::host_pattern::HostPattern;
use protocol::service_name::ServiceName;
use proxy::directory::{Public, RouteLabels};

use crate::config::Relayed;

/// All of them, by the address of the listener.
#[derive(Debug, Default)]
pub struct Relays {
    tcp: HashMap<SocketAddr, Relay>,
    /// Those of `tcp` whose visitors come as they come to a public port of a client, by their ports.
    plain: HashMap<u16, SocketAddr>,
    tls: HashMap<SocketAddr, Hosts>,
    /// Where TLS may end as well.
    shared: Option<SocketAddr>,
    /// For which hosts it does there, whatever wildcard covers them.
    ended: HashSet<Host>,
}

/// What becomes of the connections of one listener, or of one host there.
#[derive(Debug)]
pub struct Relay {
    /// How it is called.
    pub labels: RouteLabels,
    /// The service.
    pub to: ServiceName,
    /// Which visitors may come; empty: all.
    pub allow: Arc<[IpNet]>,
    /// A connection without a byte for so long is closed; none: never.
    pub idle_timeout: Option<Duration>,
}

/// The hosts of one listener. A wildcard stands for one label, so that no two of them cover the same host.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<Host, Relay>,
    /// Those of wildcards, by what follows the label.
    below: HashMap<String, Relay>,
}

impl Relays {
    /// None yet; at the listener `shared` TLS ends for what no host covers, and for the hosts `ended` in any case but that
    /// they are named as they are.
    #[must_use]
    pub fn new(shared: Option<SocketAddr>, ended: HashSet<Host>) -> Self {
        Self { shared, ended, ..Self::default() }
    }

    /// Connections to `listener` go there.
    pub fn add_tcp(&mut self, listener: SocketAddr, to: &Relayed, metrics: &Metrics) {
        let route = format!("tcp:{}", listener.port());
        self.tcp.insert(listener, Relay::new(&route, to, metrics));
    }

    /// Connections that come in at the public port of `listener` go where it leads: a client had its socket until a moment ago.
    pub fn take_port(&mut self, listener: SocketAddr) {
        self.plain.insert(listener.port(), listener);
    }

    /// Those which ask for `host` at `listener` go there.
    pub fn add_tls(&mut self, listener: SocketAddr, host: &HostPattern, to: &Relayed, metrics: &Metrics) {
        let relay = Relay::new(&format!("tls:{host}"), to, metrics);
        let hosts = self.tls.entry(listener).or_default();
        match host {
            HostPattern::Exact(host) => hosts.exact.insert(host.clone(), relay),
            HostPattern::Wildcard(suffix) => hosts.below.insert(suffix.to_string(), relay),
        };
    }

    /// Where what came in at `public` goes.
    #[must_use]
    pub fn find(&self, public: &Public) -> Option<&Relay> {
        match public {
            Public::Port(port) => self.plain.get(port).and_then(|listener| self.tcp.get(listener)),
            Public::Listener(listener) => self.tcp.get(listener),
            Public::Tls(listener, host) => self.tls(*listener, host),
        }
    }

    /// Where TLS for `host` goes that comes to `port`; without one, to where TLS may end as well.
    #[must_use]
    pub fn passing(&self, port: Option<u16>, host: &Host) -> Option<&Relay> {
        let meant = |listener: &&SocketAddr| match port {
            Some(port) => listener.port() == port,
            None => self.shared == Some(**listener),
        };
        self.tls.keys().filter(meant).find_map(|listener| self.tls(*listener, host))
    }

    /// All of them: the listener, the host it is for, and where it goes; in order.
    #[must_use]
    pub fn all(&self) -> Vec<(SocketAddr, Option<String>, &Relay)> {
        let tcp = self.tcp.iter().map(|(listener, relay)| (*listener, None, relay));
        let tls = self.tls.iter().flat_map(|(listener, hosts)| {
            let exact = hosts.exact.iter().map(|(host, relay)| (host.to_string(), relay));
            let below = hosts.below.iter().map(|(suffix, relay)| (format!("*.{suffix}"), relay));
            exact.chain(below).map(|(host, relay)| (*listener, Some(host), relay))
        });
        let mut all: Vec<_> = tcp.chain(tls).collect();
        all.sort_by(|(listener, host, _), other| (listener, host).cmp(&(&other.0, &other.1)));
        all
    }

    /// Where TLS for `host` at `listener` goes: an exact host comes before a wildcard.
    #[must_use]
    pub fn tls(&self, listener: SocketAddr, host: &Host) -> Option<&Relay> {
        let Hosts { exact, below } = self.tls.get(&listener)?;
        if let Some(relay) = exact.get(host) {
            return Some(relay);
        }
        let ends = self.shared == Some(listener) && self.ended.contains(host);
        below.get(host.parent()?).filter(|_| !ends)
    }
}

impl Relay {
    fn new(route: &str, relayed: &Relayed, metrics: &Metrics) -> Self {
        let Relayed { to, allow, idle_timeout } = relayed;
        let plain;
        let (group, service) = match to {
            ServiceName::Grouped { group, service } => (group.as_str(), service.as_str()),
            other => {
                plain = other.to_string();
                ("", plain.as_str())
            }
        };
        let labels = RouteLabels {
            route: route.into(),
            group: group.into(),
            service: service.into(),
            metrics: metrics.route(route, group, service),
        };
        Self { labels, to: to.clone(), allow: allow.clone().into(), idle_timeout: *idle_timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn an_exact_host_comes_before_a_wildcard_which_is_one_label() {
        let (shared, own): (SocketAddr, SocketAddr) =
            ("[::]:443".parse().unwrap(), "[::]:5433".parse().unwrap());
        let mut relays = Relays::new(Some(shared), [host("app.a.test"), host("named.a.test")].into());
        let metrics = Metrics::new("0");
        let to = |to: &str| Relayed { to: to.parse().unwrap(), allow: Vec::new(), idle_timeout: None };
        for listener in [shared, own] {
            for (pattern, service) in [("*.a.test", "web/wild"), ("one.a.test", "web/one")] {
                relays.add_tls(listener, &pattern.parse().unwrap(), &to(service), &metrics);
            }
        }
        relays.add_tls(shared, &"named.a.test".parse().unwrap(), &to("web/named"), &metrics);
        let service = |listener, name: &str| {
            relays.tls(listener, &host(name)).map(|relay| relay.labels.service.to_string())
        };
        for (listener, name, expected) in [
            (shared, "one.a.test", Some("one")),
            (shared, "two.a.test", Some("wild")),
            (shared, "a.test", None),
            (shared, "b.two.a.test", None),
            // A rule names it, and here its TLS may end.
            (shared, "app.a.test", None),
            (own, "app.a.test", Some("wild")),
            // A rule names it, and so does `tls`, which is the first to see a visitor.
            (shared, "named.a.test", Some("named")),
            ("[::]:1".parse().unwrap(), "one.a.test", None),
        ] {
            assert_eq!(service(listener, name).as_deref(), expected, "{name} at {listener}");
        }
        let labels = &relays.tls(own, &host("two.a.test")).unwrap().labels;
        assert_eq!((&*labels.route, &*labels.group), ("tls:*.a.test", "web"));
    }
}
