//! Whose bytes go next: deficit round-robin by bytes, with short messages ahead of bulk (after RFC 8290).
//!
//! A substream that was silent may send up to one [`QUANTUM`] ahead of those that send without end; who has used that up
//! takes turns with them. The allowance comes back once per round of the others, so that nobody is starved by many who say
//! little.

use std::collections::VecDeque;

use super::FRAME_MAX;
use super::id::Key;

/// Bytes that a substream may send before it is another's turn: one frame.
pub(super) const QUANTUM: usize = 4 * FRAME_MAX;
/// Bytes of short messages that may go ahead of bulk before bulk gets a turn all the same.
const AHEAD_MAX: usize = 4 * QUANTUM;

/// What the scheduler keeps with each substream.
#[derive(Debug, Default)]
pub(super) struct Turn {
    listed: bool,
    deficit: usize,
    round: u64,
}

/// The substreams that have something to send and may.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    sparse: VecDeque<Key>,
    bulk: VecDeque<Key>,
    round: u64,
    /// How many of `bulk` are still to come in this round.
    left: usize,
    /// Bytes that went ahead of bulk since its last turn.
    ahead: usize,
}

impl Scheduler {
    pub(super) fn is_empty(&self) -> bool {
        self.sparse.is_empty() && self.bulk.is_empty()
    }

    /// The substream has something to send.
    pub(super) fn add(&mut self, key: Key, turn: &mut Turn) {
        if turn.listed {
            return;
        }
        turn.listed = true;
        if turn.round != self.round || self.bulk.is_empty() {
            turn.round = self.round;
            turn.deficit = QUANTUM;
        }
        if turn.deficit > 0 {
            self.sparse.push_back(key);
        } else {
            self.bulk.push_back(key);
        }
    }

    /// Whose turn it is. The caller then says [`Scheduler::served`], or nothing if the substream is no more.
    pub(super) fn next(&mut self) -> Option<Key> {
        if (self.ahead < AHEAD_MAX || self.bulk.is_empty())
            && let Some(key) = self.sparse.pop_front()
        {
            return Some(key);
        }
        let key = self.bulk.pop_front()?;
        self.ahead = 0;
        if self.left == 0 {
            self.round = self.round.wrapping_add(1);
            self.left = self.bulk.len();
        } else {
            self.left = self.left.saturating_sub(1);
        }
        Some(key)
    }

    /// Forgets all but some.
    pub(super) fn retain(&mut self, lives: impl Fn(&Key) -> bool) {
        self.sparse.retain(&lives);
        self.bulk.retain(&lives);
        self.left = self.left.min(self.bulk.len());
    }

    /// How much the substream whose turn it is may send.
    pub(super) fn allowance(&self, turn: &mut Turn) -> usize {
        if turn.deficit == 0 {
            turn.deficit = QUANTUM;
            turn.round = self.round;
        }
        turn.deficit
    }

    /// The substream sent `n` bytes, and has `more` that may be sent.
    pub(super) fn served(&mut self, key: Key, turn: &mut Turn, n: usize, more: bool) {
        turn.deficit = turn.deficit.saturating_sub(n);
        self.ahead = self.ahead.saturating_add(n);
        turn.listed = more;
        if !more {
            return;
        }
        if turn.deficit > 0 {
            // Its turn was cut short: the batch was full.
            self.sparse.push_front(key);
        } else {
            self.bulk.push_back(key);
        }
    }
}
