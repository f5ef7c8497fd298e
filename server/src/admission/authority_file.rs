//! Looks at the files of the CA of clients, for ever: an authority changes by having two in its file for a while, and revokes by a
//! new list.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ops::metrics::ReloadOutcome;
use tokio::time::{MissedTickBehavior, interval};

use super::Door;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Takes changed files into use; one that can not be used is told, and what was before stays. So is a list whose time is over.
pub async fn watch(door: Arc<Door>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut overdue = HashSet::new();
    loop {
        ticks.tick().await;
        let looked = door.clone();
        match tokio::task::spawn_blocking(move || looked.look_again()).await.ok().flatten() {
            None => {}
            Some(Ok(ended)) => {
                door.metrics.reload(ReloadOutcome::Applied);
                tracing::info!(sessions_ended = ended, "the CA of clients was read again");
            }
            Some(Err(error)) => {
                door.metrics.reload(ReloadOutcome::Failed);
                tracing::warn!(%error, "the CA of clients can not be used; the one before stays, if there is one");
            }
        }
        overdue = tell_overdue(&door, &overdue);
    }
}

/// Each list once, for as long as it is the same.
fn tell_overdue(door: &Door, told: &HashSet<(PathBuf, SystemTime)>) -> HashSet<(PathBuf, SystemTime)> {
    let now = SystemTime::now();
    let overdue: HashSet<_> = door.overdue(now).into_iter().collect();
    for (file, since) in overdue.difference(told) {
        let hours = now.duration_since(*since).unwrap_or_default().as_secs() / 3600;
        tracing::warn!(
            client_crl = %file.display(),
            hours,
            "a list of revoked certificates is out of date: what it names stays out, and what its CA has revoked since comes in; \
             put the CA's new list there"
        );
    }
    overdue
}
