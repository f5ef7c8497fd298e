//! A writer that gathers lines, and loses what it cannot write.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Bytes that are gathered at most.
const GATHERED: usize = 64 * 1024;
/// How long the writing thread rests once it has written all there was. What comes meanwhile is written together, and who
/// logs it need not wake the thread.
const REST: Duration = Duration::from_millis(20);

/// Passes lines on and counts those that fail: whoever logs cannot do anything about it.
#[derive(Debug)]
pub(super) struct Lossy<W> {
    inner: W,
    gathered: Vec<u8>,
    /// Lines in `gathered`.
    lines: u64,
    lost: Arc<AtomicU64>,
}

impl<W: Write> Lossy<W> {
    pub(super) fn new(inner: W, lost: Arc<AtomicU64>) -> Self {
        Self { inner, gathered: Vec::new(), lines: 0, lost }
    }

    fn write_out(&mut self) {
        if self.inner.write_all(&self.gathered).and_then(|()| self.inner.flush()).is_err() {
            self.lost.fetch_add(self.lines, Ordering::Relaxed);
        }
        self.gathered.clear();
        self.lines = 0;
    }
}

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(line);
        self.lines = self.lines.saturating_add(1);
        if self.gathered.len() >= GATHERED {
            self.write_out();
        }
        Ok(line.len())
    }

    /// Called when no more lines wait.
    fn flush(&mut self) -> io::Result<()> {
        if self.lines > 0 {
            self.write_out();
            thread::sleep(REST);
        }
        Ok(())
    }
}
