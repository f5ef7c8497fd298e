//! Failed logins: who fails too often waits. Only failures count, per address and credential.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use protocol::id::CredentialId;

/// Failures within [`WINDOW`] that lead to a ban.
pub const FAILURES_MAX: usize = 10;

/// The time in which failures are counted together.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The first ban; each further one is twice as long.
pub const BAN_FIRST: Duration = Duration::from_secs(60);

/// The longest ban.
pub const BAN_MAX: Duration = Duration::from_secs(15 * 60);

/// After so long without a failure or a ban, everything is forgotten.
pub const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

/// Most (address, credential) pairs that are remembered; then the least recently touched is forgotten.
pub const ENTRIES_MAX: usize = 16_384;

/// This address may not try this credential now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins; try again in {} s", retry_after.as_secs().max(1))]
pub struct Banned {
    /// How long the ban lasts still.
    pub retry_after: Duration,
}

/// The failed logins of a server, in bounded memory.
#[derive(Debug, Default)]
pub struct Throttle {
    entries: HashMap<Key, Entry>,
    /// The same keys by their last touch, the oldest first.
    touched: BTreeMap<u64, Key>,
    touches: u64,
}

/// The half of an IPv6 address that its holder cannot choose, or a whole IPv4 address; and what was tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    network: IpAddr,
    credential: CredentialId,
}

#[derive(Debug)]
struct Entry {
    touch: u64,
    /// Within the last [`WINDOW`]; fewer than [`FAILURES_MAX`].
    failures: Vec<Instant>,
    last_failure: Instant,
    /// Bans so far.
    bans: u32,
    banned_until: Option<Instant>,
}

impl Throttle {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a login from `ip` with `credential` is looked at, at `now`. Ask before the proof is checked.
    ///
    /// # Errors
    /// How long the ban lasts still.
    pub fn check(&mut self, now: Instant, ip: IpAddr, credential: &CredentialId) -> Result<(), Banned> {
        let key = Key::new(ip, credential);
        match self.entries.get(&key).and_then(|entry| entry.ban(now)) {
            Some(retry_after) => {
                self.touch(key, now);
                Err(Banned { retry_after })
            }
            None => Ok(()),
        }
    }

    /// A login from `ip` with `credential` failed at `now`. Says so if that began a ban.
    pub fn failed(&mut self, now: Instant, ip: IpAddr, credential: &CredentialId) -> Option<Banned> {
        let entry = self.touch(Key::new(ip, credential), now);
        if entry.ban(now).is_some() {
            // It was let in before the ban began; the ban is for this too.
            return None;
        }
        entry.failures.retain(|failure| now.saturating_duration_since(*failure) < WINDOW);
        entry.failures.push(now);
        entry.last_failure = now;
        if entry.failures.len() < FAILURES_MAX {
            return None;
        }
        let factor = 1u32.checked_shl(entry.bans).unwrap_or(u32::MAX);
        let retry_after = BAN_FIRST.saturating_mul(factor).min(BAN_MAX);
        entry.bans = entry.bans.saturating_add(1);
        entry.failures.clear();
        entry.banned_until = now.checked_add(retry_after);
        Some(Banned { retry_after })
    }

    /// Forgets all failures from the address, or its network; says how many bans that ended at `now`.
    pub fn forgive(&mut self, now: Instant, ip: IpAddr) -> usize {
        let network = network(ip);
        let mut bans: usize = 0;
        self.entries.retain(|key, entry| {
            if key.network != network {
                return true;
            }
            self.touched.remove(&entry.touch);
            bans = bans.saturating_add(usize::from(entry.ban(now).is_some()));
            false
        });
        bans
    }

    /// How many (address, credential) pairs are remembered; at most [`ENTRIES_MAX`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of `key`, now the last touched; it is new if there was none or its time is over.
    fn touch(&mut self, key: Key, now: Instant) -> &mut Entry {
        self.touches = self.touches.saturating_add(1);
        match self.entries.get(&key) {
            Some(entry) => {
                self.touched.remove(&entry.touch);
            }
            None if self.entries.len() >= ENTRIES_MAX => {
                if let Some((_, oldest)) = self.touched.pop_first() {
                    self.entries.remove(&oldest);
                }
            }
            None => {}
        }
        self.touched.insert(self.touches, key.clone());
        let entry = self.entries.entry(key).or_insert_with(|| Entry::new(now));
        if entry.is_over(now) {
            *entry = Entry::new(now);
        }
        entry.touch = self.touches;
        entry
    }
}

impl Key {
    fn new(ip: IpAddr, credential: &CredentialId) -> Self {
        Self { network: network(ip), credential: credential.clone() }
    }
}

/// Whoever has an IPv6 address has all of its /64.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

impl Entry {
    const fn new(now: Instant) -> Self {
        Self { touch: 0, failures: Vec::new(), last_failure: now, bans: 0, banned_until: None }
    }

    /// What is left of a ban.
    fn ban(&self, now: Instant) -> Option<Duration> {
        self.banned_until?.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn is_over(&self, now: Instant) -> bool {
        let last = self.banned_until.map_or(self.last_failure, |until| until.max(self.last_failure));
        now.saturating_duration_since(last) >= FORGET_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn credential(text: &str) -> CredentialId {
        CredentialId::parse(text).unwrap()
    }

    /// Fails until there is a ban, and says how long it is.
    fn provoke(throttle: &mut Throttle, now: Instant, ip: IpAddr, credential: &CredentialId) -> Duration {
        let bans: Vec<_> = (0..FAILURES_MAX).map(|_| throttle.failed(now, ip, credential)).collect();
        assert!(bans[..FAILURES_MAX - 1].iter().all(Option::is_none));
        bans[FAILURES_MAX - 1].unwrap().retry_after
    }

    #[test]
    fn ten_failures_in_a_minute_are_a_ban_of_a_minute() {
        let (mut throttle, start, me, key) =
            (Throttle::new(), Instant::now(), ip("192.0.2.1"), credential("a"));
        for n in 0..9 {
            assert_eq!(throttle.failed(start + SECOND * n, me, &key), None);
        }
        assert_eq!(throttle.check(start + SECOND * 9, me, &key), Ok(()));
        // The first is a minute old when the tenth comes.
        assert_eq!(throttle.failed(start + WINDOW, me, &key), None);
        let banned = Banned { retry_after: BAN_FIRST };
        assert_eq!(throttle.failed(start + WINDOW, me, &key), Some(banned));
        assert_eq!(throttle.check(start + WINDOW, me, &key), Err(banned));
        let last = start + WINDOW + BAN_FIRST - SECOND;
        assert_eq!(throttle.check(last, me, &key), Err(Banned { retry_after: SECOND }));
        assert_eq!(throttle.failed(last, me, &key), None);
        assert_eq!(throttle.check(last + SECOND, me, &key), Ok(()));
    }

    #[test]
    fn bans_double_to_a_quarter_of_an_hour_and_are_forgotten_after_quiet() {
        let (mut throttle, mut now, me, key) =
            (Throttle::new(), Instant::now(), ip("192.0.2.1"), credential("a"));
        for seconds in [60, 120, 240, 480, 900, 900] {
            let ban = provoke(&mut throttle, now, me, &key);
            assert_eq!(ban, SECOND * seconds);
            now += ban;
        }
        assert_eq!(provoke(&mut throttle, now + FORGET_AFTER - SECOND, me, &key), BAN_MAX);
        assert_eq!(
            provoke(&mut throttle, now + FORGET_AFTER - SECOND + BAN_MAX + FORGET_AFTER, me, &key),
            BAN_FIRST
        );
    }

    #[test]
    fn others_are_not_meant() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        let (a, b) = (credential("a"), credential("b"));
        provoke(&mut throttle, now, ip("192.0.2.1"), &a);
        provoke(&mut throttle, now, ip("2001:db8::1"), &a);
        for (address, key, banned) in [
            ("192.0.2.1", &b, false),
            ("192.0.2.2", &a, false),
            ("::ffff:192.0.2.1", &a, true),
            ("2001:db8::ffff:1:2:3", &a, true),
            ("2001:db8:0:1::1", &a, false),
        ] {
            assert_eq!(throttle.check(now, ip(address), key).is_err(), banned, "{address} {key}");
        }
    }

    #[test]
    fn an_address_is_forgiven_with_all_that_it_tried() {
        let (mut throttle, now) = (Throttle::new(), Instant::now());
        let (a, b) = (credential("a"), credential("b"));
        provoke(&mut throttle, now, ip("2001:db8::1"), &a);
        provoke(&mut throttle, now, ip("2001:db8::2"), &b);
        throttle.failed(now, ip("2001:db8::3"), &credential("c"));
        provoke(&mut throttle, now, ip("192.0.2.1"), &a);
        assert_eq!(throttle.forgive(now, ip("2001:db8::9")), 2);
        assert_eq!(throttle.forgive(now, ip("2001:db8::9")), 0);
        assert_eq!(throttle.check(now, ip("2001:db8::1"), &a), Ok(()));
        assert!(throttle.check(now, ip("192.0.2.1"), &a).is_err());
        assert_eq!((throttle.len(), throttle.touched.len()), (1, 1));
        // The next ban is a first one again.
        assert_eq!(provoke(&mut throttle, now, ip("2001:db8::1"), &a), BAN_FIRST);
    }

    #[test]
    fn a_crowd_of_attackers_costs_bounded_memory_and_the_most_recent_stay() {
        let (mut throttle, now, me, key) =
            (Throttle::new(), Instant::now(), ip("192.0.2.1"), credential("a"));
        provoke(&mut throttle, now, me, &key);
        for n in 0..100_000u32 {
            throttle.failed(now, IpAddr::V4(n.into()), &key);
            if n % 10_000 == 0 {
                assert!(throttle.check(now, me, &key).is_err(), "a ban that is asked for stays");
            }
        }
        assert_eq!((throttle.len(), throttle.touched.len()), (ENTRIES_MAX, ENTRIES_MAX));
        // Who only asks leaves nothing behind.
        assert_eq!(throttle.check(now, ip("198.51.100.1"), &key), Ok(()));
        assert!(!throttle.entries.contains_key(&Key::new(ip("198.51.100.1"), &key)));
        (0..ENTRIES_MAX).for_each(|n| {
            throttle.failed(now, IpAddr::V4((200_000 + n as u32).into()), &key);
        });
        assert_eq!(throttle.check(now, me, &key), Ok(()));
    }

    proptest! {
        #[test]
        fn nobody_fails_more_often_than_allowed(gaps in prop::collection::vec(0u64..40, 0..200)) {
            let (mut throttle, mut now, me, key) = (Throttle::new(), Instant::now(), ip("192.0.2.1"), credential("a"));
            let mut let_in: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += SECOND * u32::try_from(gap).unwrap();
                if throttle.check(now, me, &key).is_ok() {
                    throttle.failed(now, me, &key);
                    let_in.push(now);
                }
            }
            for window in let_in.windows(FAILURES_MAX + 1) {
                prop_assert!(window[FAILURES_MAX] - window[0] >= WINDOW);
            }
            prop_assert_eq!(throttle.touched.len(), throttle.entries.len());
        }
    }
}
