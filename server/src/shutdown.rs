//! The end of the server.

use std::time::Duration;

use ops::drain::{Drain, Drained};
use protocol::control::CloseReason;
use tokio::time::timeout;

use crate::registry::Registry;
use crate::session::DrainCause;

/// How long sessions may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(800);

/// The end: clients are told, work in progress finishes or is cut after `patience`, and every session hears goodbye.
pub(crate) async fn finish(registry: &Registry, drain: &Drain, patience: Duration) {
    for live in registry.sessions() {
        live.drain(patience, DrainCause::Shutdown);
    }
    match drain.finish(patience).await {
        Drained::Clean => tracing::info!("all work is finished"),
        Drained::Cut(left) => tracing::warn!(left, "work in progress was cut"),
    }
    for live in registry.sessions() {
        live.cut(CloseReason::SHUTDOWN, "the server stops");
    }
    let mut changes = registry.names().changes();
    let gone = async { while !registry.sessions().is_empty() && changes.changed().await.is_ok() {} };
    if timeout(FAREWELL, gone).await.is_err() {
        tracing::warn!("some clients could not be told");
    }
}
