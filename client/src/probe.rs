//! Looks whether something listens where a tunnel leads. Nothing depends on it: it is for the person who forgot.

use std::time::Duration;

use proxy::service::dial;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::events::{Event, Events};
use crate::tunnel::{Tunnel, TunnelKind};

const LIMIT: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(1);

/// Says so if nothing listens where `tunnel` leads, and once more when something does; then, or when `stop` is cancelled,
/// it ends.
pub(crate) async fn probe(tunnel: Tunnel, events: Events, stop: CancellationToken) {
    let to = tunnel.to;
    let until_then = match tunnel.kind {
        TunnelKind::Http { .. } => "get 502",
        TunnelKind::Tcp { .. } => "are turned away",
    };
    let looking = async {
        if dial(&to.address, LIMIT).await.is_ok() {
            return;
        }
        events.tell(Event::Warning(format!(
            "nothing listens on {to} yet; visitors {until_then} until it does"
        )));
        while dial(&to.address, LIMIT).await.is_err() {
            sleep(INTERVAL).await;
        }
        events.tell(Event::Note(format!("{to} listens now")));
    };
    let _ = stop.run_until_cancelled(looking).await;
}

#[cfg(test)]
mod tests {
    use proxy::service::{Address, ServiceTarget, Speech};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_service_that_comes_later_is_told_of_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (events, mut watched) = Events::to_view();
        let tunnel = Tunnel {
            name: "t".to_owned(),
            kind: TunnelKind::Tcp { port: None },
            group: None,
            allow: Vec::new(),
            to: ServiceTarget { speech: Speech::Plain, address: Address::Unix(path.clone()) },
            plugins: Vec::new(),
        };
        let stop = CancellationToken::new();
        let watching = async {
            assert!(matches!(watched.events.recv().await, Some(Event::Warning(_))));
            let _listener = tokio::net::UnixListener::bind(&path).unwrap();
            assert!(matches!(watched.events.recv().await, Some(Event::Note(_))));
        };
        tokio::join!(probe(tunnel, events, stop), watching);
    }
}
