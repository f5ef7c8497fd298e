//! Whether the names of services next to the server are known to somebody.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use proxy::service::{Address, HostName, ServiceTarget};
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::config::Document;

/// For each name.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names that are asked for at once.
const AT_ONCE: usize = 16;

/// The names, with ports, of the servers of services next to the server.
pub(crate) fn names(document: &Document) -> BTreeSet<(String, u16)> {
    let servers = document.services.iter().flat_map(|service| &service.servers);
    let name = |address: &String| match ServiceTarget::parse_http(address).ok()?.address {
        Address::Tcp { host: HostName::Name(name), port } => Some((name, port)),
        _ => None,
    };
    servers.filter_map(|server| name(&server.address)).collect()
}

/// What is wrong with each that nobody knows, in order.
pub(crate) async fn unresolved(names: impl IntoIterator<Item = (String, u16)>) -> Vec<String> {
    let asked = stream::iter(names).map(async |(name, port)| {
        match timeout(PATIENCE, lookup_host((name.as_str(), port))).await {
            Ok(Ok(mut found)) => found.next().is_none().then(|| format!("{name} has no address")),
            Ok(Err(error)) => Some(format!("{name} can not be resolved: {error}")),
            Err(_) => Some(format!("{name} can not be resolved: no answer in {} s", PATIENCE.as_secs())),
        }
    });
    asked.buffered(AT_ONCE).filter_map(async |wrong| wrong).collect().await
}
