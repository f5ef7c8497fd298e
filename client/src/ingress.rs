//! Listeners of this client, whose visitors go to services next to the server.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use policy::host::Host;
use policy::part::IngressKind;
use policy::rule::Asked;
use protocol::service_name::ServiceName;
use proxy::context::Context;
use proxy::directory::{Connecting, Directory, Lookup, Public, Route, RouteLabels, Target};
use proxy::dispatch::Dispatch;
use proxy::ingress::{Entrance, HttpIngress, TcpIngress};
use proxy::plugin::Chain;
use proxy::routes::{Members, Routes};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::DropGuard;
use transport::accept::Listener;

use crate::sessions::Sessions;

/// Visitors of one listener at once; further ones wait in the kernel.
const VISITORS: usize = 1_024;

/// A socket that is listened on, before and between those who accept from it. A clone is the same socket.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    socket: Arc<StdListener>,
}

/// Why a listener could not be opened; also which.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub(crate) struct DoorError {
    address: SocketAddr,
    #[source]
    error: io::Error,
}

impl Door {
    /// Listens; visitors wait until somebody [lets them in](let_in).
    pub(crate) fn open(address: SocketAddr) -> Result<Self, DoorError> {
        let open = || {
            let socket = StdListener::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(Self { address: socket.local_addr()?, socket: Arc::new(socket) })
        };
        open().map_err(|error| DoorError { address, error })
    }
}

/// A door that lets visitors in, until it is dropped or the drain starts. What is in progress goes on after that; a visitor
/// that has kept his connection finds nothing behind it.
#[derive(Debug)]
pub(crate) struct Open {
    kind: IngressKind,
    leads: Arc<ArcSwapOption<Leads>>,
    _stop: DropGuard,
}

impl Open {
    /// What comes in.
    pub(crate) const fn kind(&self) -> IngressKind {
        self.kind
    }

    /// Visitors go there from now on, those included that have kept their connections.
    pub(crate) fn lead(&self, leads: Leads) {
        self.leads.store(Some(Arc::new(leads)));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.leads.store(None);
    }
}

/// Lets visitors of `door` in; they go where `leads` says, over any of the `sessions`.
pub(crate) fn let_in(
    door: &Door,
    kind: IngressKind,
    leads: Leads,
    sessions: &Arc<Sessions>,
    context: &Context,
) -> io::Result<Open> {
    let socket = door.socket.try_clone()?;
    let (route, port) = (leads.rest.route.clone(), door.address.port());
    let leads = Arc::new(ArcSwapOption::from_pointee(leads));
    let to_server = ToServer { sessions: sessions.clone(), leads: leads.clone() };
    let dispatch = Dispatch::new(Arc::new(to_server), context.waits.clone(), context.metrics.clone());
    let (dispatch, context) = (Arc::new(dispatch), context.clone());
    let stop = context.drain.start.child_token();
    let (stopped, permits) = (stop.clone(), Arc::new(Semaphore::new(VISITORS)));
    let spawner = context.spawner.clone();
    spawner.spawn(spawner.next_worker(), "ingress", async move {
        let listener = match Listener::new(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, ingress = &*route, "a listener is lost"),
        };
        match kind {
            IngressKind::Http => {
                // Who uses it may well call it by its address.
                let entrance = Entrance { by_address: Host::parse("localhost").ok(), ..Entrance::default() };
                let ingress = HttpIngress::new(&route, dispatch, context, Arc::new(entrance));
                ingress.run(listener, permits, stopped).await;
            }
            IngressKind::Tcp => {
                let ingress = TcpIngress::new(&route, Public::Port(port), dispatch, context);
                ingress.run(listener, permits, stopped).await;
            }
        }
    });
    Ok(Open { kind, leads, _stop: stop.drop_guard() })
}

/// Where the visitors of a listener go: to services next to the server.
#[derive(Debug, Clone)]
pub(crate) struct Leads {
    /// Requests, by rules.
    pub(crate) rules: Arc<Routes>,
    /// Whatever no rule takes.
    pub(crate) rest: RouteLabels,
    /// What requests that no rule takes go through first.
    pub(crate) plugins: Chain,
}

/// Leads visitors to services next to the server, over whatever sessions there are.
struct ToServer {
    sessions: Arc<Sessions>,
    /// None once it is closed.
    leads: Arc<ArcSwapOption<Leads>>,
}

impl ToServer {
    fn targets(&self, service: &str) -> Vec<Target> {
        Target::next_to_the_server(service, self.sessions.links())
    }

    fn rest(&self, leads: &Leads) -> Lookup {
        let Leads { rest, plugins, .. } = leads;
        let (labels, plugins, targets) = (rest.clone(), plugins.clone(), self.targets(&rest.service));
        match targets.is_empty() {
            true => Lookup::Reserved(labels, plugins),
            false => {
                let (allow, treatment, idle_timeout) = ([].into(), None, None);
                Lookup::Found(Route { labels, targets, plugins, allow, treatment, idle_timeout })
            }
        }
    }
}

impl Directory for ToServer {
    fn http(&self, asked: &Asked<'_>) -> Lookup {
        let leads = self.leads.load();
        let Some(leads) = &*leads else { return Lookup::Unknown };
        let by_rule = leads.rules.lookup(asked, |service| match service {
            ServiceName::Plain(service) => Some(Members { targets: self.targets(service), allow: [].into() }),
            ServiceName::Grouped { .. } | ServiceName::Own(_) => None,
        });
        by_rule.unwrap_or_else(|| self.rest(leads))
    }

    fn connection(&self, _: &Connecting<'_>) -> Lookup {
        self.leads.load().as_deref().map_or(Lookup::Unknown, |leads| self.rest(leads))
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.sessions.changes()
    }
}
