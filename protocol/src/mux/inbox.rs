//! What came on a substream and was not read.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::tail;

/// Pieces below this length are copied together, so that a small piece never keeps a large buffer alive: with reads of
/// [`READ_SIZE`](super::READ_SIZE), what is held is at most twice what is counted.
const COPIED_BELOW: usize = super::READ_SIZE / 2;

/// Received bytes, in order.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Most substreams hold one piece at most, which costs no queue.
    front: Option<Bytes>,
    /// The size of the buffer that `front` is a part of, at most.
    front_memory: usize,
    rest: VecDeque<Bytes>,
    /// Small pieces, behind all others.
    tail: BytesMut,
    length: usize,
}

impl Inbox {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn push(&mut self, piece: BytesMut) {
        if piece.is_empty() {
            return;
        }
        self.length = self.length.saturating_add(piece.len());
        if piece.len() < COPIED_BELOW {
            if self.tail.len().saturating_add(piece.len()) > super::READ_SIZE {
                self.settle_tail();
            }
            tail::append(&mut self.tail, &piece);
            return;
        }
        self.settle_tail();
        self.push_back(piece.freeze());
    }

    /// Takes the first piece, at most `max` bytes of it.
    pub(super) fn pop(&mut self, max: usize) -> Option<Bytes> {
        if self.front.is_none() {
            self.settle_tail();
        }
        let front = self.front.as_mut()?;
        let piece = if front.len() > max {
            let piece = front.split_to(max);
            tail::trim(front, &mut self.front_memory);
            piece
        } else {
            let next = self.rest.pop_front();
            if self.rest.is_empty() {
                self.rest = VecDeque::new();
            }
            self.front_memory = next.as_ref().map_or(0, memory_of);
            std::mem::replace(&mut self.front, next)?
        };
        self.length = self.length.saturating_sub(piece.len());
        Some(piece)
    }

    /// Puts a piece back in front of all others.
    pub(super) fn unpop(&mut self, mut piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.length = self.length.saturating_add(piece.len());
        // It may be the rest of a larger one.
        self.front_memory = super::READ_SIZE.max(piece.len());
        tail::trim(&mut piece, &mut self.front_memory);
        if let Some(second) = self.front.replace(piece) {
            self.rest.push_front(second);
        }
    }

    /// Drops everything, and says how much that was.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).length
    }

    fn settle_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail).freeze();
            self.push_back(tail);
        }
    }

    fn push_back(&mut self, piece: Bytes) {
        if self.front.is_none() {
            self.front_memory = memory_of(&piece);
            self.front = Some(piece);
        } else {
            self.rest.push_back(piece);
        }
    }
}

/// The size of the buffer that a whole piece is in, at most: what was read at once, or gathered.
fn memory_of(piece: &Bytes) -> usize {
    piece.len().saturating_mul(2).min(super::READ_SIZE).max(piece.len())
}
