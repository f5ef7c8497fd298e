//! `unregister`: names and ports given back, free for anybody at once.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::limits::REGISTRATIONS_MAX;

/// Registrations of the sending instance that end. There is no answer; an unknown id is nothing to complain about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unregister {
    /// At most [`REGISTRATIONS_MAX`].
    pub ids: Vec<u32>,
}

impl Unregister {
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.list("ids", &self.ids, REGISTRATIONS_MAX, |w, id| {
            w.u32(*id);
            Ok(())
        })
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { ids: reader.list("ids", REGISTRATIONS_MAX, |r| r.u32("id"))? })
    }
}
