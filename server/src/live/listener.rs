//! One listener with its sockets.

use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ops::sockets::{PORT, Sockets};
use parking_lot::Mutex;
use proxy::ingress::Gate;
use tokio_util::sync::CancellationToken;

use super::operators::Operators;
use super::plan::{Open, Place};
use super::role::Role;
use crate::listeners::{BindError, Listeners};
use crate::settings::Listen;

/// One listener. It accepts until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(super) role: Role,
    /// As written.
    pub(super) listen: Listen,
    /// Where that is written.
    key: &'static str,
    /// How visitors come in.
    pub(super) gate: Gate,
    /// What operators are shown.
    pub(super) operators: Operators,
    pub(super) stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None while it is down.
    sockets: Vec<Socket>,
    /// Why it is down.
    down: Option<String>,
}

/// One socket, which outlives its listener where the next one is at the same address.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    pub(super) place: Place,
    socket: Arc<TcpListener>,
}

impl Socket {
    /// The one of the public port at `address` that a client has: it goes over as it is, with all who wait in its queue.
    pub(super) fn of_port(sockets: &Sockets, address: SocketAddr) -> Option<Self> {
        let socket = sockets.in_use(PORT, address)?;
        let bound = socket.local_addr().ok()?;
        Some(Self { place: Place { written: address, bound }, socket })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Listener {
    /// Down for now, until `stop`.
    pub(super) fn new(role: Role, listen: Listen, key: &'static str, stop: CancellationToken) -> Self {
        Self {
            role,
            listen,
            key,
            gate: Gate::default(),
            operators: Operators::default(),
            stop,
            state: Mutex::default(),
        }
    }

    /// Listens at what is not listened at yet, besides `kept`; of `sockets`, where there is one to inherit.
    pub(super) fn bind(
        &self,
        sockets: &Sockets,
        kept: Vec<Socket>,
        rest: Option<&Listen>,
    ) -> Result<(), BindError> {
        Listeners::agree(sockets, self.role.as_str(), self.key, &self.listen)?;
        let bind = |listen| Listeners::bind(sockets, self.role.as_str(), self.key, listen);
        let bound = rest.map(|listen| Ok((listen, bind(listen)?))).transpose()?;
        let mut state = self.state.lock();
        state.sockets = kept;
        if let Some((listen, Listeners { sockets, addresses })) = bound {
            // A machine without IPv6 has other addresses than were written, or fewer.
            let written = |bound: SocketAddr| match listen.addresses() {
                ips if ips.contains(&bound.ip()) => SocketAddr::new(bound.ip(), listen.port()),
                _ => bound,
            };
            state.sockets.extend(
                sockets.into_iter().zip(addresses).map(|(socket, bound)| Socket {
                    place: Place { written: written(bound), bound },
                    socket,
                }),
            );
        }
        state.down = None;
        Ok(())
    }

    /// It can not be had for now: nobody listens there.
    pub(super) fn is_down(&self, error: &impl Display) {
        *self.state.lock() = State { sockets: Vec::new(), down: Some(error.to_string()) };
    }

    /// Why it is down; none if it is not.
    pub(super) fn down(&self) -> Option<String> {
        self.state.lock().down.clone()
    }

    /// Its sockets once more, for who accepts.
    pub(super) fn clones(&self) -> io::Result<Vec<TcpListener>> {
        self.state.lock().sockets.iter().map(|socket| socket.socket.try_clone()).collect()
    }

    pub(super) fn socket(&self, index: usize) -> Option<Socket> {
        self.state.lock().sockets.get(index).cloned()
    }

    /// The address to show where one is enough: as bound, or as written while it is down.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let bound = self.addresses().into_iter().next();
        let written = || Some(SocketAddr::new(*self.listen.addresses().first()?, self.listen.port()));
        bound.or_else(written)
    }

    /// As bound.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.state.lock().sockets.iter().map(|socket| socket.place.bound).collect()
    }

    pub(super) fn open(&self) -> Open {
        let sockets = self.state.lock().sockets.iter().map(|socket| socket.place).collect();
        Open { role: self.role, listen: self.listen.clone(), sockets }
    }
}
