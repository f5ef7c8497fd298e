//! How many connections that proved nothing come from one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts per address; an IPv6 network of 64 bits counts as one, because its holder chooses the rest.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    max: u32,
    counts: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// One of an address' places, for as long as it lives.
#[derive(Debug)]
pub(super) struct Place {
    of: Addresses,
    network: IpAddr,
}

impl Addresses {
    pub(super) fn new(max: u32) -> Self {
        Self { max, counts: Arc::default() }
    }

    /// A place for one more connection from `ip`, if it has one left.
    pub(super) fn enter(&self, ip: IpAddr) -> Option<Place> {
        let network = network(ip);
        let mut counts = self.counts.lock();
        let count = counts.entry(network).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Place { of: self.clone(), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.of.counts.lock().entry(self.network) {
            match count.get().checked_sub(1) {
                None | Some(0) => drop(count.remove()),
                Some(left) => *count.get_mut() = left,
            }
        }
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

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let addresses = Addresses::new(2);
        let ip = "192.0.2.1".parse().unwrap();
        let first = addresses.enter(ip).unwrap();
        let second = addresses.enter("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(addresses.enter(ip).is_none());
        assert!(addresses.enter("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        let third = addresses.enter(ip).unwrap();
        drop((second, third));
        assert!(addresses.counts.lock().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let addresses = Addresses::new(1);
        let place = addresses.enter("2001:db8::1".parse().unwrap());
        assert!(place.is_some());
        assert!(addresses.enter("2001:db8::2:0:0:1".parse().unwrap()).is_none());
        assert!(addresses.enter("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
