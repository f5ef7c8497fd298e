//! A number of places that may change while they are taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places.
#[derive(Debug)]
pub(crate) struct Pool {
    places: Arc<Semaphore>,
    /// How many there are.
    size: Mutex<usize>,
    /// How many go as soon as they are given back.
    owed: AtomicUsize,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Pool {
    /// With so many places.
    pub(crate) fn new(size: usize) -> Arc<Self> {
        let size = size.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(size));
        Arc::new(Self { places, size: Mutex::new(size), owed: AtomicUsize::new(0) })
    }

    /// From now on there are so many. Those that are taken stay so until they are given back.
    pub(crate) fn resize(&self, to: usize) {
        let mut size = self.size.lock();
        let to = to.min(Semaphore::MAX_PERMITS);
        let more = to.saturating_sub(*size);
        let paid = self.pay(more);
        self.places.add_permits(more.saturating_sub(paid));
        let less = size.saturating_sub(to);
        let gone = self.places.forget_permits(less);
        self.owed.fetch_add(less.saturating_sub(gone), Ordering::AcqRel);
        *size = to;
    }

    /// A place, if one is free.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Permit> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Permit { pool: self.clone(), permit: Some(permit) })
    }

    /// A place, as soon as one is free.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Permit> {
        let permit = self.places.clone().acquire_owned().await.ok()?;
        Some(Permit { pool: self.clone(), permit: Some(permit) })
    }

    /// How many are free.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Takes at most so many from what is owed, and says how many.
    fn pay(&self, most: usize) -> usize {
        let less = |owed: usize| (owed > 0 && most > 0).then(|| owed.saturating_sub(most));
        let before = self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        before.map_or(0, |owed| owed.min(most))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let owed = self.pool.owed.load(Ordering::Acquire) > 0 && self.pool.pay(1) > 0;
        match self.permit.take() {
            Some(permit) if owed => permit.forget(),
            other => drop(other),
        }
    }
}
