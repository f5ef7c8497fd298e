//! The one answer to a `hello`.

use bytes::BytesMut;

use super::{Reject, Welcome};
use crate::codec::{DecodeError, EncodeError};
use crate::frame::{Frame, FrameType};

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerReply {
    /// The session begins.
    Welcome(Welcome),
    /// It does not.
    Reject(Reject),
}

impl ServerReply {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`EncodeError`] if a field is one that a client would refuse.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Welcome(welcome) => welcome.encode(out),
            Self::Reject(reject) => reject.encode(out),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] for any other frame, and what is wrong with a field.
    pub fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        match frame.kind {
            FrameType::WELCOME => Welcome::decode(frame).map(Self::Welcome),
            FrameType::REJECT => Reject::decode(frame).map(Self::Reject),
            kind => Err(DecodeError::UnknownType { kind }),
        }
    }
}
