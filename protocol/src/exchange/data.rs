//! `data`: bytes of a body, or of what an upgrade led to.

use bytes::BytesMut;

use crate::codec::EncodeError;
use crate::frame::{self, FrameType};
use crate::limits::DATA_MAX;

/// Appends one frame with these bytes to `out`; nothing for no bytes.
///
/// # Errors
/// [`EncodeError::TooLong`] above [`DATA_MAX`]; the caller splits.
pub fn encode_data(bytes: &[u8], out: &mut BytesMut) -> Result<(), EncodeError> {
    if bytes.is_empty() {
        return Ok(());
    }
    encode_data_header(bytes.len(), out)?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends only the header; the caller sends the `length` bytes itself, without a copy.
///
/// # Errors
/// [`EncodeError::TooLong`] above [`DATA_MAX`], [`EncodeError::BadValue`] for 0: a frame that carries nothing is an error.
pub fn encode_data_header(length: usize, out: &mut BytesMut) -> Result<(), EncodeError> {
    if length == 0 {
        return Err(EncodeError::BadValue { field: "data" });
    }
    frame::encode_header(FrameType::DATA, length, DATA_MAX, out)
}
