//! The handshake (`spec/03`): one `Hello`, one answer, before any multiplexing; each step with a deadline.

mod client;
mod server;

pub use client::{HelloDraft, LoggedIn, LoginError, Place, login};
pub use server::{HandshakeError, Incoming};

use bytes::BytesMut;
use protocol::frame::{self, Frame};
use protocol::limits::HANDSHAKE_FRAME_MAX;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::frames::FrameError;

/// Reads one handshake frame; what came behind it stays in `buffer`.
async fn read_frame<R: AsyncRead + Unpin>(
    stream: &mut R,
    buffer: &mut BytesMut,
) -> Result<Frame, FrameError> {
    loop {
        if let Some(frame) = frame::decode(buffer, HANDSHAKE_FRAME_MAX)? {
            return Ok(frame);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
    }
}

#[cfg(test)]
mod tests;
