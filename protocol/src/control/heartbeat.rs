//! `heartbeat` and its answer: both only make bytes flow and measure a round trip; any received byte is a sign of life.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};

/// Asks the other side for a [`HeartbeatAck`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Comes back unchanged.
    pub nonce: u64,
}

/// Answers a [`Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatAck {
    /// That of the heartbeat.
    pub nonce: u64,
}

macro_rules! nonce_only {
    ($name:ident) => {
        impl $name {
            pub(super) fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
                writer.u64(self.nonce);
                Ok(())
            }

            pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self { nonce: reader.u64("nonce")? })
            }
        }
    };
}
nonce_only!(Heartbeat);
nonce_only!(HeartbeatAck);
