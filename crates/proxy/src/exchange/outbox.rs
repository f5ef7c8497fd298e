//! What was encoded and not written.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use protocol::codec::EncodeError;
use protocol::exchange::{encode_data, encode_data_header};
use protocol::limits::DATA_MAX;

/// Bytes that wait; more is taken in only below it, so that this and one piece of a body is the bound. Low, because the
/// queue of the substream is what keeps the link busy.
pub(crate) const WAITING_MAX: usize = 16 * 1024;
/// Room for an ordinary head, so that its buffer does not grow piece by piece.
pub(super) const HEAD_ROOM: usize = 1024;
/// Pieces below this length are copied behind their header, which is cheaper than passing on two.
pub(super) const COPIED_BELOW: usize = 4096;

/// Where frames are encoded to.
pub(crate) trait Frames {
    /// Bytes that wait.
    fn waiting(&self) -> usize;

    /// The place for any frame but data.
    fn buffer(&mut self) -> &mut BytesMut;

    /// Appends `data`, in as many frames as it takes.
    fn data(&mut self, data: Bytes) -> Result<(), EncodeError>;
}

impl Frames for BytesMut {
    fn waiting(&self) -> usize {
        self.len()
    }

    fn buffer(&mut self) -> &mut BytesMut {
        self
    }

    fn data(&mut self, data: Bytes) -> Result<(), EncodeError> {
        data.chunks(DATA_MAX).try_for_each(|piece| encode_data(piece, self))
    }
}

/// A queue of frames, in which the bytes of a body stay where they were read.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Behind the queue.
    last: BytesMut,
}

impl Frames for Outbox {
    fn waiting(&self) -> usize {
        self.queued.saturating_add(self.last.len())
    }

    fn buffer(&mut self) -> &mut BytesMut {
        &mut self.last
    }

    fn data(&mut self, mut data: Bytes) -> Result<(), EncodeError> {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(DATA_MAX));
            encode_data_header(piece.len(), &mut self.last)?;
            if piece.len() < COPIED_BELOW {
                self.last.extend_from_slice(&piece);
            } else {
                let head = self.last.split().freeze();
                self.queued = self.queued.saturating_add(head.len()).saturating_add(piece.len());
                self.queue.extend([head, piece]);
            }
        }
        Ok(())
    }
}

impl Outbox {
    /// Takes what is to be written next; empty if nothing waits.
    pub(super) fn take(&mut self) -> Bytes {
        let Some(piece) = self.queue.pop_front() else {
            return self.last.split().freeze();
        };
        self.queued = self.queued.saturating_sub(piece.len());
        piece
    }

    /// Drops what waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use protocol::exchange::{Message, encode_end};

    use super::*;

    fn written(outbox: &mut Outbox) -> BytesMut {
        let mut out = BytesMut::new();
        while outbox.waiting() > 0 {
            out.extend_from_slice(&outbox.take());
        }
        assert!(outbox.take().is_empty());
        out
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        for length in [1, COPIED_BELOW - 1, COPIED_BELOW, DATA_MAX, DATA_MAX + 1, 5 * DATA_MAX] {
            let data: Bytes = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let mut outbox = Outbox::default();
            outbox.data(Bytes::from_static(b"first")).unwrap();
            outbox.data(data.clone()).unwrap();
            encode_end(outbox.buffer()).unwrap();
            let total = outbox.waiting();
            let mut out = written(&mut outbox);
            assert_eq!(out.len(), total);
            let mut gathered = Vec::new();
            loop {
                match Message::decode(&mut out).unwrap().unwrap() {
                    Message::Data(data) => gathered.extend_from_slice(&data),
                    end => break assert_eq!(end, Message::End),
                }
            }
            assert!(out.is_empty());
            assert_eq!(gathered, [&b"first"[..], &data].concat());
        }
    }
}
