//! What is done by the clock.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::{MissedTickBehavior, interval, timeout_at};

use crate::identity::{ServerKey, Store};
use crate::registry::{Registry, SWEEP};

/// How often it is written down which credentials were used.
const KEEP_USED: Duration = Duration::from_secs(60);
/// How often it is looked up what another process has revoked.
const REVOCATIONS: Duration = Duration::from_millis(500);
/// How long what was known of it is good for.
const TRUST: Duration = Duration::from_secs(5);
/// How long the disk has at least to say it, also where this process stood still for longer than that is good.
const ANSWER: Duration = Duration::from_secs(1);
/// How often the certificate is looked at.
const CERTIFICATE: Duration = Duration::from_secs(24 * 3600);

/// Ends what has run out, for ever.
pub(crate) async fn sweep(registry: Arc<Registry>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.sweep(Instant::now(), SystemTime::now());
    }
}

/// Writes down which credentials were used, for ever.
pub(crate) async fn keep_used(identity: Arc<Store>) {
    let mut ticks = interval(KEEP_USED);
    loop {
        ticks.tick().await;
        let identity = identity.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || identity.keep_used()).await {
            tracing::warn!(%error, "the last use of credentials can not be kept");
        }
    }
}

/// For a process from which another one has taken over, until its end: ends the sessions whose credential the other one has
/// revoked. When it can not be known for [`TRUST`] whose that is, all of them end: who is revoked must not be in, and the others
/// have a session at the other process, or get one there at once.
pub(crate) async fn hear_of_revocations(registry: Arc<Registry>, identity: Arc<Store>) {
    let mut ticks = interval(REVOCATIONS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = tokio::time::Instant::now();
    loop {
        ticks.tick().await;
        let until = (heard + TRUST).max(tokio::time::Instant::now() + ANSWER);
        let identity = identity.clone();
        let reading = tokio::task::spawn_blocking(move || identity.reload());
        match timeout_at(until, reading).await {
            Ok(Ok(Ok(()))) => {
                heard = tokio::time::Instant::now();
                registry.dismiss_revoked();
                continue;
            }
            Ok(Ok(Err(error))) => tracing::warn!(%error, "what was revoked is not known here"),
            // It panics only by a fault of ours, which is logged.
            Ok(Err(_)) => {}
            Err(_) => tracing::warn!("the disk does not say what was revoked"),
        }
        if heard.elapsed() >= TRUST {
            let seconds = TRUST.as_secs();
            tracing::error!(
                "what was revoked is not known here for {seconds} s: all sessions of this process end; the other one goes on"
            );
            registry.dismiss_all();
            return;
        }
    }
}

/// Warns when the certificate ends soon, for ever. Clients that check it by its pin do not mind; those that check names do.
pub(crate) async fn watch_certificate(key: Arc<ServerKey>) {
    let mut ticks = interval(CERTIFICATE);
    loop {
        ticks.tick().await;
        if let Some(left) = key.ends_soon(SystemTime::now()) {
            let days = left.as_secs() / (24 * 3600);
            tracing::warn!(days, "tls.crt in the state directory ends soon; put a new one there and restart");
        }
    }
}
