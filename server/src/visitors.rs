//! Where visitors come in: the listeners for HTTP, those of the configuration for TCP and TLS, and one per public port.

mod room;

use std::net::TcpListener as StdListener;
use std::sync::{Arc, OnceLock};

use proxy::context::Context;
use proxy::directory::Public;
use proxy::dispatch::Dispatch;
use proxy::ingress::{Entrance, HttpIngress, TcpIngress, TlsIngress};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ingresses::{Down, Ingress, IngressKind};
use crate::registry::{NoRoom, SWEEP, Serve};
use room::Room;

/// How visitors are taken in.
#[derive(Clone)]
pub(crate) struct Visitors {
    context: Context,
    room: Arc<Room>,
    /// Asks the registry, which has to be there first: it is what opens ports.
    dispatch: Arc<OnceLock<Arc<Dispatch>>>,
}

impl Visitors {
    /// As many as `descriptors` allow.
    pub(crate) fn new(context: Context, descriptors: Option<u64>) -> Self {
        Self { context, room: Arc::new(Room::new(descriptors)), dispatch: Arc::default() }
    }

    /// Who finds members for visitors, from now on.
    pub(crate) fn dispatched_by(&self, dispatch: Dispatch) {
        // A second one would change nothing; there is none.
        drop(self.dispatch.set(Arc::new(dispatch)));
    }

    /// Takes in visitors of HTTP by `entrance` until the drain starts, at the ingress called `name`.
    pub(crate) fn serve_http(&self, name: &'static str, sockets: Vec<StdListener>, entrance: Entrance) {
        let Some(dispatch) = self.dispatch.get() else { return };
        let entrance = Arc::new(entrance);
        for socket in sockets {
            let ingress = HttpIngress::new(name, dispatch.clone(), self.context.clone(), entrance.clone());
            let (permits, stop) = (self.room.http(), self.context.drain.start.child_token());
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

    /// Takes in visitors of a listener of the configuration by `entrance`, from when it can be bound until the drain starts.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub(crate) fn serve_ingress(
        &self,
        ingress: Ingress,
        entrance: Arc<Entrance>,
        down: &Down,
    ) -> Result<(), NoRoom> {
        let Some(dispatch) = self.dispatch.get() else { return Ok(()) };
        let stop = self.context.drain.start.child_token();
        if ingress.sockets.is_empty() {
            let (visitors, down) = (self.clone(), down.clone());
            let spawner = &self.context.spawner;
            spawner.spawn(spawner.next_worker(), "bind again", async move {
                let Some(ingress) = ingress.bound(&down, &stop).await else { return };
                if let Err(error) = visitors.serve_ingress(ingress, entrance, &down) {
                    tracing::error!(%error, "a listener for visitors is lost");
                }
            });
            return Ok(());
        }
        let Ingress { kind, address, sockets, .. } = ingress;
        let permits = self.room.port(sockets.len(), stop.clone()).ok_or(NoRoom)?;
        let name = format!("{}:{}", kind.as_str(), address.port());
        for socket in sockets {
            let (permits, stop, context) = (permits.clone(), stop.clone(), self.context.clone());
            let dispatch = dispatch.clone();
            match kind {
                IngressKind::Tcp => {
                    let public = Public::Listener(address);
                    let ingress = TcpIngress::new(&name, public, dispatch, context).by(entrance.clone());
                    self.accept("tcp ingress", socket, |listener| async move {
                        ingress.run(listener, permits, stop).await;
                    });
                }
                IngressKind::Tls => {
                    let ingress = TlsIngress::new(&name, address, dispatch, context, entrance.clone());
                    self.accept("tls ingress", socket, |listener| async move {
                        ingress.run(listener, permits, stop).await;
                    });
                }
            }
        }
        Ok(())
    }

    fn serve_tcp(
        &self,
        port: u16,
        sockets: Vec<StdListener>,
        closed: &CancellationToken,
    ) -> Result<(), NoRoom> {
        let Some(dispatch) = self.dispatch.get() else { return Ok(()) };
        let permits = self.room.port(sockets.len(), closed.clone()).ok_or(NoRoom)?;
        for socket in sockets {
            let name = format!("tcp:{port}");
            let public = Public::Port(port);
            let ingress = TcpIngress::new(&name, public, dispatch.clone(), self.context.clone());
            let (permits, stop) = (permits.clone(), closed.clone());
            self.accept("tcp ingress", socket, |listener| async move {
                ingress.run(listener, permits, stop).await;
            });
        }
        Ok(())
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
