//! The threads behind a spawner.

use std::future::Future;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Placement, Worker};

/// Polls between looks at the sockets: low, so that a busy substream delays the others little.
const EVENT_INTERVAL: u32 = 6;
/// Threads per runtime for calls that block: name lookups and files.
const BLOCKING_THREADS: usize = 64;

/// The worker threads of a [`Spawner`](super::Spawner). Dropping it stops them without waiting.
#[derive(Debug)]
pub struct Workers {
    /// Runs the main future. In `MultiThread` it is also the workers' runtime.
    main: Runtime,
    /// Stops the worker threads when dropped.
    stop: DropGuard,
    /// Disconnected once every worker thread has ended; nothing is ever sent.
    ended: Receiver<()>,
}

impl Workers {
    /// Starts the threads; the handles are worker 0's, then one per worker where they differ.
    pub(super) fn start(workers: usize, placement: Placement) -> io::Result<(Self, Handle, Vec<Handle>)> {
        let (running, ended) = sync_channel(1);
        let stop = CancellationToken::new();
        // Made here, so that threads that did start end if a later one cannot.
        let guard = stop.clone().drop_guard();
        let (main, first, handles) = match placement {
            Placement::PerCore => {
                let mut handles = Vec::with_capacity(workers);
                for index in 0..workers {
                    handles.push(start_thread(Worker(index), stop.clone(), running.clone())?);
                }
                let main = runtime(&mut Builder::new_current_thread(), "main")?;
                let first = handles.first().unwrap_or_else(|| main.handle()).clone();
                (main, first, handles)
            }
            Placement::MultiThread => {
                let main = runtime(Builder::new_multi_thread().worker_threads(workers), "worker")?;
                let first = main.handle().clone();
                (main, first, Vec::new())
            }
        };
        Ok((Self { main, stop: guard, ended }, first, handles))
    }

    /// Runs the main future on this thread, until it is done. It is not a task: it is neither
    /// counted nor contained.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.main.block_on(future)
    }

    /// Ends all tasks at their next await and waits for the threads, at most `timeout` in all.
    /// False if a thread did not end in time; it is left behind. Not to be called within
    /// `block_on`.
    pub fn shutdown(self, timeout: Duration) -> bool {
        let started = Instant::now();
        drop(self.stop);
        self.main.shutdown_timeout(timeout);
        let left = timeout.saturating_sub(started.elapsed());
        self.ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }
}

/// `name` is given to the threads that the runtime starts by itself.
fn runtime(builder: &mut Builder, name: &'static str) -> io::Result<Runtime> {
    builder
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(name)
        .build()
}

fn start_thread(worker: Worker, stop: CancellationToken, running: SyncSender<()>) -> io::Result<Handle> {
    let name = format!("worker-{}", worker.0);
    let runtime = runtime(&mut Builder::new_current_thread(), "blocking")?;
    let handle = runtime.handle().clone();
    thread::Builder::new().name(name).spawn(move || {
        worker.settle();
        runtime.block_on(stop.cancelled());
        runtime.shutdown_background();
        drop(running);
    })?;
    Ok(handle)
}
