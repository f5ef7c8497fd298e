//! An undoing that is decided, and is tried again where it fails.

use std::time::Duration;

use super::author::Author;

/// After the first failure; twice as long after each further one.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often it is tried to undo a revision that failed its visitors: later the world is another one, and the operator
/// is asked. What nobody has confirmed is undone however long it takes.
const TRIES_MAX: u32 = 8;

/// What is to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    /// Which revision.
    pub number: u64,
    /// Whose text is to be in force again.
    pub back_to: u64,
    /// Whose decision it is.
    pub author: Author,
    /// For people.
    pub why: String,
}

/// What becomes of an undoing that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// It is tried again after this.
    After(Duration),
    /// It is given up.
    GivenUp,
}

/// The undoing that is decided, if one is. Times are spans since any fixed moment.
#[derive(Debug, Clone, Default)]
pub struct Undoing(Option<Due>);

#[derive(Debug, Clone)]
struct Due {
    undo: Undo,
    at: Duration,
    failures: u32,
}

impl Undoing {
    /// It is to be done from `now` on. The same one that has begun goes on as it was.
    pub fn begin(&mut self, undo: Undo, now: Duration) {
        let same = |due: &Due| (due.undo.number, &due.undo.author) == (undo.number, &undo.author);
        if !self.0.as_ref().is_some_and(same) {
            self.0 = Some(Due { undo, at: now, failures: 0 });
        }
    }

    /// What is to be done at `now`, while the revision `in_force` is: what was decided of another one is settled.
    pub fn due(&mut self, in_force: u64, now: Duration) -> Option<Undo> {
        self.0.take_if(|due| due.undo.number != in_force);
        self.0.as_ref().filter(|due| due.at <= now).map(|due| due.undo.clone())
    }

    /// It was tried at `now`, in vain.
    pub fn failed(&mut self, now: Duration) -> Again {
        let Some(due) = &mut self.0 else { return Again::GivenUp };
        due.failures = due.failures.saturating_add(1);
        if due.undo.author == Author::Watch && due.failures >= TRIES_MAX {
            self.0 = None;
            return Again::GivenUp;
        }
        let doubled = 2_u32.saturating_pow(due.failures.saturating_sub(1));
        let pause = PAUSE.saturating_mul(doubled).min(PAUSE_MAX);
        due.at = now.saturating_add(pause);
        Again::After(pause)
    }

    /// It is settled, or the operator has decided otherwise.
    pub fn end(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undo(number: u64, author: Author) -> Undo {
        Undo { number, back_to: 1, author, why: "x".to_owned() }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_tried_again_later_and_later_until_it_is_done() {
        let mut it = Undoing::default();
        assert_eq!((it.due(2, at(0)), it.failed(at(0))), (None, Again::GivenUp));
        it.begin(undo(2, Author::Unconfirmed), at(0));
        let (mut now, mut pauses) = (at(0), Vec::new());
        for _ in 0..20 {
            assert!(it.due(2, now).is_some());
            let Again::After(pause) = it.failed(now) else { panic!("it is given up") };
            pauses.push(pause.as_secs());
            // Nothing that happens meanwhile brings it forward.
            it.begin(undo(2, Author::Unconfirmed), now);
            assert_eq!(it.due(2, now + pause - Duration::from_millis(1)), None);
            now += pause;
        }
        assert_eq!(pauses[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pauses[19], 300);
        it.end();
        assert_eq!(it.due(2, now), None);
    }

    #[test]
    fn what_failed_its_visitors_is_left_in_the_end_and_another_revision_settles_it() {
        let mut it = Undoing::default();
        it.begin(undo(2, Author::Watch), at(0));
        let tries = (1..).find(|_| it.failed(at(0)) == Again::GivenUp);
        assert_eq!(tries, Some(TRIES_MAX));
        assert_eq!(it.due(2, at(1000)), None);

        it.begin(undo(2, Author::Watch), at(0));
        assert_eq!(it.due(3, at(0)), None);
        assert_eq!(it.due(2, at(0)), None, "it is settled");
        // Nobody has confirmed it either: that is a decision of its own.
        it.begin(undo(4, Author::Watch), at(0));
        it.failed(at(0));
        it.begin(undo(4, Author::Unconfirmed), at(1));
        assert_eq!(it.due(4, at(1)).map(|undo| undo.author), Some(Author::Unconfirmed));
    }
}
