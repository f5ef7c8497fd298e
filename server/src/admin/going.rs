//! The end of the server, and its going on as another process: what is asked, and what is answered.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use ops::admin::Problem;
use ops::drain::Drained as Ended;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Admin;
use super::handlers::{Answer, failed, wrong};
use crate::upgrade::{Upgrade, UpgradeError};

/// How long the answer to a drain waits for its end.
const DRAIN_WAIT: Duration = Duration::from_secs(20);

/// The longest deadline of a drain: seven days. Clocks do not go as far as a number of seconds does.
const DEADLINE_MAX: u64 = 7 * 24 * 3600;

/// How long the answer to a drain may take: the server says after a while that it goes on.
pub const DRAIN_ANSWER: Duration = Duration::from_secs(30);
/// How long the answer to an upgrade may take: more than all its steps. With thousands of clients they take their time.
pub const UPGRADE_ANSWER: Duration = Duration::from_secs(5 * 60);
/// How long it takes at most until an upgrade has given way, or has not.
const GIVES_WAY: Duration = Duration::from_secs(15);
/// [`Drained::state`] while it goes on.
pub const DRAINING: &str = "draining";
/// [`Drained::state`] when it has ended.
pub const DRAINED: &str = "drained";

/// Body of `POST /v1/drain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// What is left after it is cut, seven days at most; without it `timeouts.drain` counts.
    #[serde(default)]
    pub deadline_seconds: Option<u64>,
}

/// Answer of `POST /v1/drain`, after 20 s at the latest; at once if it moves the deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// `draining` or `drained`.
    pub state: String,
    /// Requests and connections that are still there.
    pub in_progress: usize,
    /// Requests and connections that were cut.
    pub cut: usize,
    /// It was draining before, and what is left is cut after so many seconds now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to_seconds: Option<u64>,
}

/// Answer of `POST /v1/upgrade`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The number of the process that has taken over.
    pub process: u32,
    /// Clients that had a session with the old one.
    pub clients: usize,
    /// Those of them that were at the new one before the first visitor.
    pub moved: usize,
}

/// Starts the drain or moves its deadline, and says how it went if that is known soon.
pub(super) async fn drain(State(admin): State<Arc<Admin>>, Json(asked): Json<Drain>) -> Answer<Drained> {
    if asked.deadline_seconds.is_some_and(|seconds| seconds > DEADLINE_MAX) {
        return Err(wrong("a drain may take 7 days at most; nothing was begun"));
    }
    let moved_to_seconds = asked.deadline_seconds.filter(|_| admin.drain.is_draining());
    tracing::info!(
        deadline = asked.deadline_seconds,
        moved = moved_to_seconds.is_some(),
        "drain: the operator asks for it"
    );
    admin.drain.ask(asked.deadline_seconds.map(Duration::from_secs));
    if moved_to_seconds.is_some() {
        let (state, in_progress) = (DRAINING.to_owned(), admin.drain.in_progress());
        return Ok(Json(Drained { state, in_progress, cut: 0, moved_to_seconds }));
    }
    let (state, in_progress, cut) = match timeout(DRAIN_WAIT, admin.drain.ended()).await {
        Err(_) => (DRAINING, admin.drain.in_progress(), 0),
        Ok(Ended::Clean) => (DRAINED, 0, 0),
        Ok(Ended::Cut(cut)) => (DRAINED, 0, cut),
    };
    Ok(Json(Drained { state: state.to_owned(), in_progress, cut, moved_to_seconds: None }))
}

pub(super) async fn upgrade(State(admin): State<Arc<Admin>>) -> Result<Json<Upgraded>, Problem> {
    if admin.drain.is_draining() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "draining",
            "the server is draining: start a new one",
        ));
    }
    let (answer, answered) = oneshot::channel();
    if admin.upgrade.try_send(answer).is_err() {
        return Err(under_way("another upgrade or the end of the server is under way"));
    }
    match answered.await {
        Ok(Ok(Upgrade { process, moved: (moved, clients) })) => {
            Ok(Json(Upgraded { process, clients, moved }))
        }
        Ok(Err(reason @ UpgradeError::UnderWay)) => Err(under_way(reason)),
        Ok(Err(reason @ UpgradeError::Stopping)) => Err(failed(reason.to_string())),
        Ok(Err(reason)) => Err(failed(format!("no upgrade, the old process goes on: {reason}"))),
        Err(_) => Err(failed(UpgradeError::Stopping.to_string())),
    }
}

/// Ends an upgrade that is under way and can still be undone: what shuts somebody out does not wait for thousands of clients
/// to move.
pub(super) async fn give_way(admin: &Admin) {
    let (over, is_over) = oneshot::channel();
    // If nobody hears it the server is about to end, or another process has taken over, whose business it is then.
    if admin.hurry.send(over).await.is_ok() {
        // Whether it is said or dropped.
        drop(timeout(GIVES_WAY, is_over).await);
    }
}

fn under_way(text: impl ToString) -> Problem {
    Problem::new(StatusCode::CONFLICT, "upgrading", text.to_string())
}
