//! The head of a request.

use bytes::{Bytes, BytesMut};

use super::field::{self, Field};
use super::syntax::{is_authority, is_path, is_protocol, is_token};
use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::frame::{self, FrameType};
use crate::limits::{AUTHORITY_MAX, HEAD_FRAME_MAX, METHOD_MAX, PATH_MAX, PROTOCOL_MAX};

/// The head of a request as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// A token, 1 to 32 bytes.
    pub method: Bytes,
    /// How the visitor came in.
    pub scheme: Scheme,
    /// Host and optional port; there is no `host` field beside it.
    pub authority: Bytes,
    /// Path and query, or `*`.
    pub path: Bytes,
    /// The protocol to upgrade to, from HTTP/1.1 `Upgrade` or extended CONNECT.
    pub protocol: Option<Bytes>,
    /// The visitor waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// Neither data nor trailers follow: the next frame of this direction is `end`, `reset` or `stop`.
    pub bodyless: bool,
    /// The fields, in order, without hop-by-hop ones.
    pub fields: Vec<Field>,
}

/// How a visitor came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

/// A request head without its fields, borrowed from wherever they are, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// See [`RequestHead::method`].
    pub method: &'a [u8],
    /// See [`RequestHead::scheme`].
    pub scheme: Scheme,
    /// See [`RequestHead::authority`].
    pub authority: &'a [u8],
    /// See [`RequestHead::path`].
    pub path: &'a [u8],
    /// See [`RequestHead::protocol`].
    pub protocol: Option<&'a [u8]>,
    /// See [`RequestHead::expect_continue`].
    pub expect_continue: bool,
    /// See [`RequestHead::bodyless`].
    pub bodyless: bool,
}

const EXPECT_CONTINUE: u8 = 1 << 0;
const BODYLESS: u8 = 1 << 1;
const FLAGS: u8 = EXPECT_CONTINUE | BODYLESS;

impl RequestLine<'_> {
    /// Appends the frame to `out`, with these fields (name in lower case, value), without copies in between.
    ///
    /// # Errors
    /// [`EncodeError`] if a part is one that a receiver would refuse, or if all of it is above [`HEAD_FRAME_MAX`].
    pub fn encode_with<'f>(
        &self,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if let Some(field) = self.wrong() {
            return Err(EncodeError::BadValue { field });
        }
        frame::encode(FrameType::REQUEST_HEAD, HEAD_FRAME_MAX, out, |w| {
            w.u8(self.flags());
            w.u8(match self.scheme {
                Scheme::Http => 0,
                Scheme::Https => 1,
            });
            self.write_parts(w)?;
            field::write(fields, w)
        })
    }

    fn flags(&self) -> u8 {
        let expect_continue = if self.expect_continue { EXPECT_CONTINUE } else { 0 };
        let bodyless = if self.bodyless { BODYLESS } else { 0 };
        expect_continue | bodyless
    }

    fn write_parts(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.bytes8("method", self.method, METHOD_MAX)?;
        w.bytes16("authority", self.authority, AUTHORITY_MAX)?;
        w.bytes16("path", self.path, PATH_MAX)?;
        w.option(self.protocol, |w, protocol| w.bytes8("protocol", protocol, PROTOCOL_MAX))
    }

    /// The part that no HTTP request can have.
    fn wrong(&self) -> Option<&'static str> {
        if !is_token(self.method) {
            Some("method")
        } else if !is_authority(self.authority) {
            Some("authority")
        } else if !is_path(self.path) {
            Some("path")
        } else if self.protocol.is_some_and(|protocol| !is_protocol(protocol)) {
            Some("protocol")
        } else if self.bodyless && (self.expect_continue || self.protocol.is_some()) {
            Some("flags")
        } else {
            None
        }
    }
}

impl RequestHead {
    /// This head as the encoder takes it.
    #[must_use]
    pub fn line(&self) -> RequestLine<'_> {
        RequestLine {
            method: &self.method,
            scheme: self.scheme,
            authority: &self.authority,
            path: &self.path,
            protocol: self.protocol.as_deref(),
            expect_continue: self.expect_continue,
            bodyless: self.bodyless,
        }
    }

    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// Those of [`RequestLine::encode_with`].
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        self.line().encode_with(self.fields.iter().map(Field::parts), out)
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = r.u8("flags")?;
        if flags & !FLAGS != 0 {
            return Err(DecodeError::BadValue { field: "flags" });
        }
        let scheme = match r.u8("scheme")? {
            0 => Scheme::Http,
            1 => Scheme::Https,
            _ => return Err(DecodeError::BadValue { field: "scheme" }),
        };
        let line = RequestLine {
            method: r.bytes8("method", METHOD_MAX)?,
            scheme,
            authority: r.bytes16("authority", AUTHORITY_MAX)?,
            path: r.bytes16("path", PATH_MAX)?,
            protocol: r.option("protocol", |r| r.bytes8("protocol", PROTOCOL_MAX))?,
            expect_continue: flags & EXPECT_CONTINUE != 0,
            bodyless: flags & BODYLESS != 0,
        };
        if let Some(field) = line.wrong() {
            return Err(DecodeError::BadValue { field });
        }
        Ok(Self {
            method: r.share(line.method),
            scheme: line.scheme,
            authority: r.share(line.authority),
            path: r.share(line.path),
            protocol: line.protocol.map(|protocol| r.share(protocol)),
            expect_continue: line.expect_continue,
            bodyless: line.bodyless,
            fields: field::read(r)?,
        })
    }
}
