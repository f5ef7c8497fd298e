//! Looks whether something listens where a tunnel leads. Nothing depends on it: it is for the person who forgot.

use std::time::Duration;

use proxy::service::{Address, dial};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::events::{Event, Events};

const LIMIT: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(1);

/// Says so if nothing listens at `to`, and once more when something does; then, or when `stop` is cancelled, it ends.
pub(crate) async fn probe(to: Address, events: Events, stop: CancellationToken) {
    let looking = async {
        if dial(&to, LIMIT).await.is_ok() {
            return;
        }
        events.tell(Event::Warning(format!("nothing listens on {to} yet; visitors get 502 until it does")));
        while dial(&to, LIMIT).await.is_err() {
            sleep(INTERVAL).await;
        }
        events.tell(Event::Note(format!("{to} listens now")));
    };
    let _ = stop.run_until_cancelled(looking).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_service_that_comes_later_is_told_of_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (events, mut watched) = Events::to_view();
        let to = Address::Unix(path.clone());
        let stop = CancellationToken::new();
        let watching = async {
            assert!(matches!(watched.events.recv().await, Some(Event::Warning(_))));
            let _listener = tokio::net::UnixListener::bind(&path).unwrap();
            assert!(matches!(watched.events.recv().await, Some(Event::Note(_))));
        };
        tokio::join!(probe(to, events, stop), watching);
    }
}
