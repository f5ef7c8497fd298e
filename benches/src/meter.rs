//! What a load did in a span of time, and what the two programs used for it.

use std::time::{Duration, Instant};

use tests::program::Program;

/// How long a load runs before it is measured: windows open and buffers grow first.
const WARM_UP: Duration = Duration::from_millis(300);

/// What was measured in one span.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// How long it was.
    pub elapsed: Duration,
    /// Units of work done in it: bytes or requests.
    pub done: u64,
    /// Processor time of both programs in it, user and system.
    pub cpu: Duration,
    /// The most memory the server has had resident so far, in bytes.
    pub server_memory: u64,
    /// The most memory the client has had resident so far, in bytes.
    pub client_memory: u64,
}

impl Span {
    /// Measures for `span` while a load is running; `done` reads its counter.
    pub async fn measure(server: &Program, client: &Program, span: Duration, done: impl Fn() -> u64) -> Self {
        tokio::time::sleep(WARM_UP).await;
        let cpu = || server.cpu() + client.cpu();
        let (began, done_before, cpu_before) = (Instant::now(), done(), cpu());
        tokio::time::sleep(span).await;
        Self {
            done: done() - done_before,
            cpu: cpu() - cpu_before,
            elapsed: began.elapsed(),
            server_memory: server.peak_memory(),
            client_memory: client.peak_memory(),
        }
    }

    /// Units of work per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// Seconds of processor time per unit of work.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.done.max(1) as f64)
    }
}
