//! Waiting for a condition with a deadline: the only way a test waits.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a step that only needs the machine to get round to it may take. Generous: it is a bound on a
/// failure, not a measurement.
pub const SOON: Duration = Duration::from_secs(20);

/// What a busy machine may add to a span that is promised.
const BUSY: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_millis(10);

/// How long what is promised within `span` may take: tests in slow builds share few cores, and only the long forms hold a program to
/// its word.
#[must_use]
pub fn promised(span: Duration) -> Duration {
    if std::env::var_os("TUNNEL_FULL").is_some() { span } else { span + BUSY }
}

/// Asks `probe` until it answers, and says how long that took.
///
/// # Panics
///
/// When `limit` has passed: the message holds `what`.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> (T, Duration) {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        match tokio::time::timeout(left.max(EVERY), probe()).await {
            Ok(Some(answer)) => return (answer, began.elapsed()),
            Ok(None) if began.elapsed() < limit => tokio::time::sleep(EVERY).await,
            Ok(None) | Err(_) => panic!("waited {limit:?} in vain: {what}"),
        }
    }
}

/// Asks `probe` until its answer is `good`, and returns that answer.
///
/// # Panics
///
/// When `limit` has passed: the message holds `what` and the last answer.
pub async fn becomes<T: Debug>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> T,
    good: impl Fn(&T) -> bool,
) -> T {
    let began = Instant::now();
    loop {
        let answer = within(what, limit, probe()).await;
        if good(&answer) {
            return answer;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} in vain: {what}; at last it was {answer:#?}");
        tokio::time::sleep(EVERY).await;
    }
}

/// Asks `probe` for as long as `span` lasts: it must hold every time.
///
/// # Panics
///
/// The first time `probe` answers false.
pub async fn throughout(what: &str, span: Duration, mut probe: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while began.elapsed() < span {
        assert!(probe().await, "stopped being true after {:?}: {what}", began.elapsed());
        tokio::time::sleep(EVERY).await;
    }
}

/// Waits for `future`, at most `limit`.
///
/// # Panics
///
/// When `limit` has passed: the message holds `what`.
pub async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited {limit:?} in vain: {what}"),
    }
}
