//! What it is to be stuck: nobody has anything to do, and somebody still waits. Where the clock stands still until then, a
//! timeout shows exactly that, and at once.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::time::timeout;

const FOR_EVER: Duration = Duration::from_secs(3600);

/// Runs a test beside what drives its peers, which may end first.
pub(super) async fn beside<D: Debug>(driver: impl Future<Output = D>, test: impl Future<Output = ()>) {
    let test = timeout(FOR_EVER, test);
    match select(pin!(driver), pin!(test)).await {
        Either::Left((_, test)) => test.await.expect("nothing more happens"),
        Either::Right((ended, _)) => ended.expect("nothing more happens"),
    }
}

/// Whether `future` never ends. The clock must be paused, and nothing but time and memory be waited for.
pub(super) async fn is_stuck<F: Future>(future: F) -> bool {
    timeout(FOR_EVER / 60, future).await.is_err()
}

/// A waker that notes that it was called.
#[derive(Default)]
pub(super) struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Bell {
    pub(super) fn rang(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
