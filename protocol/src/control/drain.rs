//! `drain`: no new work on this session.

use std::time::Duration;

use crate::codec::{DecodeError, EncodeError, Reader, Writer};

/// The sender takes no new substreams on this session and ends it when the last one is done, or at the deadline. A client
/// that is told so opens a replacement first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// From now, in whole milliseconds.
    pub deadline: Duration,
}

impl Drain {
    pub(super) fn write(self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.duration("deadline", self.deadline)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { deadline: reader.duration("deadline")? })
    }
}
