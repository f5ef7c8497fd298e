//! The control substream, from the server's side.

use std::time::Duration;

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use protocol::codec::{DecodeError, EncodeError};
use protocol::control::Control;
use protocol::limits::CONTROL_FRAME_MAX;
use tokio::time::{Instant, timeout};
use tokio_util::codec::Framed;
use transport::frames::{FrameCodec, FrameError};
use transport::session::Substream;

/// How long a client may take to read one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that a client may send in a burst, and how fast it earns further ones. An honest client sends a heartbeat,
/// an acknowledgement and now and then a list.
const BURST: u32 = 200;
const PER_MESSAGE: Duration = Duration::from_millis(20);

/// Why the control substream is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The client sent what is no control message.
    #[error("bad control message: {0}")]
    Decode(#[from] DecodeError),
    /// The client sends faster than it may.
    #[error("more than {BURST} control messages at once")]
    Flood,
    /// The client ended the control substream, which is the end of its session.
    #[error("the client ended the control substream")]
    Ended,
    /// The client does not read.
    #[error("the client does not read its control substream")]
    Stuck,
    /// The substream failed; the session's own end says why.
    #[error("the control substream failed: {0}")]
    Io(#[from] std::io::Error),
    /// Our message can not be encoded; a defect of ours.
    #[error("a control message can not be sent: {0}")]
    Encode(#[from] EncodeError),
}

impl From<FrameError> for ControlError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Decode(error) => Self::Decode(error),
            FrameError::Io(error) => Self::Io(error),
        }
    }
}

/// Messages each way, with the limits that a client has.
pub(super) struct ControlSubstream {
    frames: Framed<Substream, FrameCodec>,
    /// When the burst would be full again.
    paid_until: Instant,
}

impl ControlSubstream {
    pub(super) fn new(substream: Substream) -> Self {
        Self {
            frames: Framed::new(substream, FrameCodec::new(CONTROL_FRAME_MAX)),
            paid_until: Instant::now(),
        }
    }

    /// The next message that this version knows. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Control, ControlError> {
        loop {
            let frame = self.frames.next().await.ok_or(ControlError::Ended)??;
            self.charge()?;
            if let Some(message) = Control::decode(&frame)? {
                return Ok(message);
            }
        }
    }

    /// Sends one message. If the future is dropped, the message is sent with the next one.
    pub(super) async fn send(&mut self, message: Control) -> Result<(), ControlError> {
        let mut encoded = BytesMut::new();
        message.encode(&mut encoded)?;
        timeout(SEND_TIMEOUT, self.frames.send(encoded)).await.map_err(|_| ControlError::Stuck)??;
        Ok(())
    }

    fn charge(&mut self) -> Result<(), ControlError> {
        let now = Instant::now();
        self.paid_until = self.paid_until.max(now) + PER_MESSAGE;
        if self.paid_until > now + PER_MESSAGE * BURST {
            return Err(ControlError::Flood);
        }
        Ok(())
    }
}
