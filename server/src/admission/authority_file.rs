//! Looks at the file of the CA of clients, for ever: an authority changes by having two in it for a while.

use std::sync::Arc;
use std::time::Duration;

use ops::metrics::ReloadOutcome;
use tokio::time::{MissedTickBehavior, interval};

use super::Door;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Takes a changed file into use; one that can not be used is told, and what was before stays.
pub async fn watch(door: Arc<Door>) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looked = door.clone();
        match tokio::task::spawn_blocking(move || looked.look_again()).await.ok().flatten() {
            None => {}
            Some(Ok(())) => {
                door.metrics.reload(ReloadOutcome::Applied);
                tracing::info!("the CA of clients was read again");
            }
            Some(Err(error)) => {
                door.metrics.reload(ReloadOutcome::Failed);
                tracing::warn!(%error, "the CA of clients can not be used; the one before stays, if there is one");
            }
        }
    }
}
