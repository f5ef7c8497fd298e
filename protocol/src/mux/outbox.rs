//! What was written to a substream and not sent.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::batch::Batch;

/// A buffer for small writes that is kept while it is empty may be this large, bytes.
const KEPT: usize = 256;

/// Bytes to send, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    front: Option<Bytes>,
    rest: VecDeque<Bytes>,
    /// Small writes, behind all others.
    tail: BytesMut,
    length: usize,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.length = self.length.saturating_add(bytes.len());
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail).freeze();
            self.push_back(tail);
        }
        self.push_back(bytes);
    }

    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        self.tail.extend_from_slice(bytes);
    }

    /// Moves `amount` bytes into `batch`; there must be as many.
    pub(super) fn send(&mut self, mut amount: usize, batch: &mut Batch) {
        self.length = self.length.saturating_sub(amount);
        while amount > 0 {
            if let Some(front) = &mut self.front {
                let piece = front.split_to(amount.min(front.len()));
                if front.is_empty() {
                    self.front = self.rest.pop_front();
                    if self.rest.is_empty() {
                        self.rest = VecDeque::new();
                    }
                }
                amount = amount.saturating_sub(piece.len());
                batch.payload(piece);
            } else {
                let piece = amount.min(self.tail.len());
                if piece == 0 {
                    return;
                }
                if piece < super::batch::INLINE_BELOW {
                    batch.copy(self.tail.get(..piece).unwrap_or_default());
                    self.tail.advance(piece);
                } else {
                    batch.payload(self.tail.split_to(piece).freeze());
                }
                amount = amount.saturating_sub(piece);
            }
        }
        if self.tail.is_empty() {
            if self.tail.capacity() > KEPT {
                self.tail = BytesMut::new();
            } else {
                // Back to the start of its buffer.
                self.tail.clear();
            }
        }
    }

    /// Drops everything, and says how much that was.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).length
    }

    fn push_back(&mut self, piece: Bytes) {
        if self.front.is_none() {
            self.front = Some(piece);
        } else {
            self.rest.push_back(piece);
        }
    }
}
