//! The forwards of this client: listeners that lead to services next to the server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use policy::part::{IngressKind, PluginPart};
use proxy::context::Context;
use proxy::directory::RouteLabels;
use proxy::plugin::{Kinds, Plugins};
use proxy::service::labels_of;
use tokio_util::sync::DropGuard;

use crate::events::{Event, Events};
use crate::forward::Forward;
use crate::ingress::{Door, Leads, let_in};
use crate::sessions::Sessions;

/// The forwards that are open, by where they listen.
#[derive(Debug, Default)]
pub(crate) struct Forwards(HashMap<SocketAddr, Open>);

#[derive(Debug)]
struct Open {
    wanted: Wanted,
    door: Door,
    /// Lets visitors in for as long as it lives.
    _open: DropGuard,
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
    /// Makes everything ready that `forwards` need and that is not open already: listens, and makes `plugins` of these `kinds`.
    ///
    /// # Errors
    /// What can not be had, and why. Nothing has changed.
    pub(crate) fn prove(
        &self,
        forwards: &[Forward],
        plugins: &[PluginPart],
        kinds: &Kinds,
        context: &Context,
    ) -> Result<Proved, String> {
        let named = |forward: &Forward| {
            let parts = plugins.iter().filter(|part| forward.plugins.contains(&part.name));
            parts.cloned().collect::<Vec<_>>()
        };
        let mut proved = Proved { kept: Vec::new(), new: Vec::new() };
        let mut wanted: Vec<Wanted> = Vec::new();
        for forward in forwards {
            let one = Wanted { plugins: named(forward), forward: forward.clone() };
            match self.0.get(&forward.listen) {
                Some(open) if open.wanted == one => proved.kept.push(forward.listen),
                _ => wanted.push(one),
            }
        }
        let mut parts: Vec<PluginPart> = Vec::new();
        for part in wanted.iter().flat_map(|one| &one.plugins) {
            if !parts.contains(part) {
                parts.push(part.clone());
            }
        }
        let made = Plugins::of(&parts, kinds).map_err(|error| error.to_string())?;
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
        made.start(context);
        Ok(proved)
    }

    /// What was proved is open from now on, and nothing else. One that leads elsewhere keeps its socket.
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
            let open = match let_in(&door, *kind, leads, sessions, context) {
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
            self.0.insert(listen, Open { wanted, door, _open: open });
        }
    }
}
