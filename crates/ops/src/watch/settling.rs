//! When a change counts: not before it has stayed as it is for a moment, because files are written in pieces and saved by
//! renaming.

use std::time::{Duration, Instant};

/// How long a change must stay as it is.
const QUIET: Duration = Duration::from_millis(300);
/// What changes all the time counts after this.
const AT_MOST: Duration = Duration::from_secs(5);

/// What was seen of something that may change.
#[derive(Debug)]
pub(super) struct Settling<T> {
    known: T,
    new: Option<New<T>>,
}

#[derive(Debug)]
struct New<T> {
    value: T,
    /// Since it is this value.
    since: Instant,
    /// Since it is another than the known one.
    first: Instant,
}

/// What to do after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has changed, and that counts.
    Changed,
    /// Look again, after this at the latest.
    Wait(Duration),
}

impl<T: PartialEq> Settling<T> {
    pub(super) const fn new(known: T) -> Self {
        Self { known, new: None }
    }

    /// It is `value` at `now`.
    pub(super) fn look(&mut self, value: T, now: Instant) -> Step {
        if value == self.known {
            self.new = None;
            return Step::Wait(Duration::MAX);
        }
        let first = self.new.as_ref().map_or(now, |new| new.first);
        let since = match &self.new {
            Some(new) if new.value == value => new.since,
            _ => now,
        };
        let quiet = now.saturating_duration_since(since);
        if quiet >= QUIET || now.saturating_duration_since(first) >= AT_MOST {
            self.known = value;
            self.new = None;
            return Step::Changed;
        }
        self.new = Some(New { value, since, first });
        Step::Wait(QUIET.saturating_sub(quiet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene(Settling<u32>, Instant);

    impl Scene {
        fn look(&mut self, value: u32, after_ms: u64) -> Step {
            self.1 += Duration::from_millis(after_ms);
            self.0.look(value, self.1)
        }
    }

    fn scene() -> Scene {
        Scene(Settling::new(0), Instant::now())
    }

    const FOR_EVER: Step = Step::Wait(Duration::MAX);

    #[test]
    fn a_change_counts_once_it_has_stayed() {
        let mut it = scene();
        assert_eq!(it.look(0, 0), FOR_EVER);
        assert_eq!(it.look(1, 1000), Step::Wait(QUIET));
        assert_eq!(it.look(1, 100), Step::Wait(Duration::from_millis(200)));
        assert_eq!(it.look(2, 100), Step::Wait(QUIET), "it goes on changing");
        assert_eq!(it.look(2, 300), Step::Changed);
        assert_eq!(it.look(2, 300), FOR_EVER);
    }

    #[test]
    fn what_is_undone_at_once_is_no_change() {
        let mut it = scene();
        assert_eq!(it.look(1, 0), Step::Wait(QUIET));
        assert_eq!(it.look(0, 299), FOR_EVER);
        assert_eq!(it.look(1, 1), Step::Wait(QUIET), "its time begins anew");
    }

    #[test]
    fn what_never_stays_counts_in_the_end() {
        let mut it = scene();
        let looks: Vec<_> = (1..=60).map(|value| it.look(value, 100)).collect();
        assert_eq!(looks.iter().position(|step| *step == Step::Changed), Some(50));
    }
}
