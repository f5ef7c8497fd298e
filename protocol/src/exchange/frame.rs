//! Any message on a request substream after its head.

use std::ops::Deref;

use bytes::{Buf, Bytes, BytesMut};

use super::{Field, RequestHead, ResponseHead, field};
use crate::code::Code;
use crate::codec::{DecodeError, EncodeError, Reader};
use crate::frame::{Frame, FrameType, HEADER_LEN, Header};
use crate::limits::{DATA_MAX, HEAD_FRAME_MAX, SKIPPED_MAX, STATUS_MAX, TRAILERS_MAX};
use crate::request::Status;
use crate::text::Text;

/// A message on a request substream, whichever way it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Opener: the request.
    Request(RequestHead),
    /// Acceptor: the response, or an informational head before it.
    Response(ResponseHead),
    /// Either: bytes of a body, 1 to [`DATA_MAX`]. Shares the memory of the buffer that it was read from.
    Data(Bytes),
    /// Either: fields after a body.
    Trailers(Vec<Field>),
    /// Either: this direction is complete.
    End,
    /// Either: this direction is broken off.
    Reset {
        /// The reason.
        code: Code,
        /// The reason, for a person.
        text: Text,
    },
    /// Either: I read no more of your direction.
    Stop {
        /// The reason.
        code: Code,
    },
    /// Acceptor: whether the substream was taken, and what became of the dial.
    Status(Status),
}

impl Message {
    /// Takes the next message out of `buffer`, which is one piece of memory: `Bytes` or `BytesMut`; `None` until it is
    /// complete. Frames of unknown types that may be skipped are taken out on the way.
    ///
    /// # Errors
    /// As soon as a header shows it: [`DecodeError::UnknownType`], or [`DecodeError::TooLong`] above the type's maximum.
    /// Then what is wrong with a field.
    pub fn decode(buffer: &mut (impl Buf + Deref<Target = [u8]>)) -> Result<Option<Self>, DecodeError> {
        while let Some(header) = Header::peek(buffer) {
            let header = header.check(maximum(header.kind)?)?;
            if header.kind == FrameType::DATA && header.length == 0 {
                return Err(DecodeError::BadValue { field: "data" });
            }
            let Some(frame) = header.take(buffer) else { break };
            if !frame.kind.may_be_skipped() {
                return Self::read(frame).map(Some);
            }
        }
        Ok(None)
    }

    /// After [`Message::decode`] gave `None`: how many bytes the next message still needs, for sizing a read. `None` if
    /// not even its header is complete.
    #[must_use]
    pub fn missing(buffer: &BytesMut) -> Option<usize> {
        let header = Header::peek(buffer)?;
        let total = HEADER_LEN.saturating_add(header.length);
        Some(total.saturating_sub(buffer.len()))
    }

    fn read(frame: Frame) -> Result<Self, DecodeError> {
        if frame.kind == FrameType::DATA {
            return Ok(Self::Data(frame.payload));
        }
        let mut r = Reader::new(&frame.payload);
        let message = match frame.kind {
            FrameType::STATUS => Self::Status(Status::read(&mut r)?),
            FrameType::REQUEST_HEAD => Self::Request(RequestHead::read(&mut r)?),
            FrameType::RESPONSE_HEAD => Self::Response(ResponseHead::read(&mut r)?),
            FrameType::TRAILERS => Self::Trailers(field::read(&mut r)?),
            FrameType::END => Self::End,
            FrameType::RESET => Self::Reset { code: Code(r.u16("code")?), text: r.text()? },
            FrameType::STOP => Self::Stop { code: Code(r.u16("code")?) },
            kind => return Err(DecodeError::UnknownType { kind }),
        };
        r.finish()?;
        Ok(message)
    }

    /// Appends the frame to `out`. A proxy that has the parts in other types uses the encoders of the parts.
    ///
    /// # Errors
    /// [`EncodeError`] if a part is one that a receiver would refuse.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Request(head) => head.encode(out),
            Self::Response(head) => head.encode(out),
            Self::Data(bytes) => {
                super::encode_data_header(bytes.len(), out)?;
                out.extend_from_slice(bytes);
                Ok(())
            }
            Self::Trailers(fields) => super::encode_trailers(fields.iter().map(Field::parts), out),
            Self::End => super::encode_end(out),
            Self::Reset { code, text } => super::encode_reset(*code, text, out),
            Self::Stop { code } => super::encode_stop(*code, out),
            Self::Status(status) => status.encode(out),
        }
    }
}

/// The largest payload of each type; known before a byte of it is waited for.
fn maximum(kind: FrameType) -> Result<usize, DecodeError> {
    match kind {
        FrameType::REQUEST_HEAD | FrameType::RESPONSE_HEAD => Ok(HEAD_FRAME_MAX),
        FrameType::DATA => Ok(DATA_MAX),
        FrameType::TRAILERS => Ok(TRAILERS_MAX),
        FrameType::END => Ok(0),
        FrameType::STATUS | FrameType::RESET | FrameType::STOP => Ok(STATUS_MAX),
        kind if kind.may_be_skipped() => Ok(SKIPPED_MAX),
        kind => Err(DecodeError::UnknownType { kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maxima_hold_before_a_payload_comes() {
        let too_long = |max| Err(DecodeError::TooLong { field: "frame", max });
        for (header, max) in [
            ([0x44, 0, 0, 1], 0),
            ([0x42, 1, 0, 1], DATA_MAX),
            ([0x40, 2, 0, 1], HEAD_FRAME_MAX),
            ([0x43, 0, 0x40, 1], TRAILERS_MAX),
            ([0x45, 0, 8, 1], STATUS_MAX),
            ([0xFF, 1, 0, 1], SKIPPED_MAX),
        ] {
            assert_eq!(Message::decode(&mut BytesMut::from(&header[..])), too_long(max), "{header:?}");
        }
        let mut buffer = BytesMut::from(&[0x30, 0, 0, 9][..]);
        assert_eq!(Message::decode(&mut buffer), Err(DecodeError::UnknownType { kind: FrameType::HEAD }));
    }

    #[test]
    fn frames_that_may_be_skipped_are_skipped_and_others_not() {
        let mut buffer = BytesMut::from(&[0x80, 0, 0, 1, 7, 0x90, 0, 0, 0, 0x44, 0, 0, 0, 9][..]);
        assert_eq!(Message::decode(&mut buffer), Ok(Some(Message::End)));
        assert_eq!(&buffer[..], [9]);
        let mut buffer = BytesMut::from(&[0x7F, 0, 0, 0][..]);
        assert_eq!(Message::decode(&mut buffer), Err(DecodeError::UnknownType { kind: FrameType(0x7F) }));
    }

    #[test]
    fn data_is_split_off_not_copied() {
        let mut buffer = BytesMut::from(&[0x42, 0, 0, 2, 7, 8, 0x44][..]);
        let at = buffer[HEADER_LEN..].as_ptr();
        let Ok(Some(Message::Data(data))) = Message::decode(&mut buffer) else { panic!("no data") };
        assert_eq!(data.as_ptr(), at);
    }

    #[test]
    fn what_is_missing_is_known_from_the_header_on() {
        assert_eq!(Message::missing(&BytesMut::from(&[0x42, 0, 0][..])), None);
        assert_eq!(Message::missing(&BytesMut::from(&[0x42, 0, 0, 9, 1][..])), Some(8));
    }

    #[test]
    fn data_that_carries_nothing_is_an_error() {
        let mut buffer = BytesMut::from(&[0x42, 0, 0, 0][..]);
        assert_eq!(Message::decode(&mut buffer), Err(DecodeError::BadValue { field: "data" }));
        let mut out = BytesMut::new();
        super::super::encode_data(b"", &mut out).unwrap();
        assert!(out.is_empty());
    }
}
