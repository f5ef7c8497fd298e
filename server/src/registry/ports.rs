//! Public TCP ports: bound when a name is claimed, and kept while it is held or reserved, so that nobody else on this
//! machine gets them in between.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use ops::sockets::Sockets;
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::listeners::bind_port;

/// Starts to serve a port that was bound, until it is given back; or has no room for one more.
pub type Serve =
    Box<dyn Fn(u16, Vec<Arc<TcpListener>>, CancellationToken) -> Result<(), NoRoom> + Send + Sync>;

/// The descriptors of the process are too few for one more public port. The operator can raise the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server has no file descriptors for one more public port")]
pub struct NoRoom;

/// A port can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel's word: the port is in use by something else, ours or not, or privileged.
    #[error(transparent)]
    Bind(#[from] io::Error),
    /// No other port could be opened either.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// The ports that are bound.
pub struct Ports {
    sockets: Arc<Sockets>,
    addresses: Mutex<Vec<IpAddr>>,
    serve: Serve,
    drain: CancellationToken,
    open: Mutex<HashMap<u16, DropGuard>>,
}

impl Ports {
    /// Ports of `sockets` on `addresses`, those of the listener for visitors; `serve` gets each that is bound. After `drain` all of
    /// them are given back.
    #[must_use]
    pub fn new(
        sockets: Arc<Sockets>,
        addresses: Vec<IpAddr>,
        drain: CancellationToken,
        serve: Serve,
    ) -> Self {
        let addresses = Mutex::new(addresses);
        Self { sockets, addresses, serve, drain, open: Mutex::new(HashMap::new()) }
    }

    /// From now on ports are bound on `addresses`; those that are bound stay where they are.
    pub fn bind_on(&self, addresses: Vec<IpAddr>) {
        *self.addresses.lock() = addresses;
    }

    /// Whether `port` is bound.
    #[must_use]
    pub fn has(&self, port: u16) -> bool {
        self.open.lock().contains_key(&port)
    }

    /// Gives `port` back at once.
    pub fn close(&self, port: u16) {
        self.open.lock().remove(&port);
    }

    /// Binds `port`, unless it is bound already.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, port: u16) -> Result<(), OpenError> {
        let mut open = self.open.lock();
        if open.contains_key(&port) {
            return Ok(());
        }
        let listeners = bind_port(&self.sockets, &self.addresses.lock(), port)?;
        let closed = self.drain.child_token();
        // One of its sockets may be served by the time that there is no room for the next.
        let kept = closed.clone().drop_guard();
        (self.serve)(port, listeners, closed)?;
        open.insert(port, kept);
        Ok(())
    }

    /// Gives back the ports that are not needed any more. A port that was just freed stays bound until then, so that a
    /// tunnel which is registered anew finds it.
    pub fn keep(&self, is_needed: impl Fn(u16) -> bool) {
        self.open.lock().retain(|port, _| is_needed(*port));
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ports").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_room_is_not_kept() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let begun = Arc::new(Mutex::new(Vec::<CancellationToken>::new()));
        let seen = begun.clone();
        let ports = Ports::new(
            Arc::default(),
            vec![ip],
            CancellationToken::new(),
            Box::new(move |_, _, closed| {
                seen.lock().push(closed);
                Err(NoRoom)
            }),
        );
        let free = crate::fakes::nobody().port();
        for _ in 0..2 {
            assert!(matches!(ports.open(free), Err(OpenError::NoRoom(_))));
        }
        assert!(TcpListener::bind((ip, free)).is_ok());
        let begun = begun.lock();
        assert_eq!(begun.iter().filter(|closed| closed.is_cancelled()).count(), 2, "what had begun ends");
    }
}
