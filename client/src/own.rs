//! The services of this client's own tunnels.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use protocol::service_name::ServiceName;
use proxy::context::Context;
use proxy::directory::RouteLabels;
use proxy::plugin::Plugins;
use proxy::service::{Service, ServiceTable};
use tokio::time::sleep;

use crate::events::Event;
use crate::instance::Instance;
use crate::probe;
use crate::tunnel::{Tunnel, TunnelKind};

/// How long the service of a tunnel that is there no more is found by requests that are on their way.
const LINGER: Duration = Duration::from_secs(10);

/// What a tunnel leads to, through those of `plugins` that it names.
///
/// # Errors
/// It can not be made; also which tunnel.
pub(crate) fn service(tunnel: &Tunnel, plugins: &Plugins, context: &Context) -> Result<Arc<Service>, String> {
    let wrong = |error: &dyn Display| format!("tunnel {:?}: {error}", tunnel.name);
    let name: Arc<str> = tunnel.name.as_str().into();
    let group: Arc<str> = tunnel.group.as_deref().unwrap_or_default().into();
    let labels = RouteLabels {
        metrics: context.metrics.route(&name, &group, &name),
        route: name.clone(),
        group,
        service: name,
    };
    let service = match &tunnel.kind {
        TunnelKind::Http { set_host, .. } => Service::http(labels, &tunnel.to, set_host.clone(), context),
        TunnelKind::Tcp { .. } => Service::tcp(labels, &tunnel.to, context),
    };
    let chain = plugins.chain(&tunnel.plugins).map_err(|error| wrong(&error))?;
    Ok(Arc::new(service.map_err(|error| wrong(&error))?.plugged(chain)))
}

/// The services of tunnels that have numbers.
///
/// # Errors
/// One can not be made; also which.
pub(crate) fn services(
    tunnels: &[(u32, Tunnel)],
    plugins: &Plugins,
    context: &Context,
) -> Result<ServiceTable, String> {
    let table = ServiceTable::new();
    for (id, tunnel) in tunnels {
        table.insert(ServiceName::Own(*id), service(tunnel, plugins, context)?);
    }
    Ok(table)
}

/// Tells a person if nothing listens where a tunnel leads.
pub(crate) fn look_after(tunnel: Tunnel, instance: &Instance) {
    let (spawner, stop) = (&instance.context.spawner, instance.drain().start.clone());
    let told = instance.events.clone();
    spawner.spawn(spawner.here(), "probe", probe::probe(tunnel, told, stop));
}

/// These tunnels from now on; `made` are the services of those that are new or served in another way than before.
pub(crate) fn replace(instance: &Arc<Instance>, tunnels: Vec<Tunnel>, made: Vec<(Tunnel, Arc<Service>)>) {
    // The services first: the server may send requests as soon as it is asked for a name.
    let table = instance.services.clone();
    let replaced = instance.tunnels.replace_with(tunnels, |id, tunnel| {
        if let Some((_, service)) = made.iter().find(|(it, _)| it == tunnel) {
            table.insert(ServiceName::Own(id), service.clone());
        }
    });
    for (_, tunnel) in replaced.new {
        look_after(tunnel, instance);
    }
    if replaced.gone.is_empty() {
        return;
    }
    let gone = match replaced.gone.len() {
        1 => "1 tunnel is given up".to_owned(),
        count => format!("{count} tunnels are given up"),
    };
    instance.events.tell(Event::Note(gone));
    let (spawner, now) = (&instance.context.spawner, instance.drain().now.clone());
    spawner.spawn(spawner.here(), "retire tunnels", async move {
        // A number is never given to another tunnel, so nothing that is new is taken away.
        let _ = now.run_until_cancelled(sleep(LINGER)).await;
        replaced.gone.iter().for_each(|id| table.remove(&ServiceName::Own(*id)));
    });
}
