//! What goes to the link in one write: headers and payloads, ready for a vectored write.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::Header;

/// Payloads below this length are copied behind their header: one slice for many small frames.
pub(super) const INLINE_BELOW: usize = 1024;
/// Room for headers and small payloads that is set aside at once, bytes.
const SCRATCH: usize = 8 * 1024;

/// Bytes of whole frames, in the order in which they go.
#[derive(Debug, Default)]
pub struct Batch {
    /// Headers and small payloads that are not yet in `parts`.
    scratch: BytesMut,
    parts: VecDeque<Bytes>,
    length: usize,
}

impl Batch {
    /// Bytes that are still to be written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether all has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Fills `slices` with the first parts, and says how many it filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0_usize;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            filled = filled.saturating_add(1);
        }
        filled
    }

    /// The first `n` bytes have been written.
    pub fn advance(&mut self, mut n: usize) {
        self.length = self.length.saturating_sub(n);
        while let Some(front) = self.parts.front_mut() {
            if n < front.len() {
                front.advance(n);
                return;
            }
            n = n.saturating_sub(front.len());
            self.parts.pop_front();
        }
    }

    pub(super) fn header(&mut self, header: Header) {
        self.copy(&header.encode());
    }

    pub(super) fn copy(&mut self, bytes: &[u8]) {
        if self.scratch.capacity().saturating_sub(self.scratch.len()) < bytes.len() {
            self.seal();
            self.scratch.reserve(SCRATCH.max(bytes.len()));
        }
        self.length = self.length.saturating_add(bytes.len());
        self.scratch.extend_from_slice(bytes);
    }

    pub(super) fn payload(&mut self, bytes: Bytes) {
        if bytes.len() < INLINE_BELOW {
            return self.copy(&bytes);
        }
        self.seal();
        self.length = self.length.saturating_add(bytes.len());
        self.parts.push_back(bytes);
    }

    /// Everything is in `parts`.
    pub(super) fn seal(&mut self) {
        if !self.scratch.is_empty() {
            self.parts.push_back(self.scratch.split().freeze());
        }
    }
}
