//! How many requests are worked on at once: of the process, of one visitor, of one route. Who comes when that is full
//! waits a moment in a bounded queue.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ops::error_kind::ErrorKind;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::pool::{Permit, Pool};

/// What may be worked on at once. Connections, upgraded ones among them, do not count: they have limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of the process.
    pub requests: usize,
    /// Requests of one visitor: an IPv4 address, or the /64 of an IPv6 address. None: no limit but that of the process.
    pub requests_per_visitor: Option<usize>,
    /// Requests of one route. None: no limit but that of the process.
    pub requests_per_route: Option<usize>,
    /// Requests that may wait for a place.
    pub queue: usize,
    /// How long each of them waits.
    pub wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 10_000,
            requests_per_visitor: None,
            requests_per_route: None,
            queue: 1_000,
            wait: Duration::from_secs(1),
        }
    }
}

/// The places of one process.
#[derive(Debug)]
pub(crate) struct Concurrency {
    requests: Arc<Pool>,
    visitors: Option<Arc<Shares<IpAddr>>>,
    routes: Option<Arc<Shares<RouteKey>>>,
    queue: Arc<Pool>,
    wait: Duration,
}

/// The place of one request, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _request: Permit,
    _visitor: Option<Share<IpAddr>>,
    route: Option<Share<RouteKey>>,
}

/// The name of a route and its group: tunnels of different clients may be called alike.
type RouteKey = (Arc<str>, Arc<str>);

impl Concurrency {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            requests: Pool::new(limits.requests),
            visitors: limits.requests_per_visitor.map(Shares::new),
            routes: limits.requests_per_route.map(Shares::new),
            queue: Pool::new(limits.queue),
            wait: limits.wait,
        }
    }

    /// The same places with other limits. What is worked on goes on, and counts: of the process at once, of a visitor or a
    /// route whose limit is another one only until it ends.
    pub(crate) fn limited_to(&self, limits: Limits) -> Self {
        self.requests.resize(limits.requests);
        self.queue.resize(limits.queue);
        Self {
            requests: self.requests.clone(),
            visitors: limited(self.visitors.as_ref(), limits.requests_per_visitor),
            routes: limited(self.routes.as_ref(), limits.requests_per_route),
            queue: self.queue.clone(),
            wait: limits.wait,
        }
    }

    /// A place for a request of `visitor`.
    pub(crate) async fn enter(&self, visitor: IpAddr) -> Result<Place, ErrorKind> {
        let visitor = match &self.visitors {
            // First: who waits here keeps nobody else waiting.
            Some(visitors) => Some(self.share(visitors, network(visitor)).await?),
            None => None,
        };
        let request = self.permit(&self.requests).await?;
        Ok(Place { _request: request, _visitor: visitor, route: None })
    }

    /// The request at `place` is for `route`.
    pub(crate) async fn routed(
        &self,
        place: &mut Place,
        route: &Arc<str>,
        group: &Arc<str>,
    ) -> Result<(), ErrorKind> {
        let Some(routes) = &self.routes else { return Ok(()) };
        let key = (route.clone(), group.clone());
        if place.route.as_ref().is_none_or(|share| share.key != key) {
            place.route = None;
            place.route = Some(self.share(routes, key).await?);
        }
        Ok(())
    }

    async fn share<K: Hash + Eq + Clone>(
        &self,
        shares: &Arc<Shares<K>>,
        key: K,
    ) -> Result<Share<K>, ErrorKind> {
        let mut share = Share { pool: shares.of(&key), permit: None, shares: shares.clone(), key };
        share.permit = Some(self.permit(&share.pool).await?);
        Ok(share)
    }

    async fn permit(&self, pool: &Arc<Pool>) -> Result<Permit, ErrorKind> {
        if let Some(permit) = pool.try_take() {
            return Ok(permit);
        }
        let _queued = self.queue.try_take().ok_or(ErrorKind::OverLimit)?;
        match timeout(self.wait, pool.take()).await {
            Ok(Some(permit)) => Ok(permit),
            _ => Err(ErrorKind::OverLimit),
        }
    }
}

/// As many places for each key. There are no more keys than requests.
#[derive(Debug)]
struct Shares<K> {
    places: usize,
    taken: Mutex<HashMap<K, Arc<Pool>>>,
}

/// One place among those of its key.
#[derive(Debug)]
struct Share<K: Hash + Eq> {
    permit: Option<Permit>,
    pool: Arc<Pool>,
    shares: Arc<Shares<K>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Shares<K> {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, taken: Mutex::default() })
    }

    fn of(&self, key: &K) -> Arc<Pool> {
        let mut taken = self.taken.lock();
        taken.entry(key.clone()).or_insert_with(|| Pool::new(self.places)).clone()
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        drop(self.permit.take());
        // This one and the map's: nobody else has one, or can get one while the map is locked.
        if Arc::strong_count(&self.pool) == 2 {
            taken.remove(&self.key);
        }
    }
}

/// The shares of before, if there are as many places in each.
fn limited<K: Hash + Eq + Clone>(
    before: Option<&Arc<Shares<K>>>,
    places: Option<usize>,
) -> Option<Arc<Shares<K>>> {
    let same = before.filter(|shares| Some(shares.places) == places);
    same.cloned().or_else(|| places.map(Shares::new))
}

/// Whoever has an IPv6 address has all of its /64.
fn network(visitor: IpAddr) -> IpAddr {
    match visitor.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Limits = Limits {
        requests: 2,
        requests_per_visitor: None,
        requests_per_route: None,
        queue: 1,
        wait: Duration::from_secs(1),
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_when_all_is_full_waits_and_is_refused() {
        let concurrency = Concurrency::new(QUICK);
        let first = concurrency.enter(address("192.0.2.1")).await.unwrap();
        let _second = concurrency.enter(address("192.0.2.1")).await.unwrap();
        assert_eq!(concurrency.enter(address("192.0.2.1")).await.unwrap_err(), ErrorKind::OverLimit);
        let (third, fourth, ()) = tokio::join!(
            concurrency.enter(address("192.0.2.1")),
            // The queue is full as well.
            concurrency.enter(address("192.0.2.1")),
            async { drop(first) },
        );
        assert!(third.is_ok());
        assert_eq!(fourth.unwrap_err(), ErrorKind::OverLimit);
    }

    #[tokio::test(start_paused = true)]
    async fn one_visitor_does_not_take_the_places_of_another() {
        let limits = Limits { requests: 10, requests_per_visitor: Some(1), ..QUICK };
        let concurrency = Concurrency::new(limits);
        let first = concurrency.enter(address("2001:db8::1")).await.unwrap();
        assert!(concurrency.enter(address("2001:db8::2")).await.is_err(), "the same /64");
        let other = concurrency.enter(address("2001:db8:0:1::1")).await.unwrap();
        drop(first);
        let again = concurrency.enter(address("2001:db8::2")).await.unwrap();
        drop((other, again));
        assert!(concurrency.visitors.unwrap().taken.lock().is_empty(), "who is gone is forgotten");
        assert_eq!(concurrency.requests.free(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_hold_at_once_and_count_what_is_worked_on() {
        let wide = Concurrency::new(Limits { requests: 3, queue: 0, ..QUICK });
        let mut worked_on = Vec::new();
        for _ in 0..3 {
            worked_on.push(wide.enter(address("192.0.2.1")).await.unwrap());
        }
        let narrow = wide.limited_to(Limits { requests: 1, queue: 0, ..QUICK });
        for place in worked_on {
            assert!(narrow.enter(address("192.0.2.1")).await.is_err());
            drop(place);
        }
        let _only = narrow.enter(address("192.0.2.1")).await.unwrap();
        assert!(narrow.enter(address("192.0.2.1")).await.is_err());
        let _wide = narrow.limited_to(Limits { requests: 2, queue: 0, ..QUICK });
        // Whoever began under the old limits has the same places.
        let _second = wide.enter(address("192.0.2.1")).await.unwrap();
        assert!(narrow.enter(address("192.0.2.1")).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn one_route_does_not_take_the_places_of_another() {
        let concurrency = Concurrency::new(Limits { requests: 10, requests_per_route: Some(1), ..QUICK });
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(concurrency.enter(address("192.0.2.1")).await.unwrap());
        }
        let [first, second, third] = &mut places[..] else { panic!() };
        let (app, api): (Arc<str>, Arc<str>) = ("app".into(), "api".into());
        let group: Arc<str> = "web".into();
        concurrency.routed(first, &app, &group).await.unwrap();
        concurrency.routed(first, &app, &group).await.unwrap();
        assert!(concurrency.routed(second, &app, &group).await.is_err());
        concurrency.routed(third, &api, &group).await.unwrap();
        concurrency.routed(first, &api, &group).await.unwrap_err();
        concurrency.routed(second, &app, &group).await.unwrap();
    }
}
