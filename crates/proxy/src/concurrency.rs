//! How many requests are worked on at once: of the process, of one visitor, of one route. Who comes when that is full
//! waits a moment in a bounded queue.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ops::error_kind::ErrorKind;
use parking_lot::Mutex;
use protocol::id::InstanceId;
use tokio::time::timeout;

use crate::pool::{Permit, Pool};

/// What may be worked on at once. Connections, upgraded ones among them, do not count: they have limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of the process.
    pub requests: usize,
    /// Requests of one visitor: an IPv4 address, or the /64 of an IPv6 address. None: no limit but that of the process.
    pub requests_per_visitor: Option<usize>,
    /// Requests of one route, where its rule says nothing else. None: no limit but that of the process.
    pub requests_per_route: Option<usize>,
    /// Requests at one client, which is one instance at a time: a newer one ends what an older one carries. None: no limit but
    /// that of the process.
    pub requests_per_client: Option<usize>,
    /// The longest body of a request, in bytes, where its rule says nothing else. None: no limit.
    pub max_body: Option<u64>,
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
            requests_per_client: None,
            max_body: None,
            queue: 1_000,
            wait: Duration::from_secs(1),
        }
    }
}

/// The places of one process.
#[derive(Debug)]
pub(crate) struct Concurrency {
    requests: Arc<Pool>,
    visitors: Arc<Shares<IpAddr>>,
    routes: Arc<Shares<(Arc<str>, Arc<str>)>>,
    clients: Arc<Shares<InstanceId>>,
    queue: Arc<Pool>,
    limits: Limits,
}

/// The place of one request, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _request: Permit,
    _visitor: Option<Share<IpAddr>>,
    /// By the name of the route and its group: tunnels of different clients may be called alike.
    route: Option<Share<(Arc<str>, Arc<str>)>>,
    client: Option<Share<InstanceId>>,
}

impl Concurrency {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            requests: Pool::new(limits.requests),
            visitors: Arc::default(),
            routes: Arc::default(),
            clients: Arc::default(),
            queue: Pool::new(limits.queue),
            limits,
        }
    }

    /// The same places with other limits. What is worked on goes on, and counts: of the process at once, of a visitor, a
    /// route or a client whose limit is another one only until it ends.
    pub(crate) fn limited_to(&self, limits: Limits) -> Self {
        self.requests.resize(limits.requests);
        self.queue.resize(limits.queue);
        Self {
            requests: self.requests.clone(),
            visitors: self.visitors.clone(),
            routes: self.routes.clone(),
            clients: self.clients.clone(),
            queue: self.queue.clone(),
            limits,
        }
    }

    /// A place for a request of `visitor`.
    pub(crate) async fn enter(&self, visitor: IpAddr) -> Result<Place, ErrorKind> {
        let visitor = match self.limits.requests_per_visitor {
            // First: who waits here keeps nobody else waiting.
            Some(places) => Some(self.share(&self.visitors, network(visitor), places).await?),
            None => None,
        };
        let request = self.permit(&self.requests).await?;
        Ok(Place { _request: request, _visitor: visitor, route: None, client: None })
    }

    /// The request at `place` is for `route`, which has so many places of its own; 0: as many as there are.
    pub(crate) async fn routed(
        &self,
        place: &mut Place,
        route: &Arc<str>,
        group: &Arc<str>,
        places: Option<usize>,
    ) -> Result<(), ErrorKind> {
        let Some(places) = places.or(self.limits.requests_per_route).filter(|places| *places > 0) else {
            place.route = None;
            return Ok(());
        };
        let key = (route.clone(), group.clone());
        if place.route.as_ref().is_none_or(|share| share.key != (key.clone(), places)) {
            place.route = None;
            place.route = Some(self.share(&self.routes, key, places).await?);
        }
        Ok(())
    }

    /// The request at `place` goes to `client`. It waits there only if there is no `other` to ask.
    pub(crate) async fn sent(
        &self,
        place: &mut Place,
        client: InstanceId,
        other: bool,
    ) -> Result<(), ErrorKind> {
        let Some(places) = self.limits.requests_per_client else { return Ok(()) };
        if place.client.as_ref().is_some_and(|share| share.key == (client, places)) {
            return Ok(());
        }
        place.client = None;
        place.client = Some(match other {
            true => Share::now(&self.clients, client, places).ok_or(ErrorKind::OverLimit)?,
            false => self.share(&self.clients, client, places).await?,
        });
        Ok(())
    }

    /// The longest body of a request, if its rule says `of_rule`; none: any.
    pub(crate) fn max_body(&self, of_rule: Option<u64>) -> Option<u64> {
        of_rule.or(self.limits.max_body).filter(|most| *most > 0)
    }

    async fn share<K: Hash + Eq + Clone>(
        &self,
        shares: &Arc<Shares<K>>,
        key: K,
        places: usize,
    ) -> Result<Share<K>, ErrorKind> {
        let mut share = Share::waiting(shares, key, places);
        share.permit = Some(self.permit(&share.pool).await?);
        Ok(share)
    }

    async fn permit(&self, pool: &Arc<Pool>) -> Result<Permit, ErrorKind> {
        if let Some(permit) = pool.try_take() {
            return Ok(permit);
        }
        let _queued = self.queue.try_take().ok_or(ErrorKind::OverLimit)?;
        match Box::pin(timeout(self.limits.wait, pool.take())).await {
            Ok(Some(permit)) => Ok(permit),
            _ => Err(ErrorKind::OverLimit),
        }
    }
}

/// Places for each key, and for each number of them: a key that gets more or fewer begins anew. There are no more keys than
/// requests.
#[derive(Debug)]
struct Shares<K>(Mutex<HashMap<(K, usize), Arc<Pool>>>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// One place among those of its key.
#[derive(Debug)]
struct Share<K: Hash + Eq> {
    permit: Option<Permit>,
    pool: Arc<Pool>,
    shares: Arc<Shares<K>>,
    key: (K, usize),
}

impl<K: Hash + Eq + Clone> Share<K> {
    /// One that has no place yet.
    fn waiting(shares: &Arc<Shares<K>>, key: K, places: usize) -> Self {
        let key = (key, places);
        let pool = shares.0.lock().entry(key.clone()).or_insert_with(|| Pool::new(places)).clone();
        Self { permit: None, pool, shares: shares.clone(), key }
    }

    /// A place, if there is one.
    fn now(shares: &Arc<Shares<K>>, key: K, places: usize) -> Option<Self> {
        let mut share = Self::waiting(shares, key, places);
        share.permit = Some(share.pool.try_take()?);
        Some(share)
    }
}

impl<K: Hash + Eq> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.0.lock();
        drop(self.permit.take());
        // This one and the map's: nobody else has one, or can get one while the map is locked.
        if Arc::strong_count(&self.pool) == 2 {
            taken.remove(&self.key);
        }
    }
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
        requests_per_client: None,
        max_body: None,
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
        assert!(concurrency.visitors.0.lock().is_empty(), "who is gone is forgotten");
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
        concurrency.routed(first, &app, &group, None).await.unwrap();
        concurrency.routed(first, &app, &group, None).await.unwrap();
        assert!(concurrency.routed(second, &app, &group, None).await.is_err());
        concurrency.routed(third, &api, &group, None).await.unwrap();
        concurrency.routed(first, &api, &group, None).await.unwrap_err();
        concurrency.routed(second, &app, &group, None).await.unwrap();
        // What its rule says goes before what is said of all.
        concurrency.routed(first, &app, &group, Some(2)).await.unwrap();
        concurrency.routed(third, &app, &group, Some(0)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_full_is_waited_for_only_if_it_is_the_last() {
        let limits = Limits { requests: 10, requests_per_client: Some(1), ..QUICK };
        let concurrency = Concurrency::new(limits);
        let mut first = concurrency.enter(address("192.0.2.1")).await.unwrap();
        let mut second = concurrency.enter(address("192.0.2.1")).await.unwrap();
        let (one, two) = (InstanceId([1; 16]), InstanceId([2; 16]));
        concurrency.sent(&mut first, one, false).await.unwrap();
        let began = tokio::time::Instant::now();
        concurrency.sent(&mut second, one, true).await.unwrap_err();
        assert!(began.elapsed().is_zero());
        concurrency.sent(&mut second, two, false).await.unwrap();
        let (waited, ()) = tokio::join!(concurrency.sent(&mut second, one, false), async { drop(first) });
        waited.unwrap();
        drop(second);
        assert!(concurrency.clients.0.lock().is_empty());
    }

    #[test]
    fn the_longest_body() {
        let limited = Concurrency::new(Limits { max_body: Some(10), ..QUICK });
        assert_eq!([None, Some(0), Some(20)].map(|rule| limited.max_body(rule)), [Some(10), None, Some(20)]);
        assert_eq!(Concurrency::new(QUICK).max_body(None), None);
    }
}
