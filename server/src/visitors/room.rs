//! How many connections of visitors there may be, so that no visitor of one public port can keep out those of another one,
//! or those of HTTP.
//!
//! Of L descriptors, 512 and a quarter of the others are kept for everything but visitors (clients, services, files, the
//! listeners of the command line). The rest, V, is for one connection each. V/2 of them are for HTTP and for nobody else.
//! V/2 are for all public ports together: they are shared out evenly, but no port gets more than three quarters of them, and
//! a port's listeners count like connections. A port that has more than its even share when another one is opened gives up
//! what it does not use at once, and the rest as its connections end. When less than [`PORT_LEAST`] would be left for a new
//! port, it is refused. So with L = 1,024: HTTP 192, a port alone 144, four ports 47 each, and 21 ports at most.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Descriptors that are kept for everything but visitors.
const HEADROOM: u64 = 512;
/// Connections of visitors where the system sets no limit, and at least.
const MOST: u64 = 1 << 20;
const LEAST: u64 = 64;
/// A public port with fewer connections than this is of no use.
const PORT_LEAST: usize = 8;

/// The connections of visitors, by where they come in.
#[derive(Debug)]
pub(super) struct Room {
    http: Arc<Semaphore>,
    /// What one public port gets at most.
    port_most: usize,
    ports: Mutex<Ports>,
}

#[derive(Debug)]
struct Ports {
    /// Connections that no port has.
    left: usize,
    open: Vec<Share>,
}

/// What one port has.
#[derive(Debug)]
struct Share {
    permits: Arc<Semaphore>,
    /// Its permits, those in use included.
    connections: usize,
    /// Its listening sockets; none once it is given back, which is how that is known.
    listeners: usize,
    closed: CancellationToken,
}

impl Room {
    /// For a process with so many `descriptors`; `None` is no limit.
    pub(super) fn new(descriptors: Option<u64>) -> Self {
        let all = descriptors.map_or(MOST, |limit| limit.saturating_sub(HEADROOM) / 4 * 3).clamp(LEAST, MOST);
        let all = usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            http: Arc::new(Semaphore::new(all / 2)),
            port_most: all / 8 * 3,
            ports: Mutex::new(Ports { left: all / 2, open: Vec::new() }),
        }
    }

    /// The connections of HTTP.
    pub(super) fn http(&self) -> Arc<Semaphore> {
        self.http.clone()
    }

    /// The connections of a new port with so many `listeners`, until it is `closed`; `None` if there are too few.
    pub(super) fn port(&self, listeners: usize, closed: CancellationToken) -> Option<Arc<Semaphore>> {
        self.ports.lock().open(listeners, closed, self.port_most)
    }

    /// Shares out anew what closed ports and ended connections have given back.
    pub(super) fn share(&self) {
        self.ports.lock().share(self.port_most);
    }
}

impl Ports {
    fn open(&mut self, listeners: usize, closed: CancellationToken, most: usize) -> Option<Arc<Semaphore>> {
        self.take_back();
        let fair = self.fair(listeners, 1).min(most);
        self.shrink(fair);
        let connections = self.left.saturating_sub(listeners).min(fair);
        if connections < PORT_LEAST {
            self.share(most);
            return None;
        }
        self.left = self.left.saturating_sub(connections).saturating_sub(listeners);
        let permits = Arc::new(Semaphore::new(connections));
        self.open.push(Share { permits: permits.clone(), connections, listeners, closed });
        Some(permits)
    }

    fn share(&mut self, most: usize) {
        self.take_back();
        let fair = self.fair(0, 0).min(most);
        self.shrink(fair);
        for share in self.open.iter_mut().filter(|share| share.listeners > 0) {
            let more = fair.saturating_sub(share.connections).min(self.left);
            share.permits.add_permits(more);
            share.connections = share.connections.saturating_add(more);
            self.left = self.left.saturating_sub(more);
        }
    }

    /// What each port gets if `listeners` and so many `more` ports come.
    fn fair(&self, listeners: usize, more: usize) -> usize {
        let open = self.open.iter().filter(|share| share.listeners > 0);
        let (ports, all) = open.fold((more, self.left), |(ports, all), share| {
            (ports.saturating_add(1), all.saturating_add(share.connections))
        });
        all.saturating_sub(listeners).checked_div(ports).unwrap_or(0)
    }

    /// Takes what is more than `fair` and not in use.
    fn shrink(&mut self, fair: usize) {
        for share in &mut self.open {
            let given = share.permits.forget_permits(share.connections.saturating_sub(fair));
            share.connections = share.connections.saturating_sub(given);
            self.left = self.left.saturating_add(given);
        }
    }

    /// Takes what ports that were given back do not use any more.
    fn take_back(&mut self) {
        for share in self.open.iter_mut().filter(|share| share.closed.is_cancelled()) {
            let given = share.permits.forget_permits(share.connections);
            share.connections = share.connections.saturating_sub(given);
            self.left = self.left.saturating_add(given).saturating_add(std::mem::take(&mut share.listeners));
        }
        self.open.retain(|share| share.listeners > 0 || share.connections > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(room: &Room) -> Option<(Arc<Semaphore>, CancellationToken)> {
        let closed = CancellationToken::new();
        room.port(1, closed.clone()).map(|permits| (permits, closed))
    }

    fn take(permits: &Semaphore, count: u32) {
        permits.try_acquire_many(count).unwrap().forget();
    }

    #[test]
    fn full_ports_leave_http_and_other_ports_their_share() {
        let room = Room::new(Some(1024));
        let (first, _) = open(&room).unwrap();
        assert_eq!(first.available_permits(), 144);
        take(&first, 144);
        let (second, _) = open(&room).unwrap();
        assert_eq!(second.available_permits(), 46, "two listeners count too");
        take(&second, 46);
        assert!(open(&room).is_none(), "nothing is left");
        assert_eq!(room.http().available_permits(), 192);
        // A connection of the first ends: the port with less gets it.
        first.add_permits(1);
        room.share();
        assert_eq!((first.available_permits(), second.available_permits()), (0, 1));
    }

    #[test]
    fn ports_share_evenly_and_are_refused_before_they_are_useless() {
        let room = Room::new(Some(1024));
        let mut ports: Vec<_> = std::iter::from_fn(|| open(&room)).collect();
        assert_eq!(ports.len(), 21);
        assert!(ports.iter().all(|(permits, _)| permits.available_permits() >= PORT_LEAST));
        let used: usize = ports.iter().map(|(permits, _)| permits.available_permits() + 1).sum();
        assert!(used <= 192, "{used}");
        for (_, closed) in ports.drain(4..) {
            closed.cancel();
        }
        room.share();
        assert!(ports.iter().all(|(permits, _)| permits.available_permits() == 47));
        assert!(open(&room).is_some());
    }

    #[test]
    fn a_closed_port_keeps_what_its_connections_still_use() {
        let room = Room::new(Some(1024));
        let (first, closed) = open(&room).unwrap();
        take(&first, 60);
        closed.cancel();
        room.share();
        assert_eq!(room.ports.lock().left, 132);
        first.add_permits(60);
        room.share();
        assert_eq!(room.ports.lock().left, 192);
        assert!(room.ports.lock().open.is_empty());
    }
}
