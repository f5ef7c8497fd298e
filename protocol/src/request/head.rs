//! `head`: what a substream is for.

use std::net::SocketAddr;

use bytes::BytesMut;

use super::{TraceContext, visitor};
use crate::codec::{DecodeError, EncodeError, Reader};
use crate::frame::{self, Frame, FrameType, Header};
use crate::limits::{SERVICE_NAME_MAX, SUBSTREAM_HEAD_MAX};
use crate::service_name::ServiceName;

/// The first frame of a request substream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What follows.
    pub kind: Kind,
    /// Which service; the receiver looks it up in its own table for this session.
    pub name: ServiceName,
    /// Who visits, if known.
    pub visitor: Option<SocketAddr>,
    /// The opener's number for the ingress where the visitor came in; 0 if it says nothing.
    pub ingress: u32,
    /// Where this belongs in a distributed trace.
    pub trace: Option<TraceContext>,
}

/// A [`Head`] to be sent, which borrows the name of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening<'a> {
    /// What follows.
    pub kind: Kind,
    /// Which service.
    pub name: &'a ServiceName,
    /// Who visits, if known.
    pub visitor: Option<SocketAddr>,
    /// The opener's number for the ingress where the visitor came in; 0 if it says nothing.
    pub ingress: u32,
    /// Where this belongs in a distributed trace.
    pub trace: Option<TraceContext>,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Raw bytes, after `connected`.
    Tcp,
    /// The frames of one HTTP exchange.
    Exchange,
}

const TCP: u8 = 0;
const EXCHANGE: u8 = 1;

impl Opening<'_> {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`EncodeError::BadValue`] for a name that would not read back as the same.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        frame::encode(FrameType::HEAD, SUBSTREAM_HEAD_MAX, out, |w| {
            w.u8(match self.kind {
                Kind::Tcp => TCP,
                Kind::Exchange => EXCHANGE,
            });
            if !self.name.is_valid() {
                return Err(EncodeError::BadValue { field: "name" });
            }
            w.str8("name", &self.name.to_string(), SERVICE_NAME_MAX)?;
            w.option(self.visitor, |w, visitor| {
                visitor::write(visitor, w);
                Ok(())
            })?;
            w.u32(self.ingress);
            w.option(self.trace, |w, trace| {
                trace.write(w);
                Ok(())
            })
        })
    }
}

impl Head {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// Those of [`Opening::encode`].
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let Self { kind, ref name, visitor, ingress, trace } = *self;
        Opening { kind, name, visitor, ingress, trace }.encode(out)
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] for any other frame, and what is wrong with a field.
    pub fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        if frame.kind != FrameType::HEAD {
            return Err(DecodeError::UnknownType { kind: frame.kind });
        }
        let mut r = Reader::new(&frame.payload);
        let head = Self {
            kind: match r.u8("kind")? {
                TCP => Kind::Tcp,
                EXCHANGE => Kind::Exchange,
                _ => return Err(DecodeError::BadValue { field: "kind" }),
            },
            name: r
                .str8("name", SERVICE_NAME_MAX)?
                .parse()
                .map_err(|_| DecodeError::BadValue { field: "name" })?,
            visitor: r.option("visitor", visitor::read)?,
            ingress: r.u32("ingress")?,
            trace: r.option("trace", TraceContext::read)?,
        };
        r.finish()?;
        Ok(head)
    }

    /// Takes the head off the start of a substream; `None` until it is complete. What follows stays in `buffer`.
    ///
    /// # Errors
    /// Those of [`Head::decode`], as soon as the frame's header shows them.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let Some(header) = Header::peek(buffer) else {
            return Ok(None);
        };
        if header.kind != FrameType::HEAD {
            return Err(DecodeError::UnknownType { kind: header.kind });
        }
        let frame = header.check(SUBSTREAM_HEAD_MAX)?.take(buffer);
        frame.as_ref().map(Self::decode).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_leaves_what_follows_it() {
        let head = Head {
            kind: Kind::Tcp,
            name: ServiceName::Own(3),
            visitor: Some(([192, 0, 2, 1], 4000).into()),
            ingress: 0,
            trace: None,
        };
        let mut buffer = BytesMut::new();
        head.encode(&mut buffer).unwrap();
        buffer.extend_from_slice(b"raw");
        assert_eq!(Head::take(&mut buffer), Ok(Some(head)));
        assert_eq!(&buffer[..], b"raw");
    }

    #[test]
    fn a_wrong_first_frame_is_refused_by_its_header() {
        let mut buffer = BytesMut::from(&[0x42, 0, 0, 9][..]);
        assert_eq!(Head::take(&mut buffer), Err(DecodeError::UnknownType { kind: FrameType::DATA }));
        let mut buffer = BytesMut::from(&[0x30, 0xFF, 0, 0][..]);
        let too_long = DecodeError::TooLong { field: "frame", max: SUBSTREAM_HEAD_MAX };
        assert_eq!(Head::take(&mut buffer), Err(too_long));
    }

    #[test]
    fn a_name_that_would_read_back_differently_is_not_sent() {
        let name = ServiceName::Plain("web/app".to_owned());
        let head = Head { kind: Kind::Tcp, name, visitor: None, ingress: 0, trace: None };
        let mut out = BytesMut::new();
        assert_eq!(head.encode(&mut out), Err(EncodeError::BadValue { field: "name" }));
        assert!(out.is_empty());
    }
}
