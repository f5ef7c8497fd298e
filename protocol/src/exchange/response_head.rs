//! The head of a response, final or informational.

use bytes::BytesMut;

use super::field::{self, Field};
use crate::codec::{DecodeError, EncodeError, Reader};
use crate::frame::{self, FrameType};
use crate::limits::HEAD_FRAME_MAX;

/// A response head as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// Another head follows: true for every 1xx but 101, and for no other status.
    pub informational: bool,
    /// Neither data nor trailers follow: the next frame of this direction is `end`, `reset` or `stop`. Never with a 1xx.
    pub bodyless: bool,
    /// The fields, in order, without hop-by-hop ones.
    pub fields: Vec<Field>,
}

/// A response head without its fields, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct ResponseLine {
    /// See [`ResponseHead::status`].
    pub status: u16,
    /// See [`ResponseHead::bodyless`].
    pub bodyless: bool,
}

const INFORMATIONAL: u8 = 1 << 0;
const BODYLESS: u8 = 1 << 1;

/// The status after which both directions carry another protocol.
pub(super) const SWITCHING_PROTOCOLS: u16 = 101;

impl ResponseLine {
    /// Whether another head follows; the status decides.
    #[must_use]
    pub const fn informational(self) -> bool {
        self.status < 200 && self.status != SWITCHING_PROTOCOLS
    }

    /// Appends the frame to `out`, with these fields (name in lower case, value), without copies in between.
    ///
    /// # Errors
    /// [`EncodeError`] if a part is one that a receiver would refuse, or if all of it is above [`HEAD_FRAME_MAX`].
    pub fn encode_with<'f>(
        self,
        fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        if let Some(field) = self.wrong() {
            return Err(EncodeError::BadValue { field });
        }
        frame::encode(FrameType::RESPONSE_HEAD, HEAD_FRAME_MAX, out, |w| {
            w.u8(self.flags());
            w.u16(self.status);
            field::write(fields, w)
        })
    }

    fn flags(self) -> u8 {
        let informational = if self.informational() { INFORMATIONAL } else { 0 };
        let bodyless = if self.bodyless { BODYLESS } else { 0 };
        informational | bodyless
    }

    fn wrong(self) -> Option<&'static str> {
        if !(100..=999).contains(&self.status) {
            Some("status")
        } else if self.bodyless && self.status < 200 {
            Some("flags")
        } else {
            None
        }
    }
}

impl ResponseHead {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// Those of [`ResponseLine::encode_with`], and [`EncodeError::BadValue`] if `informational` contradicts the status.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let line = ResponseLine { status: self.status, bodyless: self.bodyless };
        if line.informational() != self.informational {
            return Err(EncodeError::BadValue { field: "flags" });
        }
        line.encode_with(self.fields.iter().map(Field::parts), out)
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = r.u8("flags")?;
        let line = ResponseLine { status: r.u16("status")?, bodyless: flags & BODYLESS != 0 };
        if let Some(field) = line.wrong() {
            return Err(DecodeError::BadValue { field });
        }
        if line.flags() != flags {
            return Err(DecodeError::BadValue { field: "flags" });
        }
        Ok(Self {
            status: line.status,
            informational: line.informational(),
            bodyless: line.bodyless,
            fields: field::read(r)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_head_follows_every_1xx_but_101() {
        let informational = |status| ResponseLine { status, bodyless: false }.informational();
        assert!(informational(100) && informational(103) && informational(199));
        assert!(!informational(101) && !informational(200) && !informational(999));
    }

    #[test]
    fn a_flag_that_contradicts_the_status_is_not_sent() {
        let mut out = BytesMut::new();
        let head = ResponseHead { status: 200, informational: true, bodyless: false, fields: Vec::new() };
        assert_eq!(head.encode(&mut out), Err(EncodeError::BadValue { field: "flags" }));
        let line = ResponseLine { status: 101, bodyless: true };
        assert_eq!(line.encode_with([], &mut out), Err(EncodeError::BadValue { field: "flags" }));
    }
}
