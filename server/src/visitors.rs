//! Where visitors come in: the listeners for HTTP, those of the configuration for TCP and TLS, and one per public port.

mod room;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, OnceLock};

use proxy::concurrency::Limits;
use proxy::context::Context;
use proxy::directory::Public;
use proxy::dispatch::Dispatch;
use proxy::ingress::{Gate, HttpIngress, TcpIngress, TlsIngress};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use transport::accept::Listener;

use crate::registry::{NoRoom, SWEEP, Serve};
use room::Room;

/// What decides where the connections of a listener go, which is at this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relayed {
    /// The listener.
    Tcp(SocketAddr),
    /// The name that TLS asks for.
    Tls(SocketAddr),
}

/// How visitors are taken in.
#[derive(Clone)]
pub(crate) struct Visitors {
    context: Context,
    room: Arc<Room>,
    /// Asks the registry, which has to be there first: it is what opens ports.
    dispatch: Arc<OnceLock<Arc<Dispatch>>>,
    /// Cancelled when they may come: before that they are another process's.
    open: CancellationToken,
}

impl Visitors {
    /// As many as `descriptors` allow, as soon as `open` is cancelled.
    pub(crate) fn new(context: Context, descriptors: Option<u64>, open: CancellationToken) -> Self {
        Self { context, room: Arc::new(Room::new(descriptors)), dispatch: Arc::default(), open }
    }

    /// Who finds members for visitors, from now on.
    pub(crate) fn dispatched_by(&self, dispatch: Dispatch) {
        // A second one would change nothing; there is none.
        drop(self.dispatch.set(Arc::new(dispatch)));
    }

    /// From now on so many requests may be worked on at once.
    pub(crate) fn limit_to(&self, limits: Limits) {
        if let Some(dispatch) = self.dispatch.get() {
            dispatch.limit_to(limits);
        }
    }

    /// Takes in visitors of HTTP by `gate` until `stop`, at the ingress called `name`.
    pub(crate) fn serve_http(
        &self,
        name: &'static str,
        sockets: Vec<StdListener>,
        gate: &Gate,
        stop: &CancellationToken,
    ) {
        let Some(dispatch) = self.dispatch.get() else { return };
        // Where nobody comes in any more, connections end after the request that they are at.
        let drain = self.context.drain.begun_by(stop.clone());
        let context = Context { drain, ..self.context.clone() };
        for socket in sockets {
            let ingress = HttpIngress::new(name, dispatch.clone(), context.clone(), gate.clone());
            let (permits, stop) = (self.room.http(), stop.clone());
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

    /// Shares the connections out among the public ports anew, now and then.
    pub(crate) async fn keep_shared(self) {
        let mut soon = tokio::time::interval(SWEEP);
        loop {
            soon.tick().await;
            self.room.share();
        }
    }

    /// The connections of a new listener with so many `sockets`, until `stop`; none if there are too few.
    pub(crate) fn room(&self, sockets: usize, stop: &CancellationToken) -> Option<Arc<Semaphore>> {
        self.room.port(sockets, stop.clone())
    }

    /// Takes in visitors of a listener of the configuration by `gate` until `stop`.
    pub(crate) fn serve_relayed(
        &self,
        relayed: Relayed,
        sockets: Vec<StdListener>,
        permits: &Arc<Semaphore>,
        gate: &Gate,
        stop: &CancellationToken,
    ) {
        let Some(dispatch) = self.dispatch.get() else { return };
        for socket in sockets {
            let (permits, stop, context) = (permits.clone(), stop.clone(), self.context.clone());
            let (dispatch, gate) = (dispatch.clone(), gate.clone());
            match relayed {
                Relayed::Tcp(address) => {
                    let (name, public) = (format!("tcp:{}", address.port()), Public::Listener(address));
                    let ingress = TcpIngress::new(&name, public, dispatch, context).by(gate);
                    self.accept("tcp ingress", socket, |listener| async move {
                        ingress.run(listener, permits, stop).await;
                    });
                }
                Relayed::Tls(address) => {
                    let name = format!("tls:{}", address.port());
                    let ingress = TlsIngress::new(&name, address, dispatch, context, gate);
                    self.accept("tls ingress", socket, |listener| async move {
                        ingress.run(listener, permits, stop).await;
                    });
                }
            }
        }
    }

    fn serve_tcp(
        &self,
        port: u16,
        sockets: Vec<Arc<StdListener>>,
        closed: &CancellationToken,
    ) -> Result<(), NoRoom> {
        let Some(dispatch) = self.dispatch.get() else { return Ok(()) };
        // One descriptor to accept with, and one for the process that takes over.
        let descriptors = sockets.len().saturating_mul(2);
        let permits = self.room.port(descriptors, closed.clone()).ok_or(NoRoom)?;
        for socket in sockets {
            // What the system says if there are no descriptors.
            let once_more = socket.try_clone().map_err(|_| NoRoom)?;
            let name = format!("tcp:{port}");
            let public = Public::Port(port);
            let ingress = TcpIngress::new(&name, public, dispatch.clone(), self.context.clone());
            let (permits, stop) = (permits.clone(), closed.clone());
            self.accept("tcp ingress", once_more, |listener| async move {
                ingress.run(listener, permits, stop).await;
                drop(socket);
            });
        }
        Ok(())
    }

    fn accept<R>(
        &self,
        name: &'static str,
        socket: StdListener,
        run: impl FnOnce(Listener) -> R + Send + 'static,
    ) where
        R: Future<Output = ()> + Send,
    {
        let spawner = &self.context.spawner;
        let (open, drain) = (self.open.clone(), self.context.drain.start.clone());
        spawner.spawn(spawner.next_worker(), name, async move {
            if drain.run_until_cancelled(open.cancelled()).await.is_none() {
                return;
            }
            match Listener::new(socket) {
                Ok(listener) => run(listener).await,
                Err(error) => tracing::error!(%error, "a listener for visitors is lost"),
            }
        });
    }
}
