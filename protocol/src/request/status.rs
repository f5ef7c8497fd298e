//! `status`: the two answers to a head.

use bytes::BytesMut;

use crate::code::Code;
use crate::codec::{DecodeError, EncodeError, Reader};
use crate::frame::{self, FrameType};
use crate::limits::STATUS_MAX;
use crate::text::Text;

/// Whether a substream was taken, and what became of the dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// First answer: the service is known and the substream is taken. The dial has begun.
    Accepted,
    /// Second answer, TCP only: the service is reached; raw bytes follow.
    Connected,
    /// First answer: not taken, nothing was processed. The last frame of the substream.
    Refused {
        /// The reason.
        code: Code,
        /// The reason, for a person.
        text: Text,
    },
    /// Second answer, TCP only: the service was not reached, no byte was passed on. The last frame of the substream.
    Failed {
        /// The reason.
        code: Code,
        /// The reason, for a person.
        text: Text,
    },
}

const ACCEPTED: u8 = 0;
const CONNECTED: u8 = 1;
const REFUSED: u8 = 2;
const FAILED: u8 = 3;

impl Status {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// None in practice: every status fits.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        frame::encode(FrameType::STATUS, STATUS_MAX, out, |w| match self {
            Self::Accepted => {
                w.u8(ACCEPTED);
                Ok(())
            }
            Self::Connected => {
                w.u8(CONNECTED);
                Ok(())
            }
            Self::Refused { code, text } => {
                w.u8(REFUSED);
                w.u16(code.0);
                w.text(text)
            }
            Self::Failed { code, text } => {
                w.u8(FAILED);
                w.u16(code.0);
                w.text(text)
            }
        })
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("status")? {
            ACCEPTED => Ok(Self::Accepted),
            CONNECTED => Ok(Self::Connected),
            REFUSED => Ok(Self::Refused { code: Code(r.u16("code")?), text: r.text()? }),
            FAILED => Ok(Self::Failed { code: Code(r.u16("code")?), text: r.text()? }),
            _ => Err(DecodeError::BadValue { field: "status" }),
        }
    }
}
