//! What was written to a substream and not sent.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::batch::Batch;
use super::tail;

/// A buffer for small writes that is kept while it is empty may be this large, bytes.
const KEPT: usize = 256;
/// Small writes are gathered up to this: one frame.
const GATHERED: usize = super::FRAME_MAX;

/// Bytes to send, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    front: Option<Bytes>,
    /// The size of the buffer that `front` is a part of, if it is one of ours.
    front_memory: usize,
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
        // A handle to a few bytes is larger than they are.
        if bytes.len() < super::batch::INLINE_BELOW {
            return self.copy(&bytes);
        }
        self.length = self.length.saturating_add(bytes.len());
        self.settle_tail();
        self.push_back(bytes);
    }

    pub(super) fn copy(&mut self, mut bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        while let room = GATHERED.saturating_sub(self.tail.len())
            && let Some((piece, rest)) = bytes.split_at_checked(room)
        {
            tail::append(&mut self.tail, piece);
            self.settle_tail();
            bytes = rest;
        }
        tail::append(&mut self.tail, bytes);
    }

    /// Moves `amount` bytes into `batch`; there must be as many.
    pub(super) fn send(&mut self, mut amount: usize, batch: &mut Batch) {
        self.length = self.length.saturating_sub(amount);
        while amount > 0 {
            if self.front.is_none() && amount == self.tail.len() {
                self.send_tail(batch);
                return;
            }
            if self.front.is_none() {
                self.settle_tail();
            }
            let Some(front) = &mut self.front else { return };
            let piece = front.split_to(amount.min(front.len()));
            amount = amount.saturating_sub(piece.len());
            batch.payload(piece);
            if front.is_empty() {
                self.front = self.rest.pop_front();
                self.front_memory = self.front.as_ref().map_or(0, Bytes::len);
                if self.rest.is_empty() {
                    self.rest = VecDeque::new();
                }
            }
        }
        // Beside as many bytes that are still to be sent, a large buffer for a few does not matter.
        if let Some(front) = &mut self.front
            && self.length < self.front_memory
        {
            tail::trim(front, &mut self.front_memory);
        }
    }

    fn send_tail(&mut self, batch: &mut Batch) {
        if self.tail.len() >= super::batch::INLINE_BELOW {
            batch.payload(std::mem::take(&mut self.tail).freeze());
            return;
        }
        batch.copy(&self.tail);
        if self.tail.capacity() > KEPT {
            self.tail = BytesMut::new();
        } else {
            self.tail.clear();
        }
    }

    /// Drops everything, and says how much that was.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).length
    }

    /// All pieces, to be measured.
    #[cfg(test)]
    pub(super) fn take_all(&mut self) -> Vec<Bytes> {
        let Self { front, rest, tail, .. } = std::mem::take(self);
        let tail = Some(tail.freeze()).filter(|tail| !tail.is_empty());
        front.into_iter().chain(rest).chain(tail).collect()
    }

    fn settle_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail).freeze();
            self.push_back(tail);
        }
    }

    fn push_back(&mut self, piece: Bytes) {
        if self.front.is_none() {
            self.front_memory = piece.len();
            self.front = Some(piece);
        } else {
            self.rest.push_back(piece);
        }
    }
}
