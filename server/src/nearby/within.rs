//! A session whose two ends are in this process, on one worker.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use ops::metrics::Metrics;
use ops::spawn::Worker;
use protocol::handshake::PeerLimits;
use proxy::access::{AccessLine, RequestSink};
use proxy::context::Context;
use proxy::responder;
use proxy::service::ServiceTable;
use tokio::io::{DuplexStream, duplex};
use tokio_util::sync::CancellationToken;
use transport::session::{Liveness, ProcessBudget, Role, Session, SessionConfig, start};

/// Bytes on their way from one end to the other.
const PIPE: usize = 256 * 1024;

/// Opens substreams that come out at the services of a table. A session that ends, by a defect, is followed by another.
#[derive(Debug)]
pub(super) struct Within {
    session: ArcSwapOption<Session>,
    up: CancellationToken,
}

impl Within {
    /// Starts on the worker of that number.
    pub(super) fn start(
        worker: usize,
        table: &Arc<ServiceTable>,
        context: &Context,
        budget: &Arc<ProcessBudget>,
    ) -> Arc<Self> {
        let within = Arc::new(Self { session: ArcSwapOption::empty(), up: CancellationToken::new() });
        let (kept, table, context, budget) = (within.clone(), table.clone(), context.clone(), budget.clone());
        let (spawner, now) = (context.spawner.clone(), context.drain.now.clone());
        spawner.spawn(Worker(worker), "session within", async move {
            while !now.is_cancelled() {
                let session = connect(Worker(worker), &table, &context, &budget);
                kept.session.store(Some(Arc::new(session.clone())));
                kept.up.cancel();
                tokio::select! {
                    () = now.cancelled() => session.close(),
                    end = session.closed() => tracing::error!(%end, "a session within the server ended"),
                }
            }
        });
        within
    }

    /// Waits until it is up for the first time.
    pub(super) async fn up(&self) {
        self.up.cancelled().await;
    }

    /// The session, if it is up.
    pub(super) fn session(&self) -> Option<Session> {
        self.session
            .load()
            .as_ref()
            .map(|session| Session::clone(session))
            .filter(|session| !session.is_closed())
    }
}

fn connect(
    worker: Worker,
    table: &Arc<ServiceTable>,
    context: &Context,
    budget: &Arc<ProcessBudget>,
) -> Session {
    let (ours, theirs): (DuplexStream, DuplexStream) = duplex(PIPE);
    let config = |role| SessionConfig {
        role,
        peer: PeerLimits::OURS,
        liveness: Arc::new(Liveness::new()),
        // Nobody is lost on this way.
        dead_after: Duration::MAX,
        early: Bytes::new(),
        budget: budget.clone(),
    };
    let (session, _) = start(ours, config(Role::Server), &context.spawner, worker);
    let (_, inbound) = start(theirs, config(Role::Client), &context.spawner, worker);
    // The ingress tells of every request and counts it: the end that dials would do so once more.
    let unheard = Context { sink: Arc::new(Unheard), metrics: Metrics::new("within"), ..context.clone() };
    let serving = responder::serve(inbound, worker, table.clone(), unheard);
    context.spawner.spawn(worker, "responder", serving);
    session
}

/// Hears of nothing.
struct Unheard;

impl RequestSink for Unheard {
    fn request(&self, _: &AccessLine) {}
}
