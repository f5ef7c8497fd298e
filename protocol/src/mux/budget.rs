//! Bytes that may be held: received and unread, written and unsent, and what windows have grown by.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that a process holds, however much memory there is, bytes.
const PROCESS_MAX: usize = 1 << 30;

/// The bytes of all sessions of a process.
///
/// From two thirds of the most there may be on, every session that holds more than its share of the last third gives up
/// some when it takes more, and at its next tick: so those that hold little are left alone, and the sum stays below the
/// most.
#[derive(Debug)]
pub struct ProcessBudget {
    max: usize,
    held: AtomicUsize,
    growth: AtomicUsize,
    sessions: AtomicUsize,
    /// How often a window could not grow.
    refused: AtomicUsize,
}

impl ProcessBudget {
    /// At most `max` bytes over all sessions.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, held: 0.into(), growth: 0.into(), sessions: 0.into(), refused: 0.into() })
    }

    /// What a process may hold that has `memory` bytes: a quarter of them, and 1 GiB at most.
    #[must_use]
    pub fn of_memory(memory: u64) -> Arc<Self> {
        Self::new(usize::try_from(memory / 4).unwrap_or(usize::MAX).min(PROCESS_MAX))
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The most there may be.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// What a session may hold while all hold too much; none if they do not. Never more than is left: sessions may have
    /// come since others took their share.
    fn share(&self) -> Option<usize> {
        let (third, held) = (self.max / 3, self.held());
        if held <= third.saturating_mul(2) {
            return None;
        }
        let share = third.checked_div(self.sessions.load(Ordering::Relaxed))?;
        Some(share.min(self.max.saturating_sub(held)))
    }
}

/// The bytes of one session, which count for its process too.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    held: usize,
    growth: usize,
    /// What the process had refused when this session was asked to give up what it does not use.
    refused: usize,
    process: Arc<ProcessBudget>,
}

impl Budget {
    pub(super) fn new(max: usize, process: Arc<ProcessBudget>) -> Self {
        process.sessions.fetch_add(1, Ordering::Relaxed);
        Self { max, held: 0, growth: 0, refused: 0, process }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// What windows have grown by.
    #[cfg(test)]
    pub(super) fn growth(&self) -> usize {
        self.growth
    }

    pub(super) fn charge(&mut self, n: usize) {
        self.held = self.held.saturating_add(n);
        self.process.held.fetch_add(n, Ordering::Relaxed);
    }

    pub(super) fn release(&mut self, n: usize) {
        let n = n.min(self.held);
        self.held = self.held.saturating_sub(n);
        self.process.held.fetch_sub(n, Ordering::Relaxed);
    }

    /// Lets windows grow by `n` bytes in all, if half of both budgets stays free of such promises, and three quarters of the
    /// process's half are left to other sessions.
    pub(super) fn extend(&mut self, n: usize) -> bool {
        let session = self.held.saturating_add(self.growth).saturating_add(n);
        let process = self.process.held().saturating_add(self.process.growth.load(Ordering::Relaxed));
        let free = session <= (self.max / 2).min(self.process.max / 8)
            && process.saturating_add(n) <= self.process.max / 2;
        if free {
            self.growth = self.growth.saturating_add(n);
            self.process.growth.fetch_add(n, Ordering::Relaxed);
        } else {
            self.process.refused.fetch_add(1, Ordering::Relaxed);
        }
        free
    }

    /// Whether a window of some session could not grow since this was last asked: promises that are not used are of use
    /// elsewhere.
    pub(super) fn is_wanted(&mut self) -> bool {
        let refused = self.process.refused.load(Ordering::Relaxed);
        std::mem::replace(&mut self.refused, refused) != refused
    }

    /// Windows shrank by `n` bytes in all.
    pub(super) fn retract(&mut self, n: usize) {
        let n = n.min(self.growth);
        self.growth = self.growth.saturating_sub(n);
        self.process.growth.fetch_sub(n, Ordering::Relaxed);
    }

    /// What this session may go on holding, if it, or all together, hold too much: seven eighths.
    pub(super) fn excess(&self) -> Option<usize> {
        let most = self.process.share().map_or(self.max, |share| share.min(self.max));
        (self.held > most).then(|| most.saturating_sub(most / 8))
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.release(self.held);
        self.retract(self.growth);
        self.process.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
