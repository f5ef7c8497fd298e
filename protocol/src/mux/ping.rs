//! Pings: ours measure the round trip, the peer's are answered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Between two pings of ours at least.
const INTERVAL: Duration = Duration::from_secs(1);
/// A ping without an answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(15);
/// Answers that wait for room at most; a peer that asks faster gets only the latest.
const ANSWERS_MAX: usize = 32;
/// Round trips of which the shortest counts.
const REMEMBERED: usize = 8;
/// What is assumed before the first answer.
const ASSUMED: Duration = Duration::from_millis(1);

/// The pings of one session.
#[derive(Debug, Default)]
pub(super) struct Pings {
    next: u32,
    asked: Option<(u32, Instant)>,
    last: Option<Instant>,
    /// The latest round trips.
    round_trips: VecDeque<Duration>,
    answers: VecDeque<u32>,
    /// Bytes were consumed since the last ping: the round trip is of interest.
    wanted: bool,
}

impl Pings {
    /// The shortest of the latest round trips: what the link takes without a queue.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trips.iter().min().copied()
    }

    pub(super) fn round_trip_assumed(&self) -> Duration {
        self.round_trip().unwrap_or(ASSUMED)
    }

    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The value of a ping to send now.
    pub(super) fn ask(&mut self, now: Instant) -> Option<u32> {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        let first = since.is_none();
        let due = match self.asked {
            Some(_) => since >= Some(PATIENCE),
            None => self.wanted && since >= Some(INTERVAL),
        };
        if !first && !due {
            return None;
        }
        let value = self.next;
        self.next = self.next.wrapping_add(1);
        self.asked = Some((value, now));
        self.last = Some(now);
        self.wanted = false;
        Some(value)
    }

    /// The answer to a ping; false if nobody asked.
    pub(super) fn answered(&mut self, value: u32, now: Instant) -> bool {
        let Some((_, at)) = self.asked.take_if(|(asked, _)| *asked == value) else {
            return false;
        };
        if self.round_trips.len() >= REMEMBERED {
            self.round_trips.pop_front();
        }
        self.round_trips.push_back(now.saturating_duration_since(at));
        true
    }

    /// The peer asks.
    pub(super) fn asked(&mut self, value: u32) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(value);
    }

    /// The next answer to send.
    pub(super) fn answer(&mut self) -> Option<u32> {
        self.answers.pop_front()
    }

    pub(super) fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }
}
