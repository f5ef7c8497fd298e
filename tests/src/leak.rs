//! What must be back where it was when a fault is over: nothing leaks, nothing panicked, nothing secret was logged.

use std::time::Duration;

use tokio::time::timeout;

use crate::program::Program;
use crate::tunnelc::SESSIONS;
use crate::tunneld::Tunneld;
use crate::wait::{SOON, until};

/// How much more memory may stay resident than before, in bytes.
const MEMORY: u64 = 32 << 20;
/// How many more descriptors, tasks, substreams and sessions are none.
const FEW: f64 = 2.0;
/// How long everything may take to be back.
const LIMIT: Duration = Duration::from_secs(60);
const GAUGES: [&str; 3] = ["tunnel_tasks_alive", "tunnel_substreams_open", "tunnel_sessions"];

/// What two programs held before the fault.
#[derive(Debug)]
pub struct Baseline(Held);

#[derive(Debug)]
struct Held {
    /// Descriptors of both, and gauges of the server.
    counts: Vec<f64>,
    /// Resident bytes of both.
    memory: [u64; 2],
}

impl Held {
    async fn by(server: &Tunneld, client: &Program) -> Self {
        let mut counts = vec![server.program.descriptors() as f64, client.descriptors() as f64];
        for name in GAUGES {
            counts.push(server.metric(name).await);
        }
        Self { counts, memory: [server.program.memory(), client.memory()] }
    }

    fn exceeds(&self, before: &Self) -> bool {
        let more = self.counts.iter().zip(&before.counts).any(|(now, then)| *now > then + FEW);
        more || self.memory.iter().zip(&before.memory).any(|(now, then)| *now > then + MEMORY)
    }
}

impl Baseline {
    /// Of two programs that have served something, once the client has its sessions: the second one may come when the first has
    /// served already.
    pub async fn of(server: &Tunneld, client: &Program) -> Self {
        until("all sessions", SOON, async || (server.sessions().await >= SESSIONS).then_some(())).await;
        Self(Held::by(server, client).await)
    }

    /// The leak check. The service must have ended: a client keeps connections to it for the next request.
    ///
    /// # Panics
    ///
    /// When something is not back within a minute, or a log holds what it must not.
    pub async fn holds(&self, server: &Tunneld, client: &Program) {
        let mut last = None;
        let back = async || {
            let now = Held::by(server, client).await;
            let back = !now.exceeds(&self.0);
            last = Some(now);
            back.then_some(())
        };
        let in_time = timeout(LIMIT, until("nothing is left behind", 2 * LIMIT, back)).await.is_ok();
        assert!(in_time, "{:?} have become {last:?}", self.0);
        let join = server.join();
        let secret = join.split_once('@').and_then(|(login, _)| login.rsplit_once(':')).unwrap().1;
        for log in [server.program.stderr().join("\n"), client.stderr().join("\n")] {
            assert!(!log.contains("panicked"), "{log}");
            assert!(!log.contains(secret), "a log holds the secret");
        }
    }
}
