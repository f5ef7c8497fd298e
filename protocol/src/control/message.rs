//! Any control message.

use bytes::BytesMut;

use super::{
    Close, Drain, Health, Heartbeat, HeartbeatAck, Notice, Part, PartAnswer, Parts, Register, Registered,
    Unregister,
};
use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::frame::{self, Frame, FrameType};
use crate::limits::CONTROL_FRAME_MAX;

/// A message on the control substream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Client: names and ports that the instance wants.
    Register(Register),
    /// Server: what became of them.
    Registered(Registered),
    /// Client: names and ports given back.
    Unregister(Unregister),
    /// Either: are you there?
    Heartbeat(Heartbeat),
    /// Either: I am.
    HeartbeatAck(HeartbeatAck),
    /// Either: no new work on this session.
    Drain(Drain),
    /// Either: the session ends now.
    Close(Close),
    /// Server: something to tell a person.
    Notice(Notice),
    /// Server: a piece of a group's part of the configuration.
    Part(Part),
    /// Client: what became of a part.
    PartAnswer(PartAnswer),
    /// Server: the parts that stand.
    Parts(Parts),
    /// Client: how the servers of its services are.
    Health(Health),
}

impl Control {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`EncodeError`] if a field is one that a receiver would refuse.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        frame::encode(self.kind(), CONTROL_FRAME_MAX, out, |w| self.write(w))
    }

    fn kind(&self) -> FrameType {
        match self {
            Self::Register(_) => FrameType::REGISTER,
            Self::Registered(_) => FrameType::REGISTERED,
            Self::Unregister(_) => FrameType::UNREGISTER,
            Self::Heartbeat(_) => FrameType::HEARTBEAT,
            Self::HeartbeatAck(_) => FrameType::HEARTBEAT_ACK,
            Self::Drain(_) => FrameType::DRAIN,
            Self::Close(_) => FrameType::CLOSE,
            Self::Notice(_) => FrameType::NOTICE,
            Self::Part(_) => FrameType::PART,
            Self::PartAnswer(_) => FrameType::PART_ANSWER,
            Self::Parts(_) => FrameType::PARTS,
            Self::Health(_) => FrameType::HEALTH,
        }
    }

    fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Register(message) => message.write(writer),
            Self::Registered(message) => message.write(writer),
            Self::Unregister(message) => message.write(writer),
            Self::Heartbeat(message) => message.write(writer),
            Self::HeartbeatAck(message) => message.write(writer),
            Self::Drain(message) => message.write(writer),
            Self::Close(message) => message.write(writer),
            Self::Notice(message) => message.write(writer),
            Self::Part(message) => message.write(writer),
            Self::PartAnswer(message) => message.write(writer),
            Self::Parts(message) => message.write(writer),
            Self::Health(message) => message.write(writer),
        }
    }

    /// Reads a frame; `None` is one of an unknown type that may be skipped.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] for a frame that is none of the control substream's by its size,
    /// [`DecodeError::UnknownType`], and what is wrong with a field.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, DecodeError> {
        if frame.payload.len() > CONTROL_FRAME_MAX {
            return Err(DecodeError::TooLong { field: "frame", max: CONTROL_FRAME_MAX });
        }
        let mut r = Reader::new(&frame.payload);
        let message = match frame.kind {
            FrameType::REGISTER => Self::Register(Register::read(&mut r)?),
            FrameType::REGISTERED => Self::Registered(Registered::read(&mut r)?),
            FrameType::UNREGISTER => Self::Unregister(Unregister::read(&mut r)?),
            FrameType::HEARTBEAT => Self::Heartbeat(Heartbeat::read(&mut r)?),
            FrameType::HEARTBEAT_ACK => Self::HeartbeatAck(HeartbeatAck::read(&mut r)?),
            FrameType::DRAIN => Self::Drain(Drain::read(&mut r)?),
            FrameType::CLOSE => Self::Close(Close::read(&mut r)?),
            FrameType::NOTICE => Self::Notice(Notice::read(&mut r)?),
            FrameType::PART => Self::Part(Part::read(&mut r)?),
            FrameType::PART_ANSWER => Self::PartAnswer(PartAnswer::read(&mut r)?),
            FrameType::PARTS => Self::Parts(Parts::read(&mut r)?),
            FrameType::HEALTH => Self::Health(Health::read(&mut r)?),
            kind if kind.may_be_skipped() => return Ok(None),
            kind => return Err(DecodeError::UnknownType { kind }),
        };
        r.finish()?;
        Ok(Some(message))
    }
}

macro_rules! from_message {
    ($($name:ident),*) => {
        $(impl From<$name> for Control {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        })*
    };
}
from_message!(
    Register,
    Registered,
    Unregister,
    Heartbeat,
    HeartbeatAck,
    Drain,
    Close,
    Notice,
    Part,
    PartAnswer,
    Parts,
    Health
);
