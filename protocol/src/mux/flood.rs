//! The flood budget: frames that carry nothing cost a little each; who sends nothing else runs out of it.

use std::time::{Duration, Instant};

use super::{Breach, Useless};

/// What a peer has to begin with, and at most.
const CAPACITY: u64 = 400_000;
/// What it gets back in a second.
const REFILL: u64 = 200_000;
/// Pings a second that cost nothing.
const FREE_PINGS: u32 = 10;

impl Useless {
    /// What one costs: so that what a worker can afford to waste on one peer, and no more, is sustained for ever. All of it
    /// is far above what an honest peer sends: its tiny frames are gathered when they come faster than they can be sent.
    const fn cost(self) -> u64 {
        match self {
            Self::Tiny => 1,
            Self::Unknown | Self::Empty | Self::Updates | Self::GoAways => 4,
            Self::Opens => 20,
            Self::Pings => 100,
        }
    }
}

/// The flood budget of one session.
#[derive(Debug)]
pub(super) struct FloodBudget {
    left: u64,
    refilled: Instant,
    ping_second: Instant,
    pings: u32,
}

impl FloodBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: CAPACITY, refilled: now, ping_second: now, pings: 0 }
    }

    pub(super) fn charge(&mut self, what: Useless, now: Instant) -> Result<(), Breach> {
        let cost = what.cost();
        if self.left < cost {
            self.refill(now);
        }
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Breach::Flood(what)),
        }
    }

    pub(super) fn ping(&mut self, now: Instant) -> Result<(), Breach> {
        if now.saturating_duration_since(self.ping_second) >= Duration::from_secs(1) {
            self.ping_second = now;
            self.pings = 0;
        }
        self.pings = self.pings.saturating_add(1);
        if self.pings > FREE_PINGS { self.charge(Useless::Pings, now) } else { Ok(()) }
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.refilled);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_add(millis.saturating_mul(REFILL) / 1000).min(CAPACITY);
        // What is less than a millisecond counts next time.
        if millis > 0 {
            self.refilled = now;
        }
    }
}
