//! Public TCP ports: bound when a name is claimed, and kept while it is held or reserved, so that nobody else on this
//! machine gets them in between.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, TcpListener};

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::listeners::bind_port;

/// Starts to serve a port that was bound, until it is given back.
pub type Serve = Box<dyn Fn(u16, Vec<TcpListener>, CancellationToken) + Send + Sync>;

/// The ports that are bound.
pub struct Ports {
    addresses: Vec<IpAddr>,
    serve: Serve,
    drain: CancellationToken,
    open: Mutex<HashMap<u16, DropGuard>>,
}

impl Ports {
    /// Ports on `addresses`, those of the listener for visitors; `serve` gets each that is bound. After `drain` all of
    /// them are given back.
    #[must_use]
    pub fn new(addresses: Vec<IpAddr>, drain: CancellationToken, serve: Serve) -> Self {
        Self { addresses, serve, drain, open: Mutex::new(HashMap::new()) }
    }

    /// Binds `port`, unless it is bound already.
    ///
    /// # Errors
    /// The kernel's: the port is in use by something else, ours or not, or privileged.
    pub fn open(&self, port: u16) -> io::Result<()> {
        let mut open = self.open.lock();
        if open.contains_key(&port) {
            return Ok(());
        }
        let listeners = bind_port(&self.addresses, port)?;
        let closed = self.drain.child_token();
        open.insert(port, closed.clone().drop_guard());
        (self.serve)(port, listeners, closed);
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
