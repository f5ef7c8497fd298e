//! Where hyper's own tasks run.

use std::future::Future;

use hyper::rt::Executor;
use ops::spawn::Spawner;

/// Runs what hyper has to do on the worker where it comes up.
#[derive(Clone)]
pub(super) struct Here(pub(super) Spawner);

impl<F> Executor<F> for Here
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(self.0.here(), "service connection", future);
    }
}
