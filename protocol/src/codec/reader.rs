//! Reads the fields of one payload, in order, and never beyond its end.

use std::time::Duration;

use bytes::Bytes;

use super::DecodeError;
use crate::limits::{FIELDS_MAX, TEXT_MAX};
use crate::text::{Text, has_control};

/// A place in a payload. Every method takes the name of the field for the error.
#[derive(Debug)]
pub struct Reader<'a> {
    payload: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start of `payload`.
    #[must_use]
    pub fn new(payload: &'a Bytes) -> Self {
        Self { payload, rest: payload }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(*array)
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn bytes(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A part of the payload as a handle on the same memory.
    #[must_use]
    pub fn share(&self, part: &[u8]) -> Bytes {
        self.payload.slice_ref(part)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// 16 bits.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// 32 bits.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// 64 bits.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// A duration: 32 bits of milliseconds.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn duration(&mut self, field: &'static str) -> Result<Duration, DecodeError> {
        self.u32(field).map(|millis| Duration::from_millis(u64::from(millis)))
    }

    /// A value that may be absent: a byte 0, or a byte 1 and what `read` reads.
    ///
    /// # Errors
    /// [`DecodeError::BadValue`] for another byte, and those of `read`.
    pub fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(DecodeError::BadValue { field }),
        }
    }

    /// Bytes after an 8-bit length of at most `max`.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Truncated`].
    pub fn bytes8(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(self.u8(field)?);
        self.bounded(field, length, max)
    }

    /// Bytes after a 16-bit length of at most `max`.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Truncated`].
    pub fn bytes16(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(self.u16(field)?);
        self.bounded(field, length, max)
    }

    fn bounded(&mut self, field: &'static str, length: usize, max: usize) -> Result<&'a [u8], DecodeError> {
        if length > max {
            return Err(DecodeError::TooLong { field, max });
        }
        self.bytes(field, length)
    }

    /// A string without control characters after an 8-bit length of at most `max`.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Truncated`], [`DecodeError::BadUtf8`], [`DecodeError::BadValue`].
    pub fn str8(&mut self, field: &'static str, max: usize) -> Result<&'a str, DecodeError> {
        self.bytes8(field, max).and_then(|bytes| printable(field, bytes))
    }

    /// A string without control characters after a 16-bit length of at most `max`.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], [`DecodeError::Truncated`], [`DecodeError::BadUtf8`], [`DecodeError::BadValue`].
    pub fn str16(&mut self, field: &'static str, max: usize) -> Result<&'a str, DecodeError> {
        self.bytes16(field, max).and_then(|bytes| printable(field, bytes))
    }

    /// Text for people.
    ///
    /// # Errors
    /// Those of [`Reader::str16`].
    pub fn text(&mut self) -> Result<Text, DecodeError> {
        self.str16("text", TEXT_MAX).map(Text::from)
    }

    /// A list: a 16-bit count of at most `max`, then what `read` reads, so often.
    ///
    /// Memory is taken for what the rest of the payload can hold at most, never for what the count claims.
    ///
    /// # Errors
    /// [`DecodeError::TooLong`], and those of `read`.
    pub fn list<T>(
        &mut self,
        field: &'static str,
        max: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = usize::from(self.u16(field)?);
        if count > max {
            return Err(DecodeError::TooLong { field, max });
        }
        let mut items = Vec::with_capacity(count.min(self.remaining()).min(FIELDS_MAX));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// The end of the payload.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`] if something is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(DecodeError::TrailingBytes { count }),
        }
    }
}

fn printable<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
    let text = str::from_utf8(bytes).map_err(|_| DecodeError::BadUtf8 { field })?;
    if has_control(text) { Err(DecodeError::BadValue { field }) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_to_the_end_only() {
        let payload = Bytes::from_static(&[1, 0, 2, 3, b'a', b'b', b'c', 9]);
        let mut reader = Reader::new(&payload);
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(2));
        assert_eq!(reader.str8("c", 3), Ok("abc"));
        assert_eq!(reader.u16("d"), Err(DecodeError::Truncated { field: "d" }));
        assert_eq!(reader.finish(), Err(DecodeError::TrailingBytes { count: 1 }));
    }

    #[test]
    fn a_length_above_its_limit_is_refused_before_its_bytes_are_there() {
        let payload = Bytes::from_static(&[0xFF, 0xFF]);
        assert_eq!(Reader::new(&payload).str16("x", 10), Err(DecodeError::TooLong { field: "x", max: 10 }));
        assert_eq!(Reader::new(&payload).str8("x", 255), Err(DecodeError::Truncated { field: "x" }));
    }

    #[test]
    fn a_count_takes_no_memory_by_itself() {
        let payload = Bytes::from_static(&[0xFF, 0xFF]);
        let list = Reader::new(&payload).list("x", usize::MAX, |r| r.u64("y"));
        assert_eq!(list, Err(DecodeError::Truncated { field: "y" }));
    }

    #[test]
    fn strings_are_utf8_without_control_characters() {
        let payload = Bytes::from_static(&[1, 0xFF]);
        assert_eq!(Reader::new(&payload).str8("x", 9), Err(DecodeError::BadUtf8 { field: "x" }));
        let payload = Bytes::from_static(&[1, 0x1B]);
        assert_eq!(Reader::new(&payload).str8("x", 9), Err(DecodeError::BadValue { field: "x" }));
    }

    #[test]
    fn what_may_be_absent_says_so_with_0_or_1() {
        let payload = Bytes::from_static(&[0, 1, 7, 2]);
        let mut reader = Reader::new(&payload);
        assert_eq!(reader.option("x", |r| r.u8("y")), Ok(None));
        assert_eq!(reader.option("x", |r| r.u8("y")), Ok(Some(7)));
        assert_eq!(reader.option("x", |r| r.u8("y")), Err(DecodeError::BadValue { field: "x" }));
    }
}
