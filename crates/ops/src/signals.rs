//! Signals of the operator (INTERFACE, "Logs and signals").

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::spawn::Spawner;

/// What SIGINT and SIGTERM ask for. A clone is the same request.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Take no new work, finish the old. Cancelled by the first signal.
    pub drain: CancellationToken,
    /// End at once. Cancelled by the second signal; `drain` is cancelled by then.
    pub now: CancellationToken,
}

impl Shutdown {
    /// A shutdown that signals ask for, from now on. The task that waits for them ends once `now`
    /// is cancelled, by whomever.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub async fn on_signals(spawner: &Spawner) -> io::Result<Self> {
        let shutdown = Self::default();
        let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let asked = shutdown.clone();
        let _detached = spawner.spawn(spawner.here(), "signals", async move {
            asked.follow(&mut signals.0, &mut signals.1).await;
        });
        Ok(shutdown)
    }

    /// Whether a signal has asked for the end.
    pub fn is_asked(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Asks for a drain, as the first signal does.
    pub fn ask(&self) {
        self.drain.cancel();
    }

    async fn follow(&self, interrupt: &mut Signal, terminate: &mut Signal) {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                () = self.now.cancelled() => return,
            };
            if self.drain.is_cancelled() {
                tracing::warn!("{name}: ending at once");
                self.now.cancel();
            } else {
                tracing::info!("{name}: draining; a second signal ends at once");
                self.drain.cancel();
            }
        }
    }
}

/// SIGUSR2: let another process of the program take over.
#[derive(Debug)]
pub struct Upgrades(Signal);

impl Upgrades {
    /// Takes over SIGUSR2, which would end the process. To be called within a runtime.
    ///
    /// # Errors
    /// The system refuses the signal handler.
    pub async fn listen() -> io::Result<Self> {
        signal(SignalKind::user_defined2()).map(Self)
    }

    /// Waits for the next SIGUSR2. Those that arrive while nobody waits count as one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // As with hangups.
            std::future::pending().await
        }
    }
}

/// SIGHUP: read the configuration again.
#[derive(Debug)]
pub struct Hangups(Signal);

impl Hangups {
    /// Takes over SIGHUP, which would end the process. To be called within a runtime.
    ///
    /// # Errors
    /// The system refuses the signal handler.
    pub async fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next SIGHUP. Those that arrive while nobody waits count as one.
    pub async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            // The runtime's signal driver is gone, so none can arrive.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;
    use crate::spawn::Placement;

    // Tests run one process each, so the signals reach nobody else.
    #[test]
    fn the_first_signal_drains_and_the_second_ends() {
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        workers.block_on(async {
            let mut hangups = Hangups::listen().await.unwrap();
            let shutdown = Shutdown::on_signals(&spawner).await.unwrap();
            kill_process(getpid(), Signal::HUP).unwrap();
            hangups.next().await;
            assert!(!shutdown.is_asked());
            kill_process(getpid(), Signal::TERM).unwrap();
            shutdown.drain.cancelled().await;
            assert!(!shutdown.now.is_cancelled());
            kill_process(getpid(), Signal::INT).unwrap();
            shutdown.now.cancelled().await;
            assert!(spawner.wait_idle(tokio::time::Instant::now() + Duration::from_secs(5)).await);
        });
    }
}
