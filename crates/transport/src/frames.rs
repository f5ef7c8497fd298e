//! Frames over a byte stream: `protocol::frame` as a tokio-util codec, for the handshake and the control substream.

use std::io;

use bytes::BytesMut;
use protocol::codec::DecodeError;
use protocol::frame::{self, Frame};
use tokio_util::codec::{Decoder, Encoder};

/// Cuts frames out of a byte stream, none longer than a maximum. What is sent is already encoded.
#[derive(Debug, Clone, Copy)]
pub struct FrameCodec {
    max_payload: usize,
}

impl FrameCodec {
    /// A codec that refuses payloads above `max_payload` bytes as soon as it has read their header.
    #[must_use]
    pub fn new(max_payload: usize) -> Self {
        Self { max_payload }
    }
}

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer sent something that is no frame, or one that is too long.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The stream failed or ended inside a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        Ok(frame::decode(buffer, self.max_payload)?)
    }
}

/// Frames are encoded by the messages themselves, which know their limits; this only queues the bytes.
impl Encoder<BytesMut> for FrameCodec {
    type Error = FrameError;

    fn encode(&mut self, encoded: BytesMut, buffer: &mut BytesMut) -> Result<(), FrameError> {
        buffer.extend_from_slice(&encoded);
        Ok(())
    }
}
