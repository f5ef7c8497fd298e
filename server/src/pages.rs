//! What the ops listener shows.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use ops::drain::Drain;
use ops::metrics::Metrics;
use ops::ops_listener::{Readiness, router};
use serde_json::json;

use crate::admin::VERSION;
use crate::registry::Registry;
use crate::revision::Board;

/// `/healthz`, `/readyz` and `/metrics` of this server.
pub(crate) fn pages(
    registry: &Arc<Registry>,
    board: &Arc<Board>,
    metrics: Metrics,
    started: Instant,
    drain: &Drain,
) -> Router {
    let (registry, board) = (registry.clone(), board.clone());
    let (health, ready) = (drain.clone(), drain.clone());
    let health = move || {
        json!({
            "status": if health.is_draining() { "draining" } else { "healthy" },
            "clients": registry.clients(),
            "sessions": registry.sessions().len(),
            "uptime": started.elapsed().as_secs(),
            "version": VERSION,
            "revision": board.number(),
        })
    };
    let readiness = move || match ready.is_draining() {
        true => Readiness::NotReady(vec!["the server is draining".to_owned()]),
        false => Readiness::Ready,
    };
    router(metrics, health, readiness)
}
