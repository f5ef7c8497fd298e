//! `trailers`: fields after a body.

use bytes::BytesMut;

use super::field;
use crate::codec::EncodeError;
use crate::frame::{self, FrameType};
use crate::limits::TRAILERS_MAX;

/// Appends the frame with these fields (name in lower case, value) to `out`.
///
/// # Errors
/// [`EncodeError`] if a field is one that a receiver would refuse, or if all of them are above [`TRAILERS_MAX`].
pub fn encode_trailers<'f>(
    fields: impl IntoIterator<Item = (&'f [u8], &'f [u8])>,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    frame::encode(FrameType::TRAILERS, TRAILERS_MAX, out, |w| field::write(fields, w))
}
