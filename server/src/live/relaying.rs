//! Where relayed connections go, from what the file says and where its listeners are.

use std::net::SocketAddr;

use ops::metrics::Metrics;
use policy::host_pattern::HostPattern;

use crate::config::{Document, RelayListen};
use crate::registry::Relays;

/// Where TLS goes that does not end here: at the address that `bound` says for each listener, or else at `https`.
pub(crate) fn passed(
    document: &Document,
    https: Option<SocketAddr>,
    metrics: &Metrics,
    bound: impl Fn(RelayListen) -> Option<SocketAddr>,
) -> Relays {
    let ruled = document.rules.iter().filter_map(|rule| match &rule.matcher.host {
        Some(HostPattern::Exact(host)) => Some(host.clone()),
        _ => None,
    });
    let mut relays = Relays::new(https, ruled.collect());
    for passthrough in &document.tls {
        if let Some(listener) = passthrough.listen.map_or(https, &bound) {
            relays.add_tls(listener, &passthrough.host, &passthrough.to, metrics);
        }
    }
    relays
}
