//! Files that are read where that holds up nobody, whatever the disk does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::refusal::Refusal;

/// For all that is read at once. A file system over a network may never answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many readings that do not come back are left behind before there are no more.
const LEFT_MAX: usize = 4;

/// Reads files. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    places: Arc<Semaphore>,
    /// For looks at the file of the configuration, which do not end: where it does not answer, other files may.
    looks: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Disk {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { places: places(LEFT_MAX), looks: places(1), patience: PATIENCE }
    }
}

impl Disk {
    /// Does what blocks on files that may be anywhere.
    ///
    /// # Errors
    /// They do not answer; or the process ends.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.within(&self.places, work).await
    }

    /// The same for what is done again and again, whether or not it was answered.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.within(&self.looks, work).await
    }

    async fn within<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = places.clone().try_acquire_owned().map_err(|_| Refusal::NoAnswer)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        match timeout(self.patience, done).await {
            Ok(done) => done.map_err(|_| Refusal::Ended),
            Err(_) => Err(Refusal::NoAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn a_file_that_does_not_answer_keeps_no_other_from_being_read() {
        let disk = Disk { patience: Duration::from_millis(1), ..Disk::default() };
        let (answer, awaited) = channel::<()>();
        assert!(matches!(disk.look(move || awaited.recv()).await, Err(Refusal::NoAnswer)));
        let patient = Disk { patience: PATIENCE, ..disk };
        for _ in 0..LEFT_MAX {
            assert!(matches!(patient.look(|| 1).await, Err(Refusal::NoAnswer)), "not one thread more");
        }
        assert_eq!(patient.read(|| 2).await.unwrap(), 2);
        drop(answer);
        drop(patient.looks.acquire().await.unwrap());
        assert_eq!(patient.look(|| 3).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_does_not_come_back_is_left_behind_a_few_times_and_no_more() {
        let disk = Disk { patience: Duration::from_millis(1), ..Disk::default() };
        let mut stuck = Vec::new();
        for _ in 0..LEFT_MAX {
            let (answer, awaited) = channel::<()>();
            stuck.push(answer);
            assert!(matches!(disk.read(move || awaited.recv()).await, Err(Refusal::NoAnswer)));
        }
        let patient = Disk { patience: PATIENCE, ..disk };
        assert!(matches!(patient.read(|| 1).await, Err(Refusal::NoAnswer)), "not one thread more");
        drop(stuck);
        // All of them come back.
        let all = u32::try_from(LEFT_MAX).unwrap();
        drop(patient.places.acquire_many(all).await.unwrap());
        assert_eq!(patient.read(|| 2).await.unwrap(), 2);
    }
}
