//! `close`: the session ends now, and why.

use crate::codec::{DecodeError, EncodeError, Reader, Writer, wire_code};
use crate::text::Text;

wire_code! {
    /// Why a session ends (`spec/08-errors.md`).
    CloseReason {
        /// A newer instance of the same client is connected; do not dial again.
        SUPERSEDED = 1, "superseded";
        /// The credential was revoked; do not dial again.
        REVOKED = 2, "revoked";
        /// The drain is over.
        DRAINED = 3, "drained";
        /// An operator ended it.
        KICKED = 4, "kicked";
        /// The receiver of this message broke the rules.
        PROTOCOL_ERROR = 5, "protocol-error";
        /// The receiver of this message sent too much that carries nothing.
        FLOOD = 6, "flood";
        /// The sender's program ends.
        SHUTDOWN = 7, "shutdown";
        /// The credential has expired; do not dial again.
        EXPIRED = 8, "expired";
        /// A newer session of the same slot took its place.
        REPLACED = 9, "replaced";
    }
}

impl CloseReason {
    /// Whether a client that hears this does not dial again before somebody has changed something.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::SUPERSEDED | Self::REVOKED | Self::EXPIRED)
    }
}

/// The last message on a control substream; its sender closes the TCP connection after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The reason.
    pub reason: CloseReason,
    /// The reason, for a person.
    pub text: Text,
}

impl Close {
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.u16(self.reason.0);
        writer.text(&self.text)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { reason: CloseReason(reader.u16("reason")?), text: reader.text()? })
    }
}
