//! `rate-limit`: so many requests in a time, by address, principal or a field (GCRA, of the crate `governor`).

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use http::{HeaderName, StatusCode};
use quick_cache::sync::Cache;

use super::{Call, Flow, Options, Plugin, Reply, RequestHead};

/// Keys that are remembered by one plugin if the configuration does not say. The rarest are forgotten first, and begin anew.
const KEYS: u32 = 65_536;
const KEYS_MAX: u32 = 4_194_304;
const BURST_MAX: u32 = 1_000_000;

/// Whose requests are counted together.
#[derive(Debug)]
enum By {
    Address,
    Principal,
    Header(HeaderName),
}

/// Counters by the keyed hash of whose they are: a hostile name costs no more memory than any other.
struct Counters(Cache<u64, Arc<InMemoryState>>);

impl StateStore for Counters {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let counter: Result<_, std::convert::Infallible> =
            self.0.get_or_insert_with(key, || Ok(Arc::new(InMemoryState::default())));
        let Ok(counter) = counter;
        counter.measure_and_replace(&NotKeyed::NonKey, measure)
    }
}

pub(super) struct RateLimit<C: Clock = DefaultClock> {
    by: By,
    limiter: RateLimiter<u64, Counters, C, NoOpMiddleware<C::Instant>>,
    hasher: RandomState,
}

pub(super) fn build(options: &mut Options) -> Option<Arc<dyn Plugin>> {
    Some(Arc::new(RateLimit::read(options, DefaultClock::default())?))
}

impl<C: Clock> RateLimit<C> {
    pub(super) fn read(options: &mut Options, clock: C) -> Option<Self> {
        let by = match options.text("key").as_deref() {
            None | Some("address") => Some(By::Address),
            Some("principal") => Some(By::Principal),
            Some(other) => {
                other.strip_prefix("header:").and_then(|name| HeaderName::try_from(name).ok()).map(By::Header)
            }
        };
        if by.is_none() {
            options.wrong("key", "is \"address\", \"principal\" or \"header:NAME\"");
        }
        let text = options.required("rate", "20/s");
        let rate = text.as_deref().and_then(parse_rate);
        if text.is_some() && rate.is_none() {
            options.wrong("rate", "is a number of requests in a time: 20/s, 100/m, 1000/h or 5000/d");
        }
        let burst = options.number("burst", 1..=BURST_MAX);
        let keys = options.number("keys", 1..=KEYS_MAX).unwrap_or(KEYS);
        let (requests, unit) = rate?;
        let burst = burst.and_then(NonZeroU32::new).unwrap_or(requests);
        // Within a day divided by a million there are nanoseconds.
        let quota = Quota::with_period(unit.checked_div(requests.get())?)?.allow_burst(burst);
        let counters = Counters(Cache::new(usize::try_from(keys).ok()?));
        let limiter = RateLimiter::new(quota, counters, clock);
        Some(Self { by: by?, limiter, hasher: RandomState::new() })
    }

    /// Whoever has no principal or does not send the field is counted by its address: leaving it out gains nothing.
    fn key(&self, request: &RequestHead) -> u64 {
        let named = match &self.by {
            By::Address => None,
            By::Principal => request.principal.as_deref().map(str::as_bytes),
            By::Header(name) => request.headers.get(name).map(http::HeaderValue::as_bytes),
        };
        match named {
            Some(name) => self.hasher.hash_one((1_u8, name)),
            None => self.hasher.hash_one((0_u8, network(request.visitor().ip()))),
        }
    }

    /// How many keys are remembered.
    #[cfg(test)]
    pub(super) fn remembered(self) -> usize {
        self.limiter.into_state_store().0.len()
    }

    fn decide(&self, request: &RequestHead) -> Flow {
        match self.limiter.check_key(&self.key(request)) {
            Ok(()) => Flow::Pass,
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                // Whole seconds, and not too early.
                let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
                let sentence = "There were too many requests in a short time.";
                let after = Duration::from_secs(seconds);
                Flow::Answer(Box::new(Reply::over_limit(StatusCode::TOO_MANY_REQUESTS, sentence, after)))
            }
        }
    }
}

/// The address, or the network of a site: with IPv6, whoever has one address has all of its /64.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
    }
}

/// `20/s`: how many, in which time.
fn parse_rate(text: &str) -> Option<(NonZeroU32, Duration)> {
    let (requests, unit) = text.split_once('/')?;
    let unit = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let requests = requests.trim().parse::<NonZeroU32>().ok().filter(|it| it.get() <= BURST_MAX)?;
    Some((requests, Duration::from_secs(unit)))
}

impl<C> Plugin for RateLimit<C>
where
    C: Clock + Send + Sync + 'static,
    C::Instant: Send + Sync,
{
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        Call::now(self.decide(request))
    }
}
