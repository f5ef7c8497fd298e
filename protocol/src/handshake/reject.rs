//! `reject`: no session, and why.

use std::time::Duration;

use bytes::BytesMut;

use crate::codec::{DecodeError, EncodeError, Reader, wire_code};
use crate::frame::{self, Frame, FrameType};
use crate::limits::HANDSHAKE_FRAME_MAX;
use crate::text::Text;

wire_code! {
    /// Why a login was refused (`spec/08-errors.md`).
    RejectCode {
        /// No version in common.
        VERSION = 1, "version";
        /// The client insists on a feature that the server does not know.
        CRITICAL_FEATURE = 2, "critical-feature";
        /// The hello could not be read.
        MALFORMED = 3, "malformed";
        /// Unknown credential or wrong proof; which of the two is not said.
        DENIED = 4, "denied";
        /// Too many failed logins from this address with this credential.
        THROTTLED = 5, "throttled";
        /// The server admits logins one after the other; it is not this one's turn.
        BUSY = 6, "busy";
        /// The server is about to stop.
        DRAINING = 7, "draining";
        /// The credential has expired.
        EXPIRED = 8, "expired";
        /// A newer instance of the same client is connected.
        SUPERSEDED = 9, "superseded";
        /// The principal has as many sessions as it may have.
        OVER_QUOTA = 10, "over-quota";
        /// A fault of the server.
        INTERNAL = 11, "internal";
    }
}

impl RejectCode {
    /// Whether trying again makes no sense before somebody has changed something.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::VERSION
                | Self::CRITICAL_FEATURE
                | Self::MALFORMED
                | Self::DENIED
                | Self::EXPIRED
                | Self::SUPERSEDED
        )
    }
}

/// The server's no; it closes the connection after it. The layout is the same in every version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The reason.
    pub code: RejectCode,
    /// The reason, for a person.
    pub text: Text,
    /// How long to wait at least before the next try, in whole milliseconds.
    pub retry_after: Option<Duration>,
}

impl Reject {
    /// Whether trying again makes no sense before somebody has changed something.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.code.is_final()
    }

    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] for a `retry_after` above 49 days.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        frame::encode(FrameType::REJECT, HANDSHAKE_FRAME_MAX, out, |w| {
            w.u16(self.code.0);
            w.text(&self.text)?;
            w.option(self.retry_after, |w, wait| w.duration("retry_after", wait))
        })
    }

    pub(super) fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        let mut r = Reader::new(&frame.payload);
        let reject = Self {
            code: RejectCode(r.u16("code")?),
            text: r.text()?,
            retry_after: r.option("retry_after", |r| r.duration("retry_after"))?,
        };
        r.finish()?;
        Ok(reject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_is_worth_another_try() {
        assert!(RejectCode::DENIED.is_final());
        assert!(!RejectCode::BUSY.is_final());
        assert!(!RejectCode(999).is_final());
    }
}
