//! A handle to a running task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;

/// Why a task has no output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TaskEnd {
    /// It panicked. The panic was logged with the task's name and counted when it happened.
    #[error("the task panicked")]
    Panicked,
    /// It was aborted, or its worker shut down.
    #[error("the task was aborted")]
    Aborted,
}

/// A spawned task; awaiting it gives its output.
///
/// Dropping the handle detaches the task: it runs on, stays counted, and a panic in it is still
/// contained and logged. Keep the handle where an owner must be able to end the task.
#[derive(Debug)]
pub struct Task<T> {
    inner: JoinHandle<Result<T, TaskEnd>>,
}

impl<T> Task<T> {
    pub(super) fn new(inner: JoinHandle<Result<T, TaskEnd>>) -> Self {
        Self { inner }
    }

    /// Asks the task to end at its next await; what it owns is dropped there. A task that has
    /// ended stays as it is.
    pub fn abort(&self) {
        self.inner.abort();
    }

    /// Whether the task has ended, in whichever way.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.inner).poll(cx)) {
            Ok(output) => output,
            Err(error) if error.is_panic() => Err(TaskEnd::Panicked),
            Err(_) => Err(TaskEnd::Aborted),
        })
    }
}
