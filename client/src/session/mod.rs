//! One session: what the server opens on it is served, what it says on the control substream is answered.

mod control;
mod reports;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use control::Talk;
use ops::metrics::ReplacedReason;
use ops::spawn::Task;
use protocol::control::CloseReason;
use protocol::id::{SessionId, Slot};
use protocol::text::Text;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use transport::handshake::LoggedIn;
use transport::session::{Session, SessionEnd};

use crate::instance::Instance;

/// A session that is up.
#[derive(Debug)]
pub(crate) struct Live {
    /// As the server counts it.
    pub(crate) id: SessionId,
    /// Opens substreams.
    pub(crate) link: Session,
    /// Told once, if the server drains the session: it wants a replacement.
    pub(crate) draining: oneshot::Receiver<()>,
    /// Cancelled when it is to take no new work: it ends once what is in progress has.
    pub(crate) retire: CancellationToken,
    /// How it ended.
    pub(crate) task: Task<Over>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Over {
    /// The link or the server's program died.
    #[error("{0}")]
    Lost(SessionEnd),
    /// The server ended it and said why.
    #[error("the server ended the session: {}{}", reason.name().unwrap_or("unknown reason"), after_colon(text))]
    Closed {
        /// Why.
        reason: CloseReason,
        /// For a person.
        text: Text,
    },
    /// The server did something that it must not, or not in time.
    #[error("the server broke the protocol: {0}")]
    Broken(String),
    /// The server had announced it, and a replacement was asked for.
    #[error("the server drained the session")]
    Drained,
    /// This program ends.
    #[error("this program ends")]
    Stopped,
}

impl Over {
    /// Which death the session died, if it was not ended by either side's word.
    pub(crate) fn death(&self) -> Option<ReplacedReason> {
        match self {
            Self::Lost(SessionEnd::Silent) => Some(ReplacedReason::Silent),
            Self::Lost(_) => Some(ReplacedReason::Lost),
            Self::Closed { .. } | Self::Broken(_) | Self::Drained | Self::Stopped => None,
        }
    }
}

fn after_colon(text: &Text) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// Runs the session until it is over: registers the tunnels, serves what the server opens, answers the server.
pub(crate) fn start(logged_in: LoggedIn, slot: Slot, instance: Arc<Instance>) -> Live {
    let LoggedIn { session, inbound, welcome } = logged_in;
    let (context, services) = (instance.context.clone(), instance.services.clone());
    let spawner = context.spawner.clone();
    let worker = session.worker();
    spawner.spawn(worker, "responder", proxy::responder::serve(inbound, worker, services, context));
    let (drain, draining) = oneshot::channel();
    let retire = CancellationToken::new();
    let retiring = retire.clone();
    let (id, link) = (welcome.session, session.clone());
    let task = spawner.spawn(worker, "control substream", async move {
        let _counted = instance.context.metrics.session();
        let over = match Talk::begin(session.clone(), id, slot, instance, drain, retiring).await {
            Ok(mut talk) => talk.run().await,
            Err(over) => over,
        };
        session.close();
        over
    });
    Live { id, link, draining, retire, task }
}
