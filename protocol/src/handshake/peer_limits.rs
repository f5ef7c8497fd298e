//! What each side is prepared to receive.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::limits::{FIRST_WINDOW, FIRST_WINDOW_MIN, SUBSTREAMS_ACCEPTED_MAX};

/// The limits that a side states for itself in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerLimits {
    /// Bytes that the sender of these limits takes on a new substream before its first window update; at least
    /// [`FIRST_WINDOW_MIN`]. A peer never sends more than the lesser of this and the 262,144 of yamux.
    pub first_window: u32,
    /// Request substreams that the sender of these limits accepts at once, at least 1.
    pub max_substreams: u32,
}

impl PeerLimits {
    /// What this release states for itself.
    pub const OURS: Self = Self { first_window: FIRST_WINDOW, max_substreams: SUBSTREAMS_ACCEPTED_MAX };

    fn wrong(self) -> Option<&'static str> {
        if self.first_window < FIRST_WINDOW_MIN {
            Some("first_window")
        } else if self.max_substreams == 0 {
            Some("max_substreams")
        } else {
            None
        }
    }

    pub(super) fn encode(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        if let Some(field) = self.wrong() {
            return Err(EncodeError::BadValue { field });
        }
        writer.u32(self.first_window);
        writer.u32(self.max_substreams);
        Ok(())
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let limits =
            Self { first_window: reader.u32("first_window")?, max_substreams: reader.u32("max_substreams")? };
        match limits.wrong() {
            Some(field) => Err(DecodeError::BadValue { field }),
            None => Ok(limits),
        }
    }
}
