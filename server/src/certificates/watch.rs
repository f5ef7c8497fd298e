//! Looks at the files of the certificates, for ever.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ops::metrics::{Metrics, ReloadOutcome};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Certificates, Refreshed};
use crate::identity::NEAR;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often it is said that one ends soon.
const REMIND: Duration = Duration::from_secs(24 * 3600);

/// Takes changed files into use, and warns of certificates that end soon. `own` is the end of the server's own certificate,
/// which counts for the metric too.
pub(crate) async fn watch(certificates: Arc<Certificates>, own: SystemTime, metrics: Metrics) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut remind = Instant::now();
    loop {
        ticks.tick().await;
        let looked = certificates.clone();
        let refreshed = tokio::task::spawn_blocking(move || looked.refresh(SystemTime::now())).await;
        for refreshed in refreshed.unwrap_or_default() {
            match refreshed {
                Refreshed::Applied(files) => {
                    metrics.reload(ReloadOutcome::Applied);
                    tracing::info!(cert = %files.cert.display(), "a certificate was read again");
                }
                Refreshed::Kept(error) => {
                    metrics.reload(ReloadOutcome::Failed);
                    tracing::warn!(%error, "a certificate can not be used; the one before stays, if there is one");
                }
            }
        }
        let first = certificates.expires().map_or(own, |expires| expires.min(own));
        metrics.certificate_expires(first);
        if Instant::now() >= remind {
            remind = Instant::now().checked_add(REMIND).unwrap_or(remind);
            warn_of_ends(&certificates, SystemTime::now());
        }
    }
}

fn warn_of_ends(certificates: &Certificates, now: SystemTime) {
    let soon = now.checked_add(NEAR).unwrap_or(now);
    for (files, end) in certificates.ending_before(soon) {
        let days = end.duration_since(now).unwrap_or_default().as_secs() / (24 * 3600);
        tracing::warn!(cert = %files.cert.display(), days, "a certificate ends soon");
    }
}
