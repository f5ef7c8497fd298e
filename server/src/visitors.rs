//! Where visitors come in: the listener for HTTP, and one listener per public port.

use std::net::TcpListener as StdListener;
use std::sync::{Arc, OnceLock};

use proxy::context::Context;
use proxy::dispatch::Dispatch;
use proxy::ingress::{HttpIngress, TcpIngress};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::registry::Serve;

/// Descriptors that are kept for everything but visitors.
const HEADROOM: u64 = 512;
/// Connections of visitors where the system sets no limit, and at least.
const MOST: u64 = 1 << 20;
const LEAST: u64 = 64;

/// How visitors are taken in.
#[derive(Clone)]
pub(crate) struct Visitors {
    context: Context,
    permits: Arc<Semaphore>,
    /// Asks the registry, which has to be there first: it is what opens ports.
    dispatch: Arc<OnceLock<Arc<Dispatch>>>,
}

impl Visitors {
    /// As many as `descriptors` allow: each costs one here and, where services are local, another.
    pub(crate) fn new(context: Context, descriptors: Option<u64>) -> Self {
        let most = descriptors.map_or(MOST, |limit| limit.saturating_sub(HEADROOM) / 2).clamp(LEAST, MOST);
        let permits = usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS);
        Self { context, permits: Arc::new(Semaphore::new(permits)), dispatch: Arc::default() }
    }

    /// Who finds members for visitors, from now on.
    pub(crate) fn dispatched_by(&self, dispatch: Dispatch) {
        // A second one would change nothing; there is none.
        drop(self.dispatch.set(Arc::new(dispatch)));
    }

    /// Takes in visitors of HTTP until the drain starts.
    pub(crate) fn serve_http(&self, sockets: Vec<StdListener>) {
        let Some(dispatch) = self.dispatch.get() else { return };
        for socket in sockets {
            let ingress = HttpIngress::new("http", dispatch.clone(), self.context.clone());
            let (permits, stop) = (self.permits.clone(), self.context.drain.start.child_token());
            self.accept("http ingress", socket, |listener| async move {
                ingress.run(listener, permits, stop).await;
            });
        }
    }

    /// Takes in visitors of a public port, from when it is claimed until it is given back or the drain starts.
    pub(crate) fn ports(&self) -> Serve {
        let visitors = self.clone();
        Box::new(move |port, sockets, closed| visitors.serve_tcp(port, sockets, &closed))
    }

    fn serve_tcp(&self, port: u16, sockets: Vec<StdListener>, closed: &CancellationToken) {
        let Some(dispatch) = self.dispatch.get() else { return };
        for socket in sockets {
            let name = format!("tcp:{port}");
            let ingress = TcpIngress::new(&name, port, dispatch.clone(), self.context.clone());
            let (permits, stop) = (self.permits.clone(), closed.clone());
            self.accept("tcp ingress", socket, |listener| async move {
                ingress.run(listener, permits, stop).await;
            });
        }
    }

    fn accept<R>(
        &self,
        name: &'static str,
        socket: StdListener,
        run: impl FnOnce(TcpListener) -> R + Send + 'static,
    ) where
        R: Future<Output = ()> + Send,
    {
        let spawner = &self.context.spawner;
        spawner.spawn(spawner.next_worker(), name, async move {
            match TcpListener::from_std(socket) {
                Ok(listener) => run(listener).await,
                Err(error) => tracing::error!(%error, "a listener for visitors is lost"),
            }
        });
    }
}
