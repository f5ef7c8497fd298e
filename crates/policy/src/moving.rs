//! How fast clients are sent from one process to the one that takes over from it: as fast as they arrive there.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::throttle::network;

/// Sessions that are on their way at once. It is what a server takes in without a queue (`admission::Pace::TAKING_OVER`).
pub const TOGETHER: usize = 100;
/// The same from one address, or one IPv6 network of 64 bits: fewer than it may have in front of the door (`admission`), where
/// others come by too.
pub const TOGETHER_FROM_ONE: usize = 24;
/// Who has not arrived by then holds up nobody behind.
pub const STRIDE: Duration = Duration::from_secs(1);
/// Who has not arrived by then is not waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Who was told to move, and who has arrived.
#[derive(Debug, Clone)]
pub struct Moving<K>(HashMap<K, Course>);

#[derive(Debug, Clone, Copy)]
enum Course {
    /// So many sessions of it were told.
    Told { at: Instant, sessions: usize, from: IpAddr },
    /// It is at the other process.
    Arrived,
}

/// Sessions that are on their way.
#[derive(Debug, Default)]
struct Way {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Way {
    fn add(&mut self, sessions: usize, from: IpAddr) {
        self.all = self.all.saturating_add(sessions);
        let from_there = self.by_address.entry(network(from)).or_default();
        *from_there = from_there.saturating_add(sessions);
    }

    /// Whether so many more may come from there. One instance alone always may, however many it has.
    fn has_room(&self, sessions: usize, from: IpAddr) -> bool {
        let before = self.by_address.get(&network(from)).copied();
        before.is_none_or(|before| before.saturating_add(sessions) <= TOGETHER_FROM_ONE)
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Of those who are here, so many have arrived there too.
    pub arrived: usize,
    /// So many are here.
    pub here: usize,
    /// Whether somebody is still waited for.
    pub is_waiting: bool,
}

impl<K> Default for Moving<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Moving<K> {
    /// One of them is at the other process.
    pub fn arrived(&mut self, who: K) {
        self.0.insert(who, Course::Arrived);
    }

    /// Whether it was told, or is there.
    #[must_use]
    pub fn is_under_way(&self, who: &K) -> bool {
        self.0.contains_key(who)
    }

    /// Whom of those who are `here`, each with the number of its sessions and its address, to tell at `now`: as many as there is room for on
    /// the way. They count as told.
    pub fn next<'a>(&mut self, here: impl Iterator<Item = (&'a K, usize, IpAddr)>, now: Instant) -> Vec<K>
    where
        K: 'a,
    {
        let mut way = Way::default();
        for course in self.0.values() {
            match course {
                Course::Told { at, sessions, from } if now.saturating_duration_since(*at) < STRIDE => {
                    way.add(*sessions, *from);
                }
                Course::Told { .. } | Course::Arrived => {}
            }
        }
        let mut next = Vec::new();
        for (who, sessions, from) in here {
            if way.all >= TOGETHER {
                break;
            }
            if way.has_room(sessions, from) && !self.is_under_way(who) {
                way.add(sessions, from);
                self.0.insert(who.clone(), Course::Told { at: now, sessions, from });
                next.push(who.clone());
            }
        }
        next
    }

    /// How far those are who are `here` at `now`.
    #[must_use]
    pub fn standing<'a>(&self, here: impl Iterator<Item = &'a K>, now: Instant) -> Standing
    where
        K: 'a,
    {
        let mut standing = Standing { arrived: 0, here: 0, is_waiting: false };
        for who in here {
            standing.here = standing.here.saturating_add(1);
            match self.0.get(who) {
                Some(Course::Arrived) => standing.arrived = standing.arrived.saturating_add(1),
                Some(Course::Told { at, .. }) if now.saturating_duration_since(*at) >= PATIENCE => {}
                Some(Course::Told { .. }) | None => standing.is_waiting = true,
            }
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// So many clients of so many sessions.
    struct Fleet(Vec<usize>, usize);

    impl Fleet {
        fn of(size: usize, sessions: usize) -> Self {
            Self((0..size).collect(), sessions)
        }

        fn next(&self, moving: &mut Moving<usize>, now: Instant) -> Vec<usize> {
            let address = |who: &usize| Ipv4Addr::from_bits(u32::try_from(*who).unwrap()).into();
            moving.next(self.0.iter().map(|who| (who, self.1, address(who))), now)
        }

        fn standing(&self, moving: &Moving<usize>, now: Instant) -> Standing {
            moving.standing(self.0.iter(), now)
        }
    }

    #[test]
    fn the_next_leave_when_others_have_arrived() {
        let (here, start, mut moving) = (Fleet::of(1_000, 2), Instant::now(), Moving::default());
        assert_eq!(here.next(&mut moving, start).len(), TOGETHER / 2);
        assert!(here.next(&mut moving, start).is_empty());
        (0..10).for_each(|who| moving.arrived(who));
        assert_eq!(here.next(&mut moving, start), (50..60).collect::<Vec<_>>());
        let standing = here.standing(&moving, start);
        assert_eq!(standing, Standing { arrived: 10, here: 1_000, is_waiting: true });
    }

    #[test]
    fn who_does_not_arrive_holds_up_the_others_for_a_moment_and_the_end_for_a_while() {
        let (here, start, mut moving) = (Fleet::of(TOGETHER + 1, 1), Instant::now(), Moving::default());
        let dead = here.next(&mut moving, start);
        assert!(here.next(&mut moving, start + STRIDE / 2).is_empty());
        assert_eq!(here.next(&mut moving, start + STRIDE), [TOGETHER]);
        moving.arrived(TOGETHER);
        assert!(here.standing(&moving, start + PATIENCE / 2).is_waiting);
        let given_up = here.standing(&moving, start + PATIENCE);
        assert_eq!(given_up, Standing { arrived: 1, here: dead.len() + 1, is_waiting: false });
    }

    #[test]
    fn who_is_gone_is_not_waited_for() {
        let (start, mut moving) = (Instant::now(), Moving::default());
        assert_eq!(Fleet::of(2, 1).next(&mut moving, start), [0, 1]);
        moving.arrived(0);
        let standing = Fleet::of(1, 1).standing(&moving, start);
        assert_eq!(standing, Standing { arrived: 1, here: 1, is_waiting: false });
        // Somebody whose login was under way.
        assert!(Fleet::of(3, 1).standing(&moving, start).is_waiting);
        assert!(!Fleet::of(0, 1).standing(&moving, start).is_waiting);
    }

    /// Even if nobody ever arrived, everybody is told in a time that is known.
    #[test]
    fn everybody_is_told_at_a_hundred_a_second_at_least() {
        let (here, start, mut moving) = (Fleet::of(5_000, 1), Instant::now(), Moving::default());
        let told: usize = (0..50).map(|second| here.next(&mut moving, start + STRIDE * second).len()).sum();
        assert_eq!(told, 5_000);
        assert!(!here.standing(&moving, start + STRIDE * 49 + PATIENCE).is_waiting);
    }

    /// The door lets only so many stand in front of it from one address.
    #[test]
    fn few_leave_together_from_one_address() {
        let (start, mut moving) = (Instant::now(), Moving::default());
        let all: Vec<usize> = (0..100).collect();
        let network =
            |who: &usize| Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::try_from(*who).unwrap()).into();
        let next =
            |moving: &mut Moving<usize>, now| moving.next(all.iter().map(|who| (who, 5, network(who))), now);
        assert_eq!(next(&mut moving, start), [0, 1, 2, 3]);
        moving.arrived(0);
        assert_eq!(next(&mut moving, start), [4]);
        assert_eq!(next(&mut moving, start + STRIDE).len(), 4);
        let other = moving.next([(&1_000, 1, Ipv4Addr::LOCALHOST.into())].into_iter(), start + STRIDE);
        assert_eq!(other, [1_000], "others do not wait for them");
        let large = Moving::default().next([(&0, 64, Ipv4Addr::LOCALHOST.into())].into_iter(), start);
        assert_eq!(large, [0]);
    }
}
