//! `registered`: what became of registrations.

use crate::codec::{DecodeError, EncodeError, Reader, Writer, wire_code};
use crate::limits::{HOST_MAX, REGISTRATIONS_MAX, URL_MAX};
use crate::text::Text;

wire_code! {
    /// Why a registration was refused (`spec/08-errors.md`).
    RegisterCode {
        /// Somebody else has the name or the port.
        NAME_IN_USE = 1, "NAME_IN_USE";
        /// The principal has no grant for it.
        NOT_GRANTED = 2, "NOT_GRANTED";
        /// Not a host name, group or address range that can be registered.
        BAD_NAME = 3, "BAD_NAME";
        /// The port could not be listened on, or none was free to pick.
        PORT_UNAVAILABLE = 4, "PORT_UNAVAILABLE";
        /// The principal has as many names as it may have.
        OVER_QUOTA = 5, "OVER_QUOTA";
        /// The server knows of it but does not do it.
        NOT_IN_THIS_VERSION = 6, "NOT_IN_THIS_VERSION";
        /// A fault of the server.
        INTERNAL = 7, "INTERNAL";
    }
}

/// Answers to registrations, in the order in which they came; those to one `register` may come in several of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// At most [`REGISTRATIONS_MAX`].
    pub results: Vec<RegistrationAnswer>,
}

/// What became of one registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationAnswer {
    /// The instance's number for it.
    pub id: u32,
    /// Whether it stands.
    pub outcome: Outcome,
}

/// Whether a registration stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It does, for all sessions of the instance.
    Granted {
        /// The host, or the port as text.
        public: String,
        /// What visitors type.
        url: String,
    },
    /// It does not; the others are not affected.
    Refused {
        /// The reason.
        code: RegisterCode,
        /// The reason, for a person.
        text: Text,
    },
}

const GRANTED: u8 = 0;
const REFUSED: u8 = 1;

impl Registered {
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.list("results", &self.results, REGISTRATIONS_MAX, |w, result| {
            w.u32(result.id);
            result.outcome.write(w)
        })
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let results = reader.list("results", REGISTRATIONS_MAX, |r| {
            Ok(RegistrationAnswer { id: r.u32("id")?, outcome: Outcome::read(r)? })
        })?;
        Ok(Self { results })
    }
}

impl Outcome {
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Granted { public, url } => {
                w.u8(GRANTED);
                w.str8("public", public, HOST_MAX)?;
                w.str16("url", url, URL_MAX)
            }
            Self::Refused { code, text } => {
                w.u8(REFUSED);
                w.u16(code.0);
                w.text(text)
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("outcome")? {
            GRANTED => Ok(Self::Granted {
                public: r.str8("public", HOST_MAX)?.to_owned(),
                url: r.str16("url", URL_MAX)?.to_owned(),
            }),
            REFUSED => Ok(Self::Refused { code: RegisterCode(r.u16("code")?), text: r.text()? }),
            _ => Err(DecodeError::BadValue { field: "outcome" }),
        }
    }
}
