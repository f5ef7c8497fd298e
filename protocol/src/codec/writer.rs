//! Writes the fields of one payload, in order. Refuses what the reader at the other end would refuse.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

use super::EncodeError;
use crate::text::{Text, has_control};

/// The end of a buffer. Every method that can fail takes the name of the field for the error.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(out: &'a mut BytesMut) -> Self {
        Self { out }
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A byte.
    pub fn u8(&mut self, value: u8) {
        self.out.put_u8(value);
    }

    /// 16 bits.
    pub fn u16(&mut self, value: u16) {
        self.out.put_u16(value);
    }

    /// 32 bits.
    pub fn u32(&mut self, value: u32) {
        self.out.put_u32(value);
    }

    /// 64 bits.
    pub fn u64(&mut self, value: u64) {
        self.out.put_u64(value);
    }

    /// A duration: 32 bits of milliseconds; what is below one is dropped.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`] above 49 days.
    pub fn duration(&mut self, field: &'static str, value: Duration) -> Result<(), EncodeError> {
        let too_long = |_| EncodeError::TooLong { field, max: 0xFFFF_FFFF };
        self.u32(u32::try_from(value.as_millis()).map_err(too_long)?);
        Ok(())
    }

    /// A value that may be absent: a byte 0, or a byte 1 and what `write` writes.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn option<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match value {
            None => {
                self.u8(0);
                Ok(())
            }
            Some(value) => {
                self.u8(1);
                write(self, value)
            }
        }
    }

    /// Bytes after an 8-bit length of at most `max`.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn bytes8(&mut self, field: &'static str, bytes: &[u8], max: usize) -> Result<(), EncodeError> {
        let max = max.min(usize::from(u8::MAX));
        match u8::try_from(bytes.len()) {
            Ok(length) if bytes.len() <= max => self.u8(length),
            _ => return Err(EncodeError::TooLong { field, max }),
        }
        self.bytes(bytes);
        Ok(())
    }

    /// Bytes after a 16-bit length of at most `max`.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`].
    pub fn bytes16(&mut self, field: &'static str, bytes: &[u8], max: usize) -> Result<(), EncodeError> {
        let max = max.min(usize::from(u16::MAX));
        match u16::try_from(bytes.len()) {
            Ok(length) if bytes.len() <= max => self.u16(length),
            _ => return Err(EncodeError::TooLong { field, max }),
        }
        self.bytes(bytes);
        Ok(())
    }

    /// A string without control characters after an 8-bit length of at most `max`.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], [`EncodeError::BadValue`].
    pub fn str8(&mut self, field: &'static str, text: &str, max: usize) -> Result<(), EncodeError> {
        printable(field, text)?;
        self.bytes8(field, text.as_bytes(), max)
    }

    /// A string without control characters after a 16-bit length of at most `max`.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], [`EncodeError::BadValue`].
    pub fn str16(&mut self, field: &'static str, text: &str, max: usize) -> Result<(), EncodeError> {
        printable(field, text)?;
        self.bytes16(field, text.as_bytes(), max)
    }

    /// Text for people.
    ///
    /// # Errors
    /// None in practice: a [`Text`] fits.
    pub fn text(&mut self, text: &Text) -> Result<(), EncodeError> {
        self.bytes16("text", text.as_bytes(), crate::limits::TEXT_MAX)
    }

    /// A list of at most `max`: a 16-bit count, then what `write` writes for each.
    ///
    /// The items are counted while they are written, so an iterator of unknown length will do.
    ///
    /// # Errors
    /// [`EncodeError::TooLong`], and those of `write`.
    pub fn list<T>(
        &mut self,
        field: &'static str,
        items: impl IntoIterator<Item = T>,
        max: usize,
        mut write: impl FnMut(&mut Self, T) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let max = max.min(usize::from(u16::MAX));
        let too_long = EncodeError::TooLong { field, max };
        let at = self.out.len();
        self.u16(0);
        let mut count = 0u16;
        for item in items {
            count = count.checked_add(1).filter(|count| usize::from(*count) <= max).ok_or(too_long)?;
            write(self, item)?;
        }
        let [high, low] = count.to_be_bytes();
        if let Some([at_high, at_low, ..]) = self.out.get_mut(at..) {
            *at_high = high;
            *at_low = low;
        }
        Ok(())
    }
}

fn printable(field: &'static str, text: &str) -> Result<(), EncodeError> {
    if has_control(text) { Err(EncodeError::BadValue { field }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_counted_as_it_is_written() {
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        writer
            .list("x", [7u8, 8].into_iter().filter(|_| true), 2, |w, item| {
                w.u8(item);
                Ok(())
            })
            .unwrap();
        assert_eq!(&out[..], [0, 2, 7, 8]);
        let error = Writer::new(&mut out).list("x", [1, 2, 3], 2, |_, _| Ok(()));
        assert_eq!(error, Err(EncodeError::TooLong { field: "x", max: 2 }));
    }

    #[test]
    fn nothing_is_truncated() {
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        let long = "a".repeat(300);
        assert_eq!(writer.str8("x", &long, 400), Err(EncodeError::TooLong { field: "x", max: 255 }));
        assert_eq!(writer.str16("x", &long, 299), Err(EncodeError::TooLong { field: "x", max: 299 }));
        assert_eq!(writer.str8("x", "a\r\n", 9), Err(EncodeError::BadValue { field: "x" }));
        let days = Duration::from_secs(50 * 86_400);
        assert_eq!(writer.duration("x", days), Err(EncodeError::TooLong { field: "x", max: 0xFFFF_FFFF }));
    }
}
