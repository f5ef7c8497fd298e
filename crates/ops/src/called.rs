//! A future that is looked at only when it has called.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Waits for something rare, such as the end of the program, in a task that is busy with something else: while it has not
/// called, looking at it costs one load. Not to be polled again after it was ready.
#[derive(Debug)]
pub struct WhenCalled<F> {
    future: Pin<Box<F>>,
    call: Arc<Call>,
    /// Wakes `call`.
    waker: Waker,
    /// The task that `call` wakes.
    task: Option<Waker>,
}

#[derive(Debug)]
struct Call {
    /// Whether it has called since it was last looked at.
    made: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.made.store(true, Ordering::Release);
        let task = self.task.lock().clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future> WhenCalled<F> {
    /// Wraps `future`, which is looked at the first time in any case.
    pub fn new(future: F) -> Self {
        let call = Arc::new(Call { made: AtomicBool::new(true), task: Mutex::new(None) });
        Self { future: Box::pin(future), waker: call.clone().into(), call, task: None }
    }
}

impl<F: Future> Future for WhenCalled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            this.task = Some(cx.waker().clone());
            *this.call.task.lock() = Some(cx.waker().clone());
        }
        // Behind the registration: whoever calls from here on wakes this task.
        if !this.call.made.load(Ordering::Acquire) || !this.call.made.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        this.future.as_mut().poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio_util::sync::CancellationToken;

    use super::*;

    fn counted(token: &CancellationToken) -> (Arc<AtomicUsize>, impl Future<Output = ()> + use<>) {
        let (looks, token) = (Arc::new(AtomicUsize::new(0)), token.clone());
        let count = looks.clone();
        let future = async move {
            let mut cancelled = std::pin::pin!(token.cancelled());
            poll_fn(|cx| {
                count.fetch_add(1, Ordering::Relaxed);
                cancelled.as_mut().poll(cx)
            })
            .await;
        };
        (looks, future)
    }

    #[tokio::test]
    async fn it_is_looked_at_once_until_it_calls() {
        let token = CancellationToken::new();
        let (looks, future) = counted(&token);
        let mut waiting = WhenCalled::new(future);
        for _ in 0..3 {
            let pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut waiting).poll(cx).is_pending())).await;
            assert!(pending);
        }
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        token.cancel();
        waiting.await;
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn it_calls_the_task_that_it_has_moved_to() {
        let token = CancellationToken::new();
        let mut waiting = WhenCalled::new(token.clone().cancelled_owned());
        assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let cancel = async {
            tokio::task::yield_now().await;
            token.cancel();
        };
        tokio::join!(waiting, cancel);
    }
}
