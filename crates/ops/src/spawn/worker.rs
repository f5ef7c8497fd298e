//! A place where tasks run.

use std::cell::Cell;

thread_local! {
    static HERE: Cell<Worker> = const { Cell::new(Worker(0)) };
}

/// The index of a worker. Any number is valid: those without a worker of their own mean worker 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker(pub usize);

impl Worker {
    /// The worker this thread is, or worker 0 on any other thread.
    #[must_use]
    pub fn here() -> Self {
        HERE.get()
    }

    /// Makes this thread known as `self`.
    pub(super) fn settle(self) {
        HERE.set(self);
    }
}
