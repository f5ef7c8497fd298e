//! The forwards of this client: listeners that lead to services next to the server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use policy::part::{IngressKind, PluginPart};
use proxy::context::Context;
use proxy::directory::RouteLabels;
use proxy::plugin::Plugins;
use proxy::service::labels_of;

use crate::events::{Event, Events};
use crate::forward::Forward;
use crate::ingress::{Door, Leads, Open, let_in};
use crate::sessions::Sessions;

/// The forwards that are open, by where they listen.
#[derive(Debug, Default)]
pub(crate) struct Forwards(HashMap<SocketAddr, Opened>);

#[derive(Debug)]
struct Opened {
    wanted: Wanted,
    door: Door,
    open: Open,
}

/// All that makes one forward what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    forward: Forward,
    plugins: Vec<PluginPart>,
}

/// Forwards that could be opened at once.
#[derive(Debug)]
pub(crate) struct Proved {
    kept: Vec<SocketAddr>,
    new: Vec<(Wanted, Door, Leads)>,
}

impl Forwards {
    /// Makes everything ready that `forwards` need and that is not open already; `made` are the plugins that `plugins` describe.
    ///
    /// # Errors
    /// What can not be had, and why. Nothing has changed.
    pub(crate) fn prove(
        &self,
        forwards: &[Forward],
        plugins: &[PluginPart],
        made: &Plugins,
        context: &Context,
    ) -> Result<Proved, String> {
        let mut proved = Proved { kept: Vec::new(), new: Vec::new() };
        let mut wanted: Vec<Wanted> = Vec::new();
        for forward in forwards {
            let one = Wanted { plugins: parts_of(plugins, &forward.plugins), forward: forward.clone() };
            match self.0.get(&forward.listen) {
                Some(open) if open.wanted == one => proved.kept.push(forward.listen),
                _ => wanted.push(one),
            }
        }
        for one in wanted {
            let Forward { name, listen, to, plugins, .. } = &one.forward;
            let same = |(other, _, _): &(Wanted, Door, Leads)| other.forward.listen == *listen;
            if listen.port() != 0 && (proved.kept.contains(listen) || proved.new.iter().any(same)) {
                return Err(format!("forward {name:?}: another one listens on {listen}"));
            }
            let door = match self.0.get(listen) {
                Some(open) => open.door.clone(),
                None => Door::open(*listen).map_err(|error| format!("forward {name:?}: {error}"))?,
            };
            let labels = RouteLabels { route: name.as_str().into(), ..labels_of("", to, context) };
            let rest = RouteLabels { metrics: context.metrics.route(name, "", to), ..labels };
            let plugins = made.chain(plugins).map_err(|error| format!("forward {name:?}: {error}"))?;
            proved.new.push((one, door, Leads { rules: Arc::default(), rest, plugins }));
        }
        Ok(proved)
    }

    /// What was proved is open from now on, and nothing else. One that leads elsewhere keeps its socket and its visitors.
    pub(crate) fn switch(
        &mut self,
        proved: Proved,
        sessions: &Arc<Sessions>,
        context: &Context,
        events: &Events,
    ) {
        let mut before = std::mem::take(&mut self.0);
        self.0.extend(proved.kept.iter().filter_map(|listen| before.remove_entry(listen)));
        for (wanted, door, leads) in proved.new {
            let Forward { name, kind, listen, to, .. } = &wanted.forward;
            let known =
                before.remove(listen).filter(|it| it.open.kind() == *kind && it.wanted.forward.name == *name);
            let opened = match known {
                Some(known) => {
                    known.open.lead(leads);
                    Ok(known.open)
                }
                None => let_in(&door, *kind, leads, sessions, context),
            };
            let open = match opened {
                Ok(open) => open,
                Err(error) => {
                    events.tell(Event::Warning(format!("forward {name:?}: {}: {error}", door.address)));
                    continue;
                }
            };
            let url = match kind {
                IngressKind::Http => format!("http://{}", door.address),
                IngressKind::Tcp => format!("tcp://{}", door.address),
            };
            events.tell(Event::Ready { tunnel: name.clone(), url, to: format!("{to}, next to the server") });
            // Port 0 is another port for each.
            let listen = if listen.port() == 0 { door.address } else { *listen };
            self.0.insert(listen, Opened { wanted, door, open });
        }
    }
}

/// Those of `plugins` that are named.
pub(crate) fn parts_of(plugins: &[PluginPart], names: &[String]) -> Vec<PluginPart> {
    plugins.iter().filter(|part| names.contains(&part.name)).cloned().collect()
}
