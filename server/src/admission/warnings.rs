//! What strangers could fill the log with, as logins that did not succeed: at most some lines a second, and how many were
//! left out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const WINDOW: Duration = Duration::from_secs(1);

/// A budget of log lines.
#[derive(Debug)]
pub(crate) struct Warnings {
    /// Lines per [`WINDOW`].
    most: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Warnings {
    /// `most` lines in a second.
    pub(crate) fn new(now: Instant, most: u32) -> Self {
        Self { most, state: Mutex::new(State { since: now, lines: 0, left_out: 0 }) }
    }

    /// Whether to write a line now; if so, how many were left out before it.
    pub(crate) fn take(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        if now.saturating_duration_since(state.since) >= WINDOW {
            state.since = now;
            state.lines = 0;
        }
        if state.lines >= self.most {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.lines = state.lines.saturating_add(1);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_told() {
        let now = Instant::now();
        let warnings = Warnings::new(now, 10);
        let written = (0..25).filter(|_| warnings.take(now).is_some()).count();
        assert_eq!(written, 10);
        assert_eq!(warnings.take(now + WINDOW), Some(15));
        assert_eq!(warnings.take(now + WINDOW), Some(0));
    }
}
