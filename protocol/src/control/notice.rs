//! `notice`: something to tell a person, and sometimes a change of a registration.

use crate::codec::{DecodeError, EncodeError, Reader, Writer, wire_code};
use crate::text::Text;

wire_code! {
    /// What a notice is about (`spec/08-errors.md`).
    NoticeCode {
        /// Only the text.
        GENERAL = 0, "general";
        /// The registration has ended: its name or port belongs to somebody else now.
        NAME_WITHDRAWN = 1, "name-withdrawn";
        /// A quota of the principal is used up, or nearly.
        QUOTA = 2, "quota";
        /// The credential expires soon.
        EXPIRY = 3, "expiry";
    }
}

/// How loud a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Somebody should look.
    Warning,
    /// Something does not work.
    Error,
}

/// A message from the server to the client's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: NoticeLevel,
    /// What about.
    pub code: NoticeCode,
    /// The registration that it is about, if one.
    pub registration: Option<u32>,
    /// For a person.
    pub text: Text,
}

impl Notice {
    pub(super) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u8(match self.level {
            NoticeLevel::Info => 0,
            NoticeLevel::Warning => 1,
            NoticeLevel::Error => 2,
        });
        w.u16(self.code.0);
        w.option(self.registration, |w, id| {
            w.u32(id);
            Ok(())
        })?;
        w.text(&self.text)
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            level: match r.u8("level")? {
                0 => NoticeLevel::Info,
                1 => NoticeLevel::Warning,
                2 => NoticeLevel::Error,
                _ => return Err(DecodeError::BadValue { field: "level" }),
            },
            code: NoticeCode(r.u16("code")?),
            registration: r.option("registration", |r| r.u32("registration"))?,
            text: r.text()?,
        })
    }
}
