//! Connections that have proved nothing yet: bounded in all and per address. When there are too many, one goes that only
//! sits there: an honest client speaks at once and is through in a moment. When all of them are on their way through, the
//! newcomer goes: after a restart everybody comes at once, and a server that drops whom it has begun with to begin with the
//! next gets nobody in.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Who has spoken may take so long to be through before a newcomer takes the place.
const PATIENCE: Duration = Duration::from_secs(2);

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
    since: Instant,
    /// Whether anything came from it.
    spoke: bool,
    evicted: CancellationToken,
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) place: Place,
    /// Whether another one had to go for it.
    pub(super) another_went: bool,
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

    /// A place for a connection from `ip`; none if there is no room, and all that are here are on their way through.
    pub(super) fn enter(&self, ip: IpAddr, now: Instant) -> Option<Entered> {
        let address = network(ip);
        let mut state = self.state.lock();
        let from_here = state.waiting.get(&address).map_or(0, VecDeque::len);
        let crowded = match () {
            () if from_here >= self.most_per_address => Some(address),
            () if state.count >= self.most => state.most_crowded(),
            () => None,
        };
        if let Some(crowded) = crowded {
            state.evict(crowded, now)?;
        }
        state.last = state.last.wrapping_add(1);
        state.count = state.count.saturating_add(1);
        let place =
            Place { lobby: self.clone(), address, number: state.last, evicted: CancellationToken::new() };
        let (number, evicted) = (place.number, place.evicted.clone());
        state.waiting.entry(address).or_default().push_back(Waiting {
            number,
            since: now,
            spoke: false,
            evicted,
        });
        Some(Entered { place, another_went: crowded.is_some() })
    }
}

impl State {
    /// The address with the most connections: it is the one that crowds out the others.
    fn most_crowded(&self) -> Option<IpAddr> {
        self.waiting.iter().max_by_key(|(_, waiting)| waiting.len()).map(|(address, _)| *address)
    }

    /// Sends away the oldest that has said nothing, or else the oldest if it has had its time.
    fn evict(&mut self, address: IpAddr, now: Instant) -> Option<()> {
        let waiting = self.waiting.get(&address)?;
        let late = |one: &&Waiting| now.saturating_duration_since(one.since) >= PATIENCE;
        let goes = waiting.iter().find(|one| !one.spoke).or_else(|| waiting.front().filter(late))?;
        let number = goes.number;
        self.remove(address, number)?.evicted.cancel();
        Some(())
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
    /// Something came from the connection.
    pub(super) fn spoke(&self) {
        let mut state = self.lobby.state.lock();
        let all = state.waiting.get_mut(&self.address);
        if let Some(one) = all.and_then(|all| all.iter_mut().find(|one| one.number == self.number)) {
            one.spoke = true;
        }
    }

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

    /// A lobby at a moment.
    struct At(Lobby, Instant);

    impl At {
        fn enter(&self, address: &str) -> Place {
            let entered = self.0.enter(ip(address), self.1).unwrap();
            assert!(!entered.another_went);
            entered.place
        }

        fn enter_for_another(&self, address: &str) -> Place {
            let entered = self.0.enter(ip(address), self.1).unwrap();
            assert!(entered.another_went);
            entered.place
        }
    }

    fn lobby(most: usize, most_per_address: usize) -> At {
        At(Lobby::new(most, most_per_address), Instant::now())
    }

    #[test]
    fn over_an_address_limit_its_oldest_goes() {
        let at = lobby(10, 2);
        let other = at.enter("192.0.2.2");
        let first = at.enter("192.0.2.1");
        let second = at.enter("::ffff:192.0.2.1");
        let third = at.enter_for_another("192.0.2.1");
        assert_eq!([&other, &first, &second, &third].map(has_to_go), [false, true, false, false]);
        drop((other, first, second, third));
        let state = at.0.state.lock();
        assert_eq!((state.count, state.waiting.len()), (0, 0));
    }

    #[test]
    fn over_the_limit_of_all_the_oldest_of_the_most_crowded_address_goes() {
        let at = lobby(4, 3);
        let honest = at.enter("192.0.2.9");
        let crowd: Vec<_> = (0..3).map(|_| at.enter("192.0.2.1")).collect();
        let newcomer = at.enter_for_another("192.0.2.8");
        assert!(has_to_go(&crowd[0]) && !has_to_go(&crowd[1]));
        assert!(!has_to_go(&honest) && !has_to_go(&newcomer));
        assert_eq!(at.0.state.lock().count, 4);
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let at = lobby(10, 1);
        let first = at.enter("2001:db8::1");
        let other = at.enter("2001:db8:0:1::1");
        let second = at.enter_for_another("2001:db8::2:0:0:1");
        assert!(has_to_go(&first) && !has_to_go(&other) && !has_to_go(&second));
    }

    #[test]
    fn who_is_on_its_way_through_is_not_dropped_for_a_newcomer() {
        let mut at = lobby(10, 2);
        let (first, second) = (at.enter("192.0.2.1"), at.enter("192.0.2.1"));
        first.spoke();
        let third = at.enter_for_another("192.0.2.1");
        assert!(!has_to_go(&first) && has_to_go(&second));
        third.spoke();
        assert!(at.0.enter(ip("192.0.2.1"), at.1).is_none(), "both are on their way");
        assert!(!has_to_go(&first) && !has_to_go(&third));
        at.1 += PATIENCE;
        let fourth = at.enter_for_another("192.0.2.1");
        assert!(has_to_go(&first) && !has_to_go(&third));
        drop((first, second, third, fourth));
        assert_eq!(at.0.state.lock().count, 0);
    }
}
