//! The one place where tasks start.

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::census::Census;
use super::{Placement, Task, TaskEnd, Worker, Workers};

/// Starts tasks on workers, counts them and contains their panics. A clone is the same spawner.
#[derive(Debug, Clone)]
pub struct Spawner {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    first: Handle,
    /// One per worker; empty where all workers are `first`.
    handles: Vec<Handle>,
    workers: usize,
    next: AtomicUsize,
    census: Arc<Census>,
}

impl Spawner {
    /// Starts `workers` worker threads (at least one), named `worker-N`.
    ///
    /// # Errors
    /// The system refuses a thread or the runtime's file descriptors.
    pub fn start(workers: usize, placement: Placement) -> io::Result<(Self, Workers)> {
        let workers = workers.max(1);
        let (threads, first, handles) = Workers::start(workers, placement)?;
        let inner =
            Inner { first, handles, workers, next: AtomicUsize::new(0), census: Arc::new(Census::default()) };
        Ok((Self { inner: Arc::new(inner) }, threads))
    }

    /// Starts `future` on `worker`. A panic in it ends this task only: it is logged with `name`
    /// and counted, whether or not somebody awaits the [`Task`].
    pub fn spawn<F>(&self, worker: Worker, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let alive = self.inner.census.enter();
        // Combinators, not an async block: a block would hold the future twice. Dropped in this
        // order too: what the future owns first, its place in the census last.
        let contained = AssertUnwindSafe(future).catch_unwind().map(move |ended| {
            ended.map_err(|panic| {
                alive.panicked();
                tracing::error!(task = name, panic = panic_text(&*panic), "a task panicked");
                TaskEnd::Panicked
            })
        });
        Task::new(self.handle(worker).spawn(contained))
    }

    /// The worker this thread is; worker 0 outside the workers.
    pub fn here(&self) -> Worker {
        Worker::here()
    }

    /// The next worker, in turn.
    pub fn next_worker(&self) -> Worker {
        Worker(self.inner.next.fetch_add(1, Ordering::Relaxed) % self.inner.workers)
    }

    /// How many workers there are; at least one.
    pub fn workers(&self) -> usize {
        self.inner.workers
    }

    /// How many tasks have started and not ended.
    pub fn tasks_alive(&self) -> usize {
        self.inner.census.alive()
    }

    /// How many tasks have panicked since the start.
    pub fn tasks_panicked(&self) -> u64 {
        self.inner.census.panicked()
    }

    /// Waits until no task is alive. False if `deadline` comes first. Not for use within a task,
    /// which would wait for itself.
    pub async fn wait_idle(&self, deadline: Instant) -> bool {
        self.inner.census.wait_idle(deadline).await
    }

    fn handle(&self, worker: Worker) -> &Handle {
        self.inner.handles.get(worker.0).unwrap_or(&self.inner.first)
    }
}

/// What a panic said, if it said it in text.
fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn tasks_run_on_the_worker_they_were_given() {
        let (spawner, workers) = Spawner::start(3, Placement::PerCore).unwrap();
        workers.block_on(async {
            for worker in (0..6).map(|_| spawner.next_worker()) {
                let there = spawner.clone();
                let task = spawner.spawn(worker, "where", async move {
                    (there.here(), std::thread::current().name().map(str::to_owned))
                });
                let (here, thread) = task.await.unwrap();
                assert_eq!(here, worker);
                assert_eq!(thread, Some(format!("worker-{}", worker.0)));
            }
            assert_eq!(spawner.here(), Worker(0));
            assert_eq!(spawner.spawn(Worker(99), "far", async { 1 }).await, Ok(1));
        });
        assert!(workers.shutdown(Duration::from_secs(5)));
    }

    #[test]
    fn next_worker_visits_all() {
        let (spawner, _workers) = Spawner::start(4, Placement::MultiThread).unwrap();
        let seen: HashSet<_> = (0..4).map(|_| spawner.next_worker()).collect();
        assert_eq!(seen.len(), spawner.workers());
    }

    #[test]
    fn a_panic_ends_its_task_only() {
        for placement in [Placement::PerCore, Placement::MultiThread] {
            let (spawner, workers) = Spawner::start(1, placement).unwrap();
            workers.block_on(async {
                let bad = spawner.spawn(Worker(0), "bad", async { panic!("on purpose") });
                assert_eq!(bad.await, Err::<(), _>(TaskEnd::Panicked));
                // Nobody awaits this one, and it is counted all the same.
                drop(spawner.spawn(Worker(0), "unwatched", async { panic!("on purpose") }));
                assert_eq!(spawner.spawn(Worker(0), "good", async { 7 }).await, Ok(7));
                assert!(spawner.wait_idle(soon()).await);
                assert_eq!(spawner.tasks_panicked(), 2);
            });
        }
    }

    #[test]
    fn abort_drops_what_the_task_owns() {
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        workers.block_on(async {
            let (owned, dropped) = oneshot::channel::<()>();
            let task = spawner.spawn(Worker(0), "stuck", async move {
                let _owned = owned;
                std::future::pending::<()>().await;
            });
            assert_eq!(spawner.tasks_alive(), 1);
            assert!(!spawner.wait_idle(Instant::now()).await);
            task.abort();
            assert!(dropped.await.is_err());
            assert_eq!(task.await, Err(TaskEnd::Aborted));
            assert!(spawner.wait_idle(soon()).await);
            assert_eq!(spawner.tasks_alive(), 0);
        });
    }

    #[test]
    fn shutdown_ends_tasks_and_joins_threads() {
        for placement in [Placement::PerCore, Placement::MultiThread] {
            let (spawner, workers) = Spawner::start(2, placement).unwrap();
            let task = spawner.spawn(Worker(1), "stuck", std::future::pending::<()>());
            assert!(workers.shutdown(Duration::from_secs(5)));
            assert!(task.is_finished());
            assert_eq!(spawner.tasks_alive(), 0);
        }
    }
}
