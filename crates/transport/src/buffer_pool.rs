//! Large buffers that are held only while there are bytes in them: an idle session or relay holds none.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use protocol::mux::FRAME_MAX;
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// Size of a pooled buffer, bytes: four full TLS records.
pub(crate) const BUFFER_SIZE: usize = 64 * 1024;

/// Buffers that a worker keeps for the next taker.
const KEPT: usize = 16;

/// What is read at once: four full frames, so that no small one follows them.
const PIECE: usize = 4 * FRAME_MAX;

/// Pieces below this length are copied out of the buffer that they were read into, so that a piece never keeps a buffer
/// alive that is more than twice its size.
const COPIED_BELOW: usize = BUFFER_SIZE / 2;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    /// Buffers of which pieces may still be on their way.
    static SHARED: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Reads up to [`PIECE`] bytes; none is the end. Call it when there is something to read: the buffer is one that
/// earlier pieces have left, where there is such.
pub(crate) fn poll_read_piece<R: AsyncRead>(
    io: Pin<&mut R>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    let mut buffer = take_shared();
    let read = poll_read_buf(io, cx, &mut (&mut buffer).limit(PIECE));
    let piece = match read {
        Poll::Ready(Ok(n)) if n >= COPIED_BELOW => buffer.split().freeze(),
        Poll::Ready(Ok(_)) => Bytes::copy_from_slice(&buffer),
        Poll::Ready(Err(_)) | Poll::Pending => Bytes::new(),
    };
    buffer.clear();
    keep_shared(buffer);
    ready!(read)?;
    Poll::Ready(Ok(piece))
}

fn take_shared() -> BytesMut {
    let kept = SHARED.with_borrow_mut(|kept| {
        let free = kept.iter_mut().position(|buffer| buffer.try_reclaim(BUFFER_SIZE))?;
        Some(kept.swap_remove(free))
    });
    kept.unwrap_or_else(|| BytesMut::with_capacity(BUFFER_SIZE))
}

fn keep_shared(buffer: BytesMut) {
    SHARED.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    });
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
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_piece_keeps_no_buffer_of_more_than_twice_its_size() {
        for size in [1, 1000, 8192, 32_767, 32_768, PIECE] {
            let source = vec![7; size];
            let mut source = &source[..];
            let piece = poll_fn(|cx| poll_read_piece(Pin::new(&mut source), cx)).await.unwrap();
            assert_eq!(piece.len(), size);
            let buffer = piece.try_into_mut().map_or(BUFFER_SIZE, |buffer| buffer.capacity());
            assert!(buffer <= 2 * size, "{size} bytes in {buffer}");
        }
    }
}
