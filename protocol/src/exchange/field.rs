//! Header and trailer fields.

use bytes::Bytes;

use super::syntax::{is_field_name, is_field_value};
use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::limits::FIELDS_MAX;

/// One field line. Both parts share the memory of the frame they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// A token without upper-case letters.
    pub name: Bytes,
    /// No control characters but HTAB.
    pub value: Bytes,
}

impl Field {
    /// Name and value as the encoders take them.
    #[must_use]
    pub fn parts(&self) -> (&[u8], &[u8]) {
        (&self.name, &self.value)
    }
}

const LENGTH_MAX: usize = 0xFFFF;

pub(super) fn write<'f>(
    fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    writer: &mut Writer<'_>,
) -> Result<(), EncodeError> {
    writer.list("fields", fields, FIELDS_MAX, |w, (name, value)| {
        if !is_field_name(name) {
            return Err(EncodeError::BadValue { field: "field name" });
        }
        if !is_field_value(value) {
            return Err(EncodeError::BadValue { field: "field value" });
        }
        w.bytes16("field name", name, LENGTH_MAX)?;
        w.bytes16("field value", value, LENGTH_MAX)
    })
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Vec<Field>, DecodeError> {
    reader.list("fields", FIELDS_MAX, |r| {
        let name = r.bytes16("field name", LENGTH_MAX)?;
        if !is_field_name(name) {
            return Err(DecodeError::BadValue { field: "field name" });
        }
        let value = r.bytes16("field value", LENGTH_MAX)?;
        if !is_field_value(value) {
            return Err(DecodeError::BadValue { field: "field value" });
        }
        Ok(Field { name: r.share(name), value: r.share(value) })
    })
}
