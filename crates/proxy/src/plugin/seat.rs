//! A plugin in its place: with the name that rules call it by, its limits, and what is counted of it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use ops::log::withhold_panic_text;
use ops::metrics::{PluginFailure, PluginMetrics};
use tokio::time::timeout;

use super::{Call, Plugin, PluginError};
use crate::context::Context;

/// What becomes of a request when a plugin fails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes on as if the plugin were not there.
    Open,
    /// It is answered with an error.
    Closed,
}

/// A plugin in its place.
pub struct Seat {
    /// What rules call it.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: Arc<str>,
    /// What becomes of a request that it fails.
    pub on_failure: OnFailure,
    /// How long one call may take.
    pub limit: Duration,
    pub(super) plugin: Arc<dyn Plugin>,
    metrics: OnceLock<PluginMetrics>,
}

/// A call has failed; it is logged and counted.
#[derive(Debug)]
pub(super) struct Failed;

impl Seat {
    /// Puts `plugin` into its place.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        kind: Arc<str>,
        on_failure: OnFailure,
        limit: Duration,
        plugin: Arc<dyn Plugin>,
    ) -> Self {
        Self { name, kind, on_failure, limit, plugin, metrics: OnceLock::new() }
    }

    /// It will be called from now on. Does nothing the second time, and a plugin that panics here is one that fails.
    pub(super) fn start(&self, context: &Context) {
        let mut first = false;
        self.metrics.get_or_init(|| {
            first = true;
            context.metrics.plugin(&self.name)
        });
        if first {
            let started = catch_unwind(AssertUnwindSafe(|| {
                withhold_panic_text(|| self.plugin.start(context));
            }));
            if started.is_err() {
                self.failed("start", PluginFailure::Panic, "it panicked");
            }
        }
    }

    /// What a call comes to, in time and without its panics.
    pub(super) async fn call<'a, T>(
        &'a self,
        phase: &'static str,
        make: impl FnOnce(&'a dyn Plugin) -> Call<'a, T>,
    ) -> Result<T, Failed> {
        let call = self.begin(phase, || make(&*self.plugin))?;
        match call {
            Call::Now(result) => self.checked(phase, result),
            later @ Call::Later(_) => self.wait(phase, later).await,
        }
    }

    /// The call itself, without what it has to wait for.
    pub(super) fn begin<'a, T>(
        &self,
        phase: &'static str,
        make: impl FnOnce() -> Call<'a, T>,
    ) -> Result<Call<'a, T>, Failed> {
        catch_unwind(AssertUnwindSafe(|| withhold_panic_text(make)))
            .map_err(|_| self.failed(phase, PluginFailure::Panic, "it panicked"))
    }

    /// What a call comes to that has begun.
    pub(super) async fn wait<T>(&self, phase: &'static str, call: Call<'_, T>) -> Result<T, Failed> {
        let mut future = match call {
            Call::Now(result) => return self.checked(phase, result),
            Call::Later(future) => future,
        };
        // Around every single poll: between two of them the thread belongs to others.
        let polled = std::future::poll_fn(|cx| withhold_panic_text(|| future.poll_unpin(cx)));
        match timeout(self.limit, AssertUnwindSafe(polled).catch_unwind()).await {
            Ok(Ok(result)) => self.checked(phase, result),
            Ok(Err(_)) => Err(self.failed(phase, PluginFailure::Panic, "it panicked")),
            Err(_) => Err(self.failed(phase, PluginFailure::Timeout, "it took too long")),
        }
    }

    fn checked<T>(&self, phase: &'static str, result: Result<T, PluginError>) -> Result<T, Failed> {
        result.map_err(|error| self.failed(phase, PluginFailure::Error, &error.to_string()))
    }

    fn failed(&self, phase: &'static str, reason: PluginFailure, error: &str) -> Failed {
        if let Some(metrics) = self.metrics.get() {
            metrics.failure(reason);
        }
        let open = self.on_failure == OnFailure::Open;
        tracing::warn!(plugin = &*self.name, kind = &*self.kind, phase, error, open, "a plugin failed");
        Failed
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
