//! The ops listener of a client: health, readiness, metrics.

use std::sync::Arc;

use axum::Router;
use ops::ops_listener::{self, Readiness};
use serde_json::{Value, json};

use crate::instance::Instance;
use crate::sessions::SlotState;

/// The pages of the ops listener.
pub(crate) fn router(instance: Arc<Instance>) -> Router {
    let metrics = instance.context.metrics.clone();
    let healthy = instance.clone();
    ops_listener::router(metrics, move || health(&healthy), move || readiness(&instance))
}

fn health(instance: &Instance) -> Value {
    json!({
        "status": "healthy",
        "sessions": instance.sessions.up(),
        "uptime": instance.started.elapsed().as_secs(),
        "version": crate::VERSION,
    })
}

/// Ready with a session, and not while draining.
fn readiness(instance: &Instance) -> Readiness {
    if instance.drain().is_draining() {
        return Readiness::NotReady(vec!["draining".to_owned()]);
    }
    if instance.sessions.up() > 0 {
        return Readiness::Ready;
    }
    let reasons = instance.sessions.all().into_iter().map(|state| match state {
        SlotState::Dialling(server) => format!("connecting to {server}"),
        SlotState::Waiting { reason, .. } => reason,
        SlotState::Up(_) | SlotState::Over => "no session".to_owned(),
    });
    let mut reasons: Vec<_> = reasons.collect();
    reasons.dedup();
    Readiness::NotReady(reasons)
}
