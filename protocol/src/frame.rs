//! The one frame of this protocol: type, length, payload (`spec/02-frames.md`).

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, EncodeError, Writer};
use crate::limits::FRAME_LENGTH_MAX;

/// Length of a frame header: 8 bits of type, 24 bits of payload length.
pub const HEADER_LEN: usize = 4;

/// What a frame is. One number space for the whole protocol, so that a frame in the wrong place is never taken for
/// another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameType(pub u8);

impl FrameType {
    /// Handshake: what a client says first.
    pub const HELLO: Self = Self(0x01);
    /// Handshake: the session begins.
    pub const WELCOME: Self = Self(0x02);
    /// Handshake: it does not.
    pub const REJECT: Self = Self(0x03);

    /// Control: a piece of a group's part of the configuration.
    pub const PART: Self = Self(0x10);
    /// Control: what became of a part.
    pub const PART_ANSWER: Self = Self(0x11);
    /// Control: the parts that stand.
    pub const PARTS: Self = Self(0x12);

    /// Control: names and ports that an instance wants.
    pub const REGISTER: Self = Self(0x20);
    /// Control: what became of them.
    pub const REGISTERED: Self = Self(0x21);
    /// Control: names and ports given back.
    pub const UNREGISTER: Self = Self(0x22);
    /// Control: are you there?
    pub const HEARTBEAT: Self = Self(0x23);
    /// Control: I am.
    pub const HEARTBEAT_ACK: Self = Self(0x24);
    /// Control: no new work on this session.
    pub const DRAIN: Self = Self(0x25);
    /// Control: this session ends now, and why.
    pub const CLOSE: Self = Self(0x26);
    /// Control: something to tell a person.
    pub const NOTICE: Self = Self(0x27);

    /// Request substream: what it is for.
    pub const HEAD: Self = Self(0x30);
    /// Request substream: whether it was taken, and whether the service could be reached.
    pub const STATUS: Self = Self(0x31);

    /// Exchange: the head of a request.
    pub const REQUEST_HEAD: Self = Self(0x40);
    /// Exchange: the head of a response, or one of its informational heads.
    pub const RESPONSE_HEAD: Self = Self(0x41);
    /// Exchange: bytes of a body.
    pub const DATA: Self = Self(0x42);
    /// Exchange: fields after a body.
    pub const TRAILERS: Self = Self(0x43);
    /// Exchange: this direction is complete.
    pub const END: Self = Self(0x44);
    /// Exchange: this direction is broken off.
    pub const RESET: Self = Self(0x45);
    /// Exchange: I read no more of your direction.
    pub const STOP: Self = Self(0x46);

    /// Control, to be passed over by who does not know it: how the servers of services are.
    pub const HEALTH: Self = Self(0x90);

    /// Whether a receiver that does not know this type passes over it (`0x80` and above) or treats it as an error.
    #[must_use]
    pub const fn may_be_skipped(self) -> bool {
        self.0 >= 0x80
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}", self.0)
    }
}

impl fmt::Debug for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameType({self})")
    }
}

/// A header on its own: known as soon as four bytes are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type.
    pub kind: FrameType,
    /// Bytes of payload that follow.
    pub length: usize,
}

impl Header {
    /// The header at the start of `buffer`, if it is complete. Takes nothing.
    #[must_use]
    pub fn peek(buffer: &[u8]) -> Option<Self> {
        let [kind, high, middle, low] = *buffer.first_chunk::<HEADER_LEN>()?;
        let length = usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
        Some(Self { kind: FrameType(kind), length })
    }

    /// Refuses a payload that would be longer than `max` bytes.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`] with field `frame`.
    pub fn check(self, max: usize) -> Result<Self, DecodeError> {
        if self.length > max {
            return Err(DecodeError::TooLong { field: "frame", max });
        }
        Ok(self)
    }

    /// Takes header and payload out of `buffer`, which starts with this header, once all of it is there.
    pub(crate) fn take(self, buffer: &mut impl Buf) -> Option<Frame> {
        if buffer.remaining() < HEADER_LEN.saturating_add(self.length) {
            return None;
        }
        buffer.advance(HEADER_LEN);
        // Of `Bytes` and `BytesMut` that is a part, and no copy.
        Some(Frame { kind: self.kind, payload: buffer.copy_to_bytes(self.length) })
    }
}

/// A frame whose payload nobody has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The type.
    pub kind: FrameType,
    /// The payload.
    pub payload: Bytes,
}

/// Takes the next frame out of `buffer`; `None` until it is complete. The payload shares the buffer's memory.
///
/// # Errors
/// [`DecodeError::TooLong`] as soon as the header states a payload above `max` bytes.
pub fn decode(buffer: &mut BytesMut, max: usize) -> Result<Option<Frame>, DecodeError> {
    let Some(header) = Header::peek(buffer) else {
        return Ok(None);
    };
    Ok(header.check(max)?.take(buffer))
}

/// Appends a frame of type `kind` to `out`: the payload is what `write` writes, at most `max` bytes. After an error `out`
/// is as it was.
///
/// # Errors
/// [`EncodeError::TooLong`] with field `frame`, and those of `write`.
pub fn encode(
    kind: FrameType,
    max: usize,
    out: &mut BytesMut,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    let written = write(&mut Writer::new(out)).and_then(|()| {
        let length = out.len().saturating_sub(start).saturating_sub(HEADER_LEN);
        header_bytes(kind, length, max)
    });
    match (written, out.get_mut(start..).and_then(|frame| frame.first_chunk_mut())) {
        (Ok(header), Some(place)) => {
            *place = header;
            Ok(())
        }
        (Err(error), _) => {
            out.truncate(start);
            Err(error)
        }
        (Ok(_), None) => Err(EncodeError::BadValue { field: "frame" }),
    }
}

/// Appends only the header of a frame; the caller sends the `length` bytes of its payload itself.
///
/// # Errors
/// [`EncodeError::TooLong`] above `max`.
pub fn encode_header(
    kind: FrameType,
    length: usize,
    max: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    out.put_slice(&header_bytes(kind, length, max)?);
    Ok(())
}

fn header_bytes(kind: FrameType, length: usize, max: usize) -> Result<[u8; HEADER_LEN], EncodeError> {
    let max = max.min(FRAME_LENGTH_MAX);
    match u32::try_from(length).map(u32::to_be_bytes) {
        Ok([0, high, middle, low]) if length <= max => Ok([kind.0, high, middle, low]),
        _ => Err(EncodeError::TooLong { field: "frame", max }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_out_once_it_is_complete() {
        let bytes = [0x42, 0, 0, 2, 7, 8, 0x44];
        let mut buffer = BytesMut::new();
        for (at, byte) in bytes.into_iter().enumerate() {
            assert_eq!(decode(&mut buffer, 2), Ok(None), "after {at} bytes");
            buffer.extend_from_slice(&[byte]);
            if at == 5 {
                let frame = decode(&mut buffer, 2).unwrap().unwrap();
                assert_eq!(frame, Frame { kind: FrameType::DATA, payload: Bytes::from_static(&[7, 8]) });
            }
        }
        assert_eq!(&buffer[..], [0x44]);
    }

    #[test]
    fn a_length_is_refused_before_its_payload_comes() {
        let mut buffer = BytesMut::from(&[0x42, 0, 0, 3][..]);
        assert_eq!(decode(&mut buffer, 2), Err(DecodeError::TooLong { field: "frame", max: 2 }));
    }

    #[test]
    fn payloads_are_split_off_not_copied() {
        let mut buffer = BytesMut::from(&[0x42, 0, 0, 2, 7, 8][..]);
        let at = buffer[HEADER_LEN..].as_ptr();
        assert_eq!(decode(&mut buffer, 2).unwrap().unwrap().payload.as_ptr(), at);
    }

    #[test]
    fn after_an_error_the_buffer_is_as_it_was() {
        let mut out = BytesMut::from(&b"before"[..]);
        let too_long = EncodeError::TooLong { field: "frame", max: 3 };
        let result = encode(FrameType::DATA, 3, &mut out, |w| {
            w.bytes(b"long");
            Ok(())
        });
        assert_eq!(result, Err(too_long));
        assert_eq!(encode_header(FrameType::DATA, 4, 3, &mut out), Err(too_long));
        assert_eq!(&out[..], b"before");
    }

    #[test]
    fn no_length_goes_beyond_24_bits() {
        let error = EncodeError::TooLong { field: "frame", max: FRAME_LENGTH_MAX };
        let mut out = BytesMut::new();
        assert_eq!(encode_header(FrameType::DATA, FRAME_LENGTH_MAX + 1, usize::MAX, &mut out), Err(error));
        encode_header(FrameType::DATA, FRAME_LENGTH_MAX, usize::MAX, &mut out).unwrap();
        assert_eq!(&out[..], [0x42, 0xFF, 0xFF, 0xFF]);
    }
}
