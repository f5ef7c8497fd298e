//! A writer that loses what it cannot write.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Passes lines on and counts those that fail: whoever logs cannot do anything about it.
#[derive(Debug)]
pub(super) struct Lossy<W> {
    inner: W,
    lost: Arc<AtomicU64>,
}

impl<W> Lossy<W> {
    pub(super) fn new(inner: W, lost: Arc<AtomicU64>) -> Self {
        Self { inner, lost }
    }
}

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.inner.write_all(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is buffered here, so a failed flush loses no line that is not counted.
        let _ = self.inner.flush();
        Ok(())
    }
}
