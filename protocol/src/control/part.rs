//! A group's part of the configuration, handed to an instance: `part` in pieces, `part-answer`, and `parts`, what stands.

use bytes::Bytes;

use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::limits::{NAME_MAX, PART_MAX, PART_PIECE_MAX, PARTS_MAX};
use crate::text::Text;

/// One piece of a part; the pieces of one follow each other, from the first byte to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which part it is, the same in every piece.
    pub of: PartId,
    /// The SHA-256 of the whole part.
    pub digest: [u8; 32],
    /// Bytes of the whole part, from 1 to [`PART_MAX`].
    pub length: u32,
    /// Where the piece begins in it.
    pub offset: u32,
    /// From 1 to [`PART_PIECE_MAX`] bytes of JSON, which this crate does not look into.
    pub bytes: Bytes,
}

/// Which part of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId {
    /// The group.
    pub group: String,
    /// The configuration.
    pub revision: u64,
}

/// What became of a part at the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartAnswer {
    /// The part that was handed over last under this name on this session.
    pub of: PartId,
    /// None: it is ready to serve it. Otherwise why not, for a person; the instance keeps what it had.
    pub refusal: Option<Text>,
}

/// The parts that the instance is to hold: of a group the first one listed is in use, further ones are kept ready. What is
/// not listed is retired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// At most [`PARTS_MAX`].
    pub items: Vec<PartId>,
}

impl Part {
    pub(super) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        let (length, offset) = (size(self.length), size(self.offset));
        if length == 0 {
            return Err(EncodeError::BadValue { field: "length" });
        }
        if length > PART_MAX {
            return Err(EncodeError::TooLong { field: "length", max: PART_MAX });
        }
        if self.bytes.is_empty() || self.bytes.len() > length.saturating_sub(offset) {
            return Err(EncodeError::BadValue { field: "bytes" });
        }
        self.of.write(w)?;
        w.bytes(&self.digest);
        w.u32(self.length);
        w.u32(self.offset);
        w.bytes16("bytes", &self.bytes, PART_PIECE_MAX)
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let of = PartId::read(r)?;
        let digest = r.array("digest")?;
        let length = r.u32("length")?;
        if length == 0 {
            return Err(DecodeError::BadValue { field: "length" });
        }
        if size(length) > PART_MAX {
            return Err(DecodeError::TooLong { field: "length", max: PART_MAX });
        }
        let offset = r.u32("offset")?;
        let bytes = r.bytes16("bytes", PART_PIECE_MAX)?;
        if bytes.is_empty() || bytes.len() > size(length).saturating_sub(size(offset)) {
            return Err(DecodeError::BadValue { field: "bytes" });
        }
        Ok(Self { of, digest, length, offset, bytes: r.share(bytes) })
    }
}

impl PartId {
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.str8("group", &self.group, NAME_MAX)?;
        w.u64(self.revision);
        Ok(())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { group: r.str8("group", NAME_MAX)?.to_owned(), revision: r.u64("revision")? })
    }
}

impl PartAnswer {
    pub(super) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        self.of.write(w)?;
        w.option(self.refusal.as_ref(), Writer::text)
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { of: PartId::read(r)?, refusal: r.option("refusal", Reader::text)? })
    }
}

impl Parts {
    pub(super) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.list("parts", &self.items, PARTS_MAX, |w, item| item.write(w))
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { items: r.list("parts", PARTS_MAX, PartId::read)? })
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
