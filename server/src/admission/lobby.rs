//! Connections that have proved nothing yet: bounded in all and per address. When there are too many, the one that has
//! waited longest goes: an honest client is through in a moment, and who only sits there can not keep others out.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The waiting connections. A clone is the same lobby.
#[derive(Debug, Clone)]
pub(super) struct Lobby {
    most: usize,
    most_per_address: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// By address, the oldest first; an IPv6 network of 64 bits is one address, because its holder chooses the rest.
    waiting: HashMap<IpAddr, VecDeque<Waiting>>,
    count: usize,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    evicted: CancellationToken,
}

/// One connection's place, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    lobby: Lobby,
    address: IpAddr,
    number: u64,
    evicted: CancellationToken,
}

impl Lobby {
    pub(super) fn new(most: usize, most_per_address: usize) -> Self {
        Self { most, most_per_address, state: Arc::default() }
    }

    /// A place for a connection from `ip`, and whether another one had to go for it.
    pub(super) fn enter(&self, ip: IpAddr) -> (Place, bool) {
        let address = network(ip);
        let mut state = self.state.lock();
        let from_here = state.waiting.get(&address).map_or(0, VecDeque::len);
        let crowded = match () {
            () if from_here >= self.most_per_address => Some(address),
            () if state.count >= self.most => state.most_crowded(),
            () => None,
        };
        let evicted = crowded.is_some_and(|crowded| state.evict_oldest(crowded));
        state.last = state.last.wrapping_add(1);
        state.count = state.count.saturating_add(1);
        let place =
            Place { lobby: self.clone(), address, number: state.last, evicted: CancellationToken::new() };
        let waiting = Waiting { number: place.number, evicted: place.evicted.clone() };
        state.waiting.entry(address).or_default().push_back(waiting);
        (place, evicted)
    }
}

impl State {
    /// The address with the most connections: it is the one that crowds out the others.
    fn most_crowded(&self) -> Option<IpAddr> {
        self.waiting.iter().max_by_key(|(_, waiting)| waiting.len()).map(|(address, _)| *address)
    }

    fn evict_oldest(&mut self, address: IpAddr) -> bool {
        let oldest = self.waiting.get(&address).and_then(VecDeque::front);
        let Some(number) = oldest.map(|oldest| oldest.number) else { return false };
        if let Some(oldest) = self.remove(address, number) {
            oldest.evicted.cancel();
        }
        true
    }

    fn remove(&mut self, address: IpAddr, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.get_mut(&address)?;
        let at = waiting.iter().position(|one| one.number == number)?;
        let removed = waiting.remove(at);
        if waiting.is_empty() {
            self.waiting.remove(&address);
        }
        self.count = self.count.saturating_sub(1);
        removed
    }
}

impl Place {
    /// Waits until this connection has to go.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.state.lock().remove(self.address, self.number);
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn has_to_go(place: &Place) -> bool {
        place.evicted.is_cancelled()
    }

    #[test]
    fn over_an_address_limit_its_oldest_goes() {
        let lobby = Lobby::new(10, 2);
        let other = lobby.enter(ip("192.0.2.2")).0;
        let first = lobby.enter(ip("192.0.2.1")).0;
        let (second, evicted) = lobby.enter(ip("::ffff:192.0.2.1"));
        assert!(!evicted);
        let (third, evicted) = lobby.enter(ip("192.0.2.1"));
        assert!(evicted);
        assert_eq!([&other, &first, &second, &third].map(has_to_go), [false, true, false, false]);
        drop((other, first, second, third));
        let state = lobby.state.lock();
        assert_eq!((state.count, state.waiting.len()), (0, 0));
    }

    #[test]
    fn over_the_limit_of_all_the_oldest_of_the_most_crowded_address_goes() {
        let lobby = Lobby::new(4, 3);
        let honest = lobby.enter(ip("192.0.2.9")).0;
        let crowd: Vec<_> = (0..3).map(|_| lobby.enter(ip("192.0.2.1")).0).collect();
        let (newcomer, evicted) = lobby.enter(ip("192.0.2.8"));
        assert!(evicted);
        assert!(has_to_go(&crowd[0]) && !has_to_go(&crowd[1]));
        assert!(!has_to_go(&honest) && !has_to_go(&newcomer));
        assert_eq!(lobby.state.lock().count, 4);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let lobby = Lobby::new(10, 1);
        let first = lobby.enter(ip("2001:db8::1")).0;
        let other = lobby.enter(ip("2001:db8:0:1::1")).0;
        assert!(lobby.enter(ip("2001:db8::2:0:0:1")).1);
        assert!(has_to_go(&first) && !has_to_go(&other));
    }
}
