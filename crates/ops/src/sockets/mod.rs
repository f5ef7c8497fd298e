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
    /// It is the service manager's, which listens as long as it likes: nobody can bind its address anew.
    #[serde(default)]
    pub lent: bool,
}

/// The role of the ports that clients ask for.
pub const PORT: &str = "port";

/// All listening sockets of a process.
#[derive(Debug, Default)]
pub struct Sockets {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Inherited, and nobody's yet.
    inherited: Vec<(Label, TcpListener)>,
    /// Those of the service manager, as long as this process lives: whoever is given one lets go of it some day, and somebody
    /// else may ask for it then.
    lent: Vec<(Label, Arc<TcpListener>)>,
    /// Those in use, and some that were.
    open: Vec<(Label, Weak<TcpListener>)>,
}

impl Sockets {
    /// Those that were handed to this process.
    #[must_use]
    pub fn inherited(all: Vec<(Label, TcpListener)>) -> Self {
        // One with a name is the service manager's, though a process of an older version does not say so.
        let is_lent = |(label, _): &(Label, TcpListener)| label.lent || label.named;
        let (lent, inherited): (Vec<_>, Vec<_>) = all.into_iter().partition(is_lent);
        let lent = lent.into_iter().map(|(label, socket)| (label, Arc::new(socket))).collect();
        Self { state: Mutex::new(State { inherited, lent, ..State::default() }) }
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
        if let Some(lent) = self.state.lock().borrow(role, asked) {
            lent.set_nonblocking(true)?;
            return Ok(lent);
        }
        let inherited = self.state.lock().take(role, asked);
        let socket = match inherited {
            Some(socket) => socket,
            None => bind()?,
        };
        self.keep(Label { role: role.to_owned(), asked, named: false, lent: false }, socket)
    }

    /// The socket in use for `role` that was asked for at the address `asked`.
    #[must_use]
    pub fn in_use(&self, role: &str, asked: SocketAddr) -> Option<Arc<TcpListener>> {
        let state = self.state.lock();
        let is_meant = |label: &Label| label.role == role && label.asked == asked;
        let mut open = state.open.iter().filter(|(label, _)| is_meant(label));
        open.find_map(|(_, socket)| socket.upgrade())
    }

    /// The sockets that the service manager calls `role`, as far as nobody has them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn named(&self, role: &str) -> io::Result<Vec<Arc<TcpListener>>> {
        let state = self.state.lock();
        let named = state.lent.iter().filter(|lent| is_free(lent) && lent.0.named && lent.0.role == role);
        named.map(|(_, socket)| socket.set_nonblocking(true).map(|()| socket.clone())).collect()
    }

    /// Where all sockets are that the service manager calls `role`, whoever has them.
    #[must_use]
    pub fn places(&self, role: &str) -> Vec<SocketAddr> {
        let state = self.state.lock();
        let named = state.lent.iter().filter(|(label, _)| label.named && label.role == role);
        named.map(|(label, _)| label.asked).collect()
    }

    /// Those that were inherited and are nobody's.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<Label> {
        let state = self.state.lock();
        let lent = state.lent.iter().filter(|lent| is_free(lent)).map(|(label, _)| label);
        state.inherited.iter().map(|(label, _)| label).chain(lent).cloned().collect()
    }

    /// Closes those that were inherited and are nobody's, but for the service manager's. Says where those were.
    pub fn close_unclaimed(&self) -> Vec<SocketAddr> {
        let unclaimed = std::mem::take(&mut self.state.lock().inherited);
        unclaimed.iter().filter_map(|(_, socket)| socket.local_addr().ok()).collect()
    }

    /// A further descriptor of every socket in use, and of all of the service manager's, for the next process.
    ///
    /// # Errors
    /// The kernel's, for want of descriptors.
    pub fn all(&self) -> io::Result<Vec<(Label, TcpListener)>> {
        let state = self.state.lock();
        let open = state.open.iter().filter_map(|(label, socket)| Some((label, socket.upgrade()?)));
        let lent = state.lent.iter().map(|(label, socket)| (label, socket.clone()));
        open.chain(lent).map(|(label, socket)| Ok((label.clone(), socket.try_clone()?))).collect()
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

/// Whether nobody has it.
fn is_free((_, socket): &(Label, Arc<TcpListener>)) -> bool {
    Arc::strong_count(socket) == 1
}

impl State {
    /// The one of the service manager's for `role` at the address `asked`.
    fn borrow(&self, role: &str, asked: SocketAddr) -> Option<Arc<TcpListener>> {
        let free = || self.lent.iter().filter(|lent| is_free(lent));
        let at = |socket: &TcpListener| socket.local_addr().is_ok_and(|it| it == asked);
        let same = free().find(|(label, socket)| label.role == role && at(socket));
        let lent = same.or_else(|| free().find(|(_, socket)| at(socket)));
        lent.map(|(_, socket)| socket.clone())
    }

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
        let http = before.listen("http", any(), bind).unwrap();
        let after = Sockets::inherited(before.all().unwrap());
        let ops = after.listen("ops", any(), bind).unwrap();
        assert_eq!(after.unclaimed().len(), 1);
        assert_ne!(address(&ops), after.unclaimed()[0].asked);
        assert_eq!(after.close_unclaimed(), [address(&http)]);
        assert!(after.unclaimed().is_empty());
    }

    #[test]
    fn what_has_a_name_is_found_by_it_and_handed_on_with_it() {
        let socket = bind().unwrap();
        let at = socket.local_addr().unwrap();
        let label = Label { role: "http".to_owned(), asked: at, named: true, lent: true };
        let first = Sockets::inherited(vec![(label, socket)]);
        let named = first.named("http").unwrap();
        assert!(first.named("http").unwrap().is_empty());
        assert_eq!((first.places("http"), first.places("tunnel")), (vec![at], vec![]));
        let second = Sockets::inherited(first.all().unwrap());
        assert!(second.named("tunnel").unwrap().is_empty());
        assert_eq!(address(&second.named("http").unwrap()[0]), at);
        // It is there again when it is asked for again, whoever lets go of it meanwhile.
        drop(named);
        assert_eq!(address(&first.named("http").unwrap()[0]), at);
        second.close_unclaimed();
        assert_eq!(address(&second.named("http").unwrap()[0]), at);
    }

    #[test]
    fn what_has_a_name_is_the_service_managers_whatever_the_process_before_said() {
        let socket = bind().unwrap();
        let asked = socket.local_addr().unwrap();
        let label = Label { role: "http".to_owned(), asked, named: true, lent: false };
        let sockets = Sockets::inherited(vec![(label, socket)]);
        assert_eq!(sockets.named("http").unwrap().len(), 1);
        assert!(sockets.close_unclaimed().is_empty());
    }

    #[test]
    fn what_the_service_manager_has_opened_is_found_again_by_its_address() {
        let manager = bind().unwrap();
        let at = manager.local_addr().unwrap();
        let label = Label { role: "db".to_owned(), asked: at, named: false, lent: true };
        let sockets = Sockets::inherited(vec![(label, manager.try_clone().unwrap())]);
        let bind_anew = || TcpListener::bind(at);
        for _ in 0..2 {
            let first = sockets.listen("tcp", at, bind_anew).unwrap();
            assert!(sockets.unclaimed().is_empty());
            // It is one listener's at a time.
            assert_eq!(sockets.listen("port", at, bind_anew).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop(first);
            assert_eq!(sockets.unclaimed().len(), 1);
        }
        // The next process finds what nobody uses now, too.
        let next = Sockets::inherited(sockets.all().unwrap());
        assert_eq!(address(&next.listen("tcp", at, never).unwrap()), at);
    }

    #[test]
    fn what_is_in_use_is_found_as_long_as_it_is() {
        let sockets = Sockets::default();
        let port = sockets.listen(PORT, any(), bind).unwrap();
        assert!(Arc::ptr_eq(&sockets.in_use(PORT, any()).unwrap(), &port));
        assert!(sockets.in_use("tcp", any()).is_none());
        drop(port);
        assert!(sockets.in_use(PORT, any()).is_none());
    }
}
