//! Large buffers that are held only while there are bytes in them: an idle session or relay holds none.

use std::cell::RefCell;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Size of a pooled buffer, bytes: four full TLS records.
pub(crate) const BUFFER_SIZE: usize = 64 * 1024;

/// Buffers that a worker keeps for the next taker.
const KEPT: usize = 16;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// [`BUFFER_SIZE`] bytes, given back to the pool of the current thread when dropped.
pub(crate) struct PooledBuffer(Box<[u8]>);

impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PooledBuffer")
    }
}

impl PooledBuffer {
    pub(crate) fn take() -> Self {
        let kept = POOL.with_borrow_mut(Vec::pop);
        Self(kept.unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice()))
    }
}

impl Deref for PooledBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        // While its thread ends, the pool may be gone already.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}

/// A pooled buffer with a range of bytes in it that still have to go somewhere.
#[derive(Debug)]
pub(crate) struct Filled {
    buffer: PooledBuffer,
    start: usize,
    end: usize,
}

impl Filled {
    /// Takes a buffer and fills its front with `fill`, which returns how many bytes it wrote; `None` if it wrote none.
    pub(crate) fn with<E>(fill: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<Option<Self>, E> {
        let mut buffer = PooledBuffer::take();
        let end = fill(&mut buffer)?.min(BUFFER_SIZE);
        Ok((end > 0).then_some(Self { buffer, start: 0, end }))
    }

    /// An empty buffer to append to.
    pub(crate) fn empty() -> Self {
        Self { buffer: PooledBuffer::take(), start: 0, end: 0 }
    }

    /// What is left.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The first `n` bytes have gone.
    pub(crate) fn advance(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Appends what fits behind the bytes in the buffer, and says how much that was.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> usize {
        let Some(room) = self.buffer.get_mut(self.end..) else {
            return 0;
        };
        let n = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..n), bytes.get(..n)) {
            to.copy_from_slice(from);
        }
        self.end = self.end.saturating_add(n);
        n
    }
}
