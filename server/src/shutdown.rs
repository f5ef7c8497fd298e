//! The end of the server.

use std::time::Duration;

use ops::drain::{Drain, Drained};
use ops::systemd::{self, News};
use protocol::control::CloseReason;
use tokio::time::{sleep, timeout};

use crate::registry::Registry;
use crate::session::DrainCause;

/// How long sessions may take to say goodbye.
const FAREWELL: Duration = Duration::from_millis(800);

/// How much longer than its deadline the end may take, as the service manager hears.
const SLACK: Duration = Duration::from_secs(10);

/// How long connections of visitors without a request are kept when another process has taken over: a request may be on its
/// way, and one that finds its connection closed is lost.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// The end: clients are told, work in progress finishes or is cut after `patience`, or when the operator says so, and every
/// session hears goodbye.
pub(crate) async fn finish(registry: &Registry, drain: &Drain, patience: Duration) {
    let mut moves = drain.moves();
    let tell = || {
        if !drain.lingers() {
            // Of one that another one goes on for the service manager hears nothing.
            systemd::tell(News::Stopping(drain.patience(patience).saturating_add(SLACK)));
        }
        for live in registry.sessions() {
            live.drain(drain.patience(patience), DrainCause::Shutdown);
        }
    };
    tell();
    let end = async {
        let mut rest = patience;
        if drain.lingers() {
            // Those that were taken in a moment ago count only once it is known what they want.
            drain.now.run_until_cancelled(sleep(LINGER.min(patience))).await;
            rest = patience.saturating_sub(LINGER);
        }
        drain.finish(rest).await
    };
    let follow = async {
        while moves.changed().await.is_ok() {
            tell();
        }
    };
    let ended = tokio::select! {
        ended = end => ended,
        // Nobody moves it any more.
        () = follow => drain.finish(patience).await,
    };
    match ended {
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
