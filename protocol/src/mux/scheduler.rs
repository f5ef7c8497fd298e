//! Whose bytes go next: short messages first, then bulk in turns by bytes (deficit round-robin; the idea of the two queues is
//! that of RFC 8290).
//!
//! A substream that has little to send, no more than one frame in a round, goes ahead of those that send without end. All
//! others take turns of a [`QUANTUM`]. A round is over when each of them has had its turn, so that nobody is starved by many
//! who say little.

use std::collections::VecDeque;

use super::FRAME_MAX;
use super::id::Key;

/// Bytes that a substream may send before it is another's turn. Four frames: what arrives together is passed on in one
/// system call at the other end.
pub(super) const QUANTUM: usize = 4 * FRAME_MAX;
/// Bytes that a substream may send ahead of bulk in a round.
const AHEAD_EACH: usize = FRAME_MAX;
/// Bytes that may go ahead of bulk, all together, before one frame of bulk goes all the same.
const AHEAD_MAX: usize = 4 * FRAME_MAX;

/// What the scheduler keeps with each substream.
#[derive(Debug, Default)]
pub(super) struct Turn {
    listed: bool,
    /// It stands among those who go ahead.
    sparse: bool,
    /// What it sent ahead in `round`.
    ahead: usize,
    round: u64,
    /// What is left of its turn.
    deficit: usize,
}

/// The substreams that have something to send and may.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    sparse: VecDeque<Key>,
    bulk: VecDeque<Key>,
    round: u64,
    /// Bytes of bulk in this round.
    in_round: usize,
    /// Bytes that went ahead of bulk since it was last served.
    ahead: usize,
}

impl Scheduler {
    pub(super) fn is_empty(&self) -> bool {
        self.sparse.is_empty() && self.bulk.is_empty()
    }

    /// The substream has `pending` bytes to send.
    pub(super) fn add(&mut self, key: Key, turn: &mut Turn, pending: usize) {
        if turn.listed {
            return;
        }
        turn.listed = true;
        if turn.round != self.round {
            turn.round = self.round;
            turn.ahead = 0;
        }
        turn.sparse = turn.ahead.saturating_add(pending) <= AHEAD_EACH;
        if turn.sparse {
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
        self.ahead = 0;
        let bulk = self.bulk.pop_front();
        if bulk.is_none() {
            // Nothing is left for anybody to be ahead of.
            self.next_round();
        }
        bulk
    }

    /// How much the substream whose turn it is may send.
    pub(super) fn allowance(&self, turn: &mut Turn) -> usize {
        if turn.sparse {
            return AHEAD_EACH.saturating_sub(turn.ahead).max(1);
        }
        if turn.deficit == 0 {
            turn.deficit = QUANTUM;
        }
        turn.deficit
    }

    /// The substream sent `n` bytes, and has `more` that may be sent.
    pub(super) fn served(&mut self, key: Key, turn: &mut Turn, n: usize, more: bool) {
        turn.listed = more;
        if std::mem::take(&mut turn.sparse) {
            turn.ahead = turn.ahead.saturating_add(n);
            self.ahead = self.ahead.saturating_add(n);
            if more {
                self.bulk.push_back(key);
            }
            return;
        }
        turn.deficit = if more { turn.deficit.saturating_sub(n) } else { 0 };
        match (more, turn.deficit) {
            (false, _) => {}
            (true, 0) => self.bulk.push_back(key),
            // Its turn goes on, but a short message may come in between.
            (true, _) => self.bulk.push_front(key),
        }
        self.in_round = self.in_round.saturating_add(n);
        if self.in_round >= QUANTUM.saturating_mul(self.bulk.len()) {
            self.next_round();
        }
    }

    fn next_round(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.in_round = 0;
    }

    /// How many it knows, alive or not.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sparse.len() + self.bulk.len()
    }

    /// Forgets all but some.
    pub(super) fn retain(&mut self, lives: impl Fn(&Key) -> bool) {
        self.sparse.retain(&lives);
        self.bulk.retain(&lives);
    }
}
