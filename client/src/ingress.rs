//! Listeners of this client, whose visitors go to services next to the server.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;

use policy::host::Host;
use policy::part::IngressKind;
use policy::rule::Asked;
use protocol::id::InstanceId;
use protocol::service_name::ServiceName;
use proxy::context::Context;
use proxy::directory::{Directory, Lookup, Route, RouteLabels, Target};
use proxy::dispatch::Dispatch;
use proxy::ingress::{Entrance, HttpIngress, TcpIngress};
use proxy::plugin::Chain;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::DropGuard;

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

/// Lets visitors of `door` in until the guard is dropped or the drain starts; they go to the service of `labels` next to the
/// server, over any of the `sessions`.
pub(crate) fn let_in(
    door: &Door,
    kind: IngressKind,
    labels: RouteLabels,
    sessions: &Arc<Sessions>,
    context: &Context,
) -> io::Result<DropGuard> {
    let socket = door.socket.try_clone()?;
    let (route, port) = (labels.route.clone(), door.address.port());
    let to_server = ToServer { sessions: sessions.clone(), labels };
    let dispatch = Dispatch::new(Arc::new(to_server), context.timeouts.member, context.metrics.clone());
    let (dispatch, context) = (Arc::new(dispatch), context.clone());
    let stop = context.drain.start.child_token();
    let (stopped, permits) = (stop.clone(), Arc::new(Semaphore::new(VISITORS)));
    let spawner = context.spawner.clone();
    spawner.spawn(spawner.next_worker(), "ingress", async move {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, ingress = &*route, "a listener is lost"),
        };
        match kind {
            IngressKind::Http => {
                // All hosts lead to one service, and who uses it may well call it by its address.
                let entrance = Entrance { by_address: Host::parse("localhost").ok(), ..Entrance::default() };
                let ingress = HttpIngress::new(&route, dispatch, context, Arc::new(entrance));
                ingress.run(listener, permits, stopped).await;
            }
            IngressKind::Tcp => {
                TcpIngress::new(&route, port, dispatch, context).run(listener, permits, stopped).await;
            }
        }
    });
    Ok(stop.drop_guard())
}

/// Leads everything to one service next to the server.
struct ToServer {
    sessions: Arc<Sessions>,
    labels: RouteLabels,
}

impl ToServer {
    fn lookup(&self) -> Lookup {
        let service = Arc::new(ServiceName::Plain(self.labels.service.to_string()));
        let target = |session| Target {
            // Of the server it is not known which of its processes it is, and all sessions lead to one.
            member: InstanceId([0; 16]),
            member_name: "server".into(),
            session,
            service: service.clone(),
            labels: None,
        };
        let targets: Vec<_> = self.sessions.links().into_iter().map(target).collect();
        match targets.is_empty() {
            true => Lookup::Reserved(self.labels.clone(), Chain::default()),
            false => Lookup::Found(Route {
                labels: self.labels.clone(),
                targets,
                plugins: Chain::default(),
                allow: [].into(),
                treatment: None,
            }),
        }
    }
}

impl Directory for ToServer {
    fn http(&self, _: &Asked<'_>) -> Lookup {
        self.lookup()
    }

    fn tcp(&self, _: u16) -> Lookup {
        self.lookup()
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.sessions.changes()
    }
}
