//! What commands ask of the running `tunnelc` on its admin socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Json;
use axum::routing::{get, post};
use ops::admin::Said;
use ops::drain::{Drain, Drained};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::groups::GroupState;
use crate::reload::{Reloaded, Running};
use crate::sessions::{SlotState, Up};
use crate::tunnel::TunnelKind;
use crate::tunnels::Standing;

/// Where the status is.
pub(crate) const STATUS: &str = "/v1/status";

/// Where a reload is asked for.
pub(crate) const RELOAD: &str = "/v1/reload";

/// Where the end is asked for.
pub(crate) const DRAIN: &str = "/v1/drain";
/// How long its answer may take: after a while it says that the drain goes on.
pub(crate) const DRAIN_ANSWER: Duration = Duration::from_secs(30);
/// How long the answer waits for the end.
const DRAIN_WAIT: Duration = Duration::from_secs(20);

/// The pages of the admin socket.
pub(crate) fn router(running: Arc<Running>) -> Router {
    let (asked, drain) = (running.clone(), running.instance.drain().clone());
    Router::new()
        .route(DRAIN, post(async move |Said(asked): Said<Value>| Json(drained(&drain, &asked).await)))
        .route(STATUS, get(async move || Json(status(&running))))
        .route(RELOAD, post(async move || Json(reloaded(&asked.reload_for("tunnelc reload").await))))
}

/// Starts the drain or moves its deadline, and says how it went if that is known soon.
async fn drained(drain: &Drain, asked: &Value) -> Value {
    let deadline = asked["deadline_ms"].as_u64();
    let moved = deadline.filter(|_| drain.is_draining());
    drain.ask(deadline.map(Duration::from_millis));
    if moved.is_some() {
        let in_progress = drain.in_progress();
        return json!({ "state": "draining", "in_progress": in_progress, "cut": 0, "moved_to_ms": moved });
    }
    match timeout(DRAIN_WAIT, drain.ended()).await {
        Err(_) => json!({ "state": "draining", "in_progress": drain.in_progress(), "cut": 0 }),
        Ok(Drained::Clean) => json!({ "state": "drained", "in_progress": 0, "cut": 0 }),
        Ok(Drained::Cut(cut)) => json!({ "state": "drained", "in_progress": 0, "cut": cut }),
    }
}

fn reloaded(reloaded: &Reloaded) -> Value {
    match reloaded {
        Reloaded::Unchanged => json!({ "outcome": "unchanged" }),
        Reloaded::Applied(changes) => json!({ "outcome": "applied", "changes": changes }),
        Reloaded::Failed(error) => json!({ "outcome": "failed", "error": error }),
    }
}

/// All about the instance, without secrets. Durations are in milliseconds.
fn status(running: &Running) -> Value {
    let (instance, login) = (&running.instance, running.instance.login.load());
    let now = Instant::now();
    let sessions = instance.sessions.all();
    let sessions: Vec<_> =
        sessions.iter().enumerate().map(|(slot, state)| slot_status(slot, state, now)).collect();
    let tunnels: Vec<_> = instance
        .tunnels
        .standings()
        .into_iter()
        .map(|(tunnel, standing)| {
            let kind = match tunnel.kind {
                TunnelKind::Http { .. } => "http",
                TunnelKind::Tcp { .. } => "tcp",
            };
            let mut shown = json!({ "name": tunnel.name, "kind": kind, "to": tunnel.to.to_string() });
            let more = match standing {
                Standing::Waiting => json!({ "state": "waiting" }),
                Standing::Ready { url } => json!({ "state": "ready", "url": url }),
                Standing::Refused { code, text } => {
                    json!({ "state": "refused", "code": code.name(), "reason": text.as_str() })
                }
            };
            merge(&mut shown, more);
            shown
        })
        .collect();
    json!({
        "name": login.name,
        "version": crate::VERSION,
        "client": instance.client.to_string(),
        "instance": instance.id.to_string(),
        "credential": login.credential.as_str(),
        "state": if instance.drain().is_draining() { "draining" } else { "running" },
        "uptime_ms": millis(now, instance.started),
        "sessions": sessions,
        "tunnels": tunnels,
        "config_pending": running.pending(),
        "groups": instance.groups.states().iter().map(group_status).collect::<Vec<_>>(),
    })
}

fn group_status(group: &GroupState) -> Value {
    let GroupState { group, revision, services, listens, refused } = group;
    let listens: Vec<_> = listens.iter().map(ToString::to_string).collect();
    let state = if refused.is_some() { "behind" } else { "ready" };
    let mut shown = json!({
        "name": group, "state": state, "revision": revision, "services": services, "listens": listens,
    });
    if let Some((revision, reason)) = refused {
        merge(&mut shown, json!({ "refused_revision": revision, "reason": reason.as_str() }));
    }
    shown
}

fn slot_status(slot: usize, state: &SlotState, now: Instant) -> Value {
    let mut shown = json!({ "slot": slot });
    let more = match state {
        SlotState::Dialling(server) => json!({ "state": "connecting", "server": server.to_string() }),
        SlotState::Up(Up { server, session, since, rtt, .. }) => json!({
            "state": "connected",
            "server": server.to_string(),
            "session": session.0,
            "since_ms": millis(now, *since),
            "rtt_ms": rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
        }),
        SlotState::Waiting { reason, until } => {
            json!({ "state": "waiting", "reason": reason, "retry_in_ms": millis(*until, now) })
        }
        SlotState::Over => json!({ "state": "over" }),
    };
    merge(&mut shown, more);
    shown
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn millis(later: Instant, earlier: Instant) -> u64 {
    u64::try_from(later.saturating_duration_since(earlier).as_millis()).unwrap_or(u64::MAX)
}
