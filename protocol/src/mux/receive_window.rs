//! Flow control by what the reader consumed: how much the peer may send, and how that grows and shrinks.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::{LONG_LINK, WINDOW_MAX, YAMUX_WINDOW};

/// A round trip is taken to be at least this long: below it, it is tasks that wait for a core, not bytes on a link.
pub(super) const ROUND_TRIP_MIN: Duration = Duration::from_micros(125);

/// And at most this long: it is the peer that says how long it is.
pub(super) const ROUND_TRIP_MAX: Duration = Duration::from_secs(1);

/// A window that was not used for so long lapses when others want to grow.
const IDLE: Duration = Duration::from_secs(10);

/// A substream that moves this much in [`BULK_TRIP`], 32 MB/s, gets a window of that size however short the link is: smaller
/// ones cost more in window updates than they save in waiting.
const BULK_WINDOW: u64 = 256 * 1024;
const BULK_TRIP: Duration = Duration::from_millis(4);

/// A window update gives at least this much, but for windows that are smaller than twice that.
const UPDATE_MIN: u32 = 16 * 1024;

/// The receiving side's window of one substream.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// Bytes that may be on the way or unread at once.
    target: u32,
    /// What `target` is never below.
    floor: u32,
    /// Bytes that the peer may send before it breaks the rules. It starts at yamux's own window, for peers that do not know
    /// of the smaller one that we stated.
    credit: u32,
    /// Consumed, and not yet given back as credit.
    consumed: u32,
    /// Given back as credit, and put back by the reader since.
    ahead: u32,
    /// Credit that the peer has beyond the window, which has lapsed since: what it uses of it is not given back.
    beyond: u32,
    /// Consumed since `epoch`.
    measured: u64,
    epoch: Option<Instant>,
    /// Twice the bandwidth-delay product, as measured last.
    product: u64,
    /// When credit was given last.
    given: Option<Instant>,
}

impl ReceiveWindow {
    pub(super) fn new(first: u32) -> Self {
        // No peer may use more before its first update.
        let first = first.min(YAMUX_WINDOW);
        Self {
            target: first,
            floor: first,
            credit: YAMUX_WINDOW,
            consumed: 0,
            ahead: 0,
            beyond: 0,
            measured: 0,
            product: 0,
            epoch: None,
            given: None,
        }
    }

    /// What of the window comes from the budget beyond the first window.
    pub(super) fn growth(&self) -> usize {
        usize::try_from(self.target.saturating_sub(self.floor)).unwrap_or(usize::MAX)
    }

    /// Takes `n` bytes of credit; false if there are not so many.
    pub(super) fn received(&mut self, n: u32) -> bool {
        match self.credit.checked_sub(n) {
            Some(left) => {
                self.credit = left;
                true
            }
            None => false,
        }
    }

    /// The reader took `n` bytes.
    pub(super) fn consumed(&mut self, n: usize) {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        let again = n.min(self.ahead);
        self.ahead = self.ahead.saturating_sub(again);
        let fresh = n.saturating_sub(again);
        let unpaid = fresh.min(self.beyond);
        self.beyond = self.beyond.saturating_sub(unpaid);
        self.consumed = self.consumed.saturating_add(fresh.saturating_sub(unpaid));
        self.measured = self.measured.saturating_add(n.into());
    }

    /// The reader put `n` bytes back. If it has been paid for them already, it is not paid again.
    pub(super) fn put_back(&mut self, n: usize) {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        let unpaid = n.min(self.consumed);
        self.consumed = self.consumed.saturating_sub(unpaid);
        self.ahead = self.ahead.saturating_add(n.saturating_sub(unpaid));
        self.measured = self.measured.saturating_sub(n.into());
    }

    /// Whether the window was not used lately.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.given.is_none_or(|given| now.saturating_duration_since(given) >= IDLE)
    }

    /// The window is again what it was at first; returns what it had grown by. Credit can not be taken back: the peer may
    /// still use it, and is then not given more until it is within the window.
    pub(super) fn lapse(&mut self) -> usize {
        let growth = self.growth();
        self.beyond = self.beyond.saturating_add(self.target.saturating_sub(self.floor));
        self.target = self.floor;
        self.epoch = None;
        growth
    }

    /// Whether a window update is worth its header.
    ///
    /// What is consumed and not given back is of no use to a peer that waits. At a quarter of the window, at least three
    /// quarters move in a round trip while the window is what limits, which is clearly more than the half that moves when it
    /// is twice what the link needs. At a half, the two could not be told apart, and a window would cease to grow.
    pub(super) fn is_due(&self) -> bool {
        self.consumed >= (self.target / 4).max(UPDATE_MIN).min(self.target / 2)
    }

    /// Credit to give to the peer now. `round_trip` is the time from giving credit to the bytes that use it.
    ///
    /// The window follows twice the bandwidth-delay product, measured over at least one round trip: it grows only out of free
    /// budget, to four times its size at most at once, and halves when less than a quarter is used.
    pub(super) fn give(&mut self, now: Instant, round_trip: Duration, budget: &mut Budget) -> u32 {
        let mut credit = self.consumed;
        match self.epoch {
            None => self.start(now),
            Some(epoch) => {
                let elapsed = now.saturating_duration_since(epoch);
                if elapsed >= round_trip {
                    let product =
                        self.ahead_of_sender(twice_in(round_trip, self.measured, elapsed), round_trip);
                    let bulk = twice_in(BULK_TRIP, self.measured, elapsed).min(BULK_WINDOW);
                    credit = self.adjust(product.max(bulk), credit, budget);
                    self.start(now);
                }
            }
        }
        self.consumed = 0;
        self.given = Some(now);
        self.credit = self.credit.saturating_add(credit);
        credit
    }

    /// Raises the window before anything was measured: the link is known to be long. Returns the credit for it.
    pub(super) fn start_with(&mut self, window: u32, now: Instant, budget: &mut Budget) -> u32 {
        let more = window.saturating_sub(self.target);
        if more == 0 || !budget.extend(usize::try_from(more).unwrap_or(usize::MAX)) {
            return 0;
        }
        self.target = window;
        self.given = Some(now);
        self.credit = self.credit.saturating_add(more);
        more
    }

    /// What the window should be where twice the bandwidth-delay product has just been measured to be `product`.
    ///
    /// A sender that begins doubles its rate in a round trip. Credit takes one to come back as bytes: on a long link, a window
    /// for the rate of now would hold it up at every step.
    fn ahead_of_sender(&mut self, product: u64, round_trip: Duration) -> u64 {
        let before = std::mem::replace(&mut self.product, product);
        let speeds_up = product > before.saturating_add(before / 4);
        if speeds_up && round_trip >= LONG_LINK { product.saturating_mul(2) } else { product }
    }

    fn start(&mut self, now: Instant) {
        self.epoch = Some(now);
        self.measured = 0;
    }

    fn adjust(&mut self, wanted: u64, credit: u32, budget: &mut Budget) -> u32 {
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(self.floor, WINDOW_MAX);
        if wanted > self.target {
            let more = wanted.saturating_sub(self.target).min(self.target.saturating_mul(3));
            if budget.extend(usize::try_from(more).unwrap_or(usize::MAX)) {
                self.target = self.target.saturating_add(more);
                return credit.saturating_add(more);
            }
        } else if wanted < self.target / 4 {
            let less = (self.target / 2).min(self.target.saturating_sub(self.floor)).min(credit);
            budget.retract(usize::try_from(less).unwrap_or(0));
            self.target = self.target.saturating_sub(less);
            return credit.saturating_sub(less);
        }
        credit
    }
}

/// Twice the bytes that come in `round_trip` if `bytes` come in `elapsed`.
fn twice_in(round_trip: Duration, bytes: u64, elapsed: Duration) -> u64 {
    let product = u128::from(bytes).saturating_mul(2).saturating_mul(round_trip.as_nanos());
    u64::try_from(product.checked_div(elapsed.as_nanos()).unwrap_or(0)).unwrap_or(u64::MAX)
}
