//! What was encoded and not written.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use protocol::codec::EncodeError;
use protocol::exchange::{encode_data, encode_data_header};
use protocol::frame::HEADER_LEN;
use protocol::limits::DATA_MAX;

/// Bytes that wait; more is taken in only below it, so that this and one piece of a body is the bound. Low, because the
/// queue of the substream is what keeps the link busy.
pub(crate) const WAITING_MAX: usize = 16 * 1024;
/// As much of a piece goes with its header into one frame of the multiplexer, so that the header is none of its own.
const WITH_HEADER: usize = 16 * 1024 - 12 - HEADER_LEN;

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
            let mut piece = data.split_to(data.len().min(DATA_MAX));
            encode_data_header(piece.len(), &mut self.last)?;
            self.last.extend_from_slice(&piece.split_to(piece.len().min(WITH_HEADER)));
            if !piece.is_empty() {
                let head = self.last.split().freeze();
                self.queued = self.queued.saturating_add(head.len()).saturating_add(piece.len());
                self.queue.extend([head, piece]);
            }
        }
        Ok(())
    }
}

impl Outbox {
    /// What is to be written next; empty if nothing waits.
    pub(super) fn front(&self) -> &[u8] {
        self.queue.front().map_or(&self.last, |piece| piece)
    }

    /// The first `written` bytes of [`Self::front`] have been written.
    pub(super) fn advance(&mut self, written: usize) {
        let Some(piece) = self.queue.front_mut() else {
            return self.last.advance(written.min(self.last.len()));
        };
        let written = written.min(piece.len());
        piece.advance(written);
        self.queued = self.queued.saturating_sub(written);
        if piece.is_empty() {
            self.queue.pop_front();
        }
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

    fn written(outbox: &mut Outbox, step: usize) -> BytesMut {
        let mut out = BytesMut::new();
        while !outbox.front().is_empty() {
            let front = outbox.front();
            let length = front.len().min(step);
            out.extend_from_slice(&front[..length]);
            outbox.advance(length);
        }
        assert_eq!(outbox.waiting(), 0);
        out
    }

    #[test]
    fn frames_come_out_as_they_went_in() {
        for length in [1, WITH_HEADER, WITH_HEADER + 1, DATA_MAX, DATA_MAX + 1, 5 * DATA_MAX] {
            let data: Bytes = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
            let mut outbox = Outbox::default();
            outbox.data(Bytes::from_static(b"first")).unwrap();
            outbox.data(data.clone()).unwrap();
            encode_end(outbox.buffer()).unwrap();
            let total = outbox.waiting();
            let mut out = written(&mut outbox, 1000);
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
