//! The listening sockets of a process: bound by it, or inherited from the service manager or from the process before it;
//! and all of them at hand for the process that comes after it.
//!
//! A socket that is inherited keeps its queue: connections that nobody has accepted yet are lost by a new socket, even on
//! the same port, and by this never.

mod activation;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use activation::{Activation, ActivationError};

/// What a listening socket is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The listener, as in the configuration: `tunnel`, `http`, …
    pub role: String,
    /// The address that was asked for; its port may be 0.
    pub asked: SocketAddr,
    /// The service manager has named it: it is the listener of that role wherever it is.
    #[serde(default)]
    pub named: bool,
}

/// All listening sockets of a process.
#[derive(Debug, Default)]
pub struct Sockets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Inherited, and nobody's yet.
    inherited: Vec<(Label, TcpListener)>,
    /// Those in use, and some that were.
    open: Vec<(Label, Weak<TcpListener>)>,
}

impl Sockets {
    /// Those that were handed to this process.
    #[must_use]
    pub fn inherited(inherited: Vec<(Label, TcpListener)>) -> Self {
        Self { state: Mutex::new(State { inherited, ..State::default() }) }
    }

    /// The socket for `role` at the address `asked`, which does not block: the inherited one, or else what `bind` makes.
    /// The next process gets it for as long as this is not dropped.
    ///
    /// # Errors
    /// Those of `bind`, and the kernel's.
    pub fn listen(
        &self,
        role: &str,
        asked: SocketAddr,
        bind: impl FnOnce() -> io::Result<TcpListener>,
    ) -> io::Result<Arc<TcpListener>> {
        let inherited = self.state.lock().take(role, asked);
        let socket = match inherited {
            Some(socket) => socket,
            None => bind()?,
        };
        self.keep(Label { role: role.to_owned(), asked, named: false }, socket)
    }

    /// The sockets that the service manager calls `role`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn named(&self, role: &str) -> io::Result<Vec<Arc<TcpListener>>> {
        let is_meant = |label: &Label| label.named && label.role == role;
        let named: Vec<_> = std::iter::from_fn(|| self.state.lock().take_if(is_meant)).collect();
        named.into_iter().map(|(label, socket)| self.keep(label, socket)).collect()
    }

    /// Those that were inherited and are nobody's.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<Label> {
        self.state.lock().inherited.iter().map(|(label, _)| label.clone()).collect()
    }

    /// Closes those that were inherited and are nobody's.
    pub fn close_unclaimed(&self) {
        self.state.lock().inherited.clear();
    }

    /// A further descriptor of every socket in use, for the next process.
    ///
    /// # Errors
    /// The kernel's, for want of descriptors.
    pub fn all(&self) -> io::Result<Vec<(Label, TcpListener)>> {
        let state = self.state.lock();
        let open = state.open.iter().filter_map(|(label, socket)| Some((label, socket.upgrade()?)));
        open.map(|(label, socket)| Ok((label.clone(), socket.try_clone()?))).collect()
    }

    fn keep(&self, label: Label, socket: TcpListener) -> io::Result<Arc<TcpListener>> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(socket);
        let mut state = self.state.lock();
        state.open.retain(|(_, socket)| socket.strong_count() > 0);
        state.open.push((label, Arc::downgrade(&socket)));
        Ok(socket)
    }
}

impl State {
    /// The one that was asked for with the same words; or else, where a port was asked for, the one that is there.
    fn take(&mut self, role: &str, asked: SocketAddr) -> Option<TcpListener> {
        let same = |label: &Label| label.role == role && label.asked == asked;
        let found = self
            .take_if(same)
            .or_else(|| (asked.port() != 0).then(|| self.take_if(|label| label.asked == asked)).flatten());
        let found = found.map(|(_, socket)| socket);
        found.or_else(|| {
            let at = self.inherited.iter().position(|(_, it)| it.local_addr().is_ok_and(|it| it == asked));
            at.map(|at| self.inherited.remove(at).1)
        })
    }

    fn take_if(&mut self, which: impl Fn(&Label) -> bool) -> Option<(Label, TcpListener)> {
        let at = self.inherited.iter().position(|(label, _)| which(label))?;
        Some(self.inherited.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn bind() -> io::Result<TcpListener> {
        TcpListener::bind(any())
    }

    fn never() -> io::Result<TcpListener> {
        panic!("there is one to inherit")
    }

    fn address(socket: &TcpListener) -> SocketAddr {
        socket.local_addr().unwrap()
    }

    #[test]
    fn the_next_process_finds_what_it_asks_for_with_the_same_words() {
        let before = Sockets::default();
        let (http, tunnel) = (before.listen("http", any(), bind), before.listen("tunnel", any(), bind));
        let (http, tunnel) = (http.unwrap(), tunnel.unwrap());
        let gone = before.listen("ops", any(), bind).unwrap();
        drop(gone);
        let after = Sockets::inherited(before.all().unwrap());
        assert_eq!(after.unclaimed().len(), 2, "a socket that was closed is not handed over");
        let same = after.listen("tunnel", any(), never).unwrap();
        assert_eq!(address(&same), address(&tunnel));
        // The operator has written down the port that was picked, or given the socket to another listener.
        let same = after.listen("tcp", address(&http), never).unwrap();
        assert_eq!(address(&same), address(&http));
        assert_eq!(after.all().unwrap().len(), 2);
    }

    #[test]
    fn a_port_that_was_picked_for_one_listener_is_not_another_ones() {
        let before = Sockets::default();
        let _http = before.listen("http", any(), bind).unwrap();
        let after = Sockets::inherited(before.all().unwrap());
        let ops = after.listen("ops", any(), bind).unwrap();
        assert_eq!(after.unclaimed().len(), 1);
        assert_ne!(address(&ops), after.unclaimed()[0].asked);
        after.close_unclaimed();
        assert!(after.unclaimed().is_empty());
    }

    #[test]
    fn what_has_a_name_is_found_by_it_and_handed_on_with_it() {
        let socket = bind().unwrap();
        let at = socket.local_addr().unwrap();
        let label = Label { role: "http".to_owned(), asked: at, named: true };
        let first = Sockets::inherited(vec![(label, socket)]);
        let named = first.named("http").unwrap();
        assert!(first.named("http").unwrap().is_empty());
        let second = Sockets::inherited(first.all().unwrap());
        drop(named);
        assert!(second.named("tunnel").unwrap().is_empty());
        assert_eq!(address(&second.named("http").unwrap()[0]), at);
    }
}
