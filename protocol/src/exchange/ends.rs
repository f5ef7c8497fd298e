//! `end`, `reset` and `stop`: how a direction ends.

use bytes::BytesMut;

use crate::code::Code;
use crate::codec::EncodeError;
use crate::frame::{self, FrameType};
use crate::limits::STATUS_MAX;
use crate::text::Text;

/// Appends `end`: this direction is complete.
///
/// # Errors
/// None in practice.
pub fn encode_end(out: &mut BytesMut) -> Result<(), EncodeError> {
    frame::encode_header(FrameType::END, 0, 0, out)
}

/// Appends `reset`: this direction is broken off after the bytes before it, and why.
///
/// # Errors
/// None in practice: code and text fit.
pub fn encode_reset(code: Code, text: &Text, out: &mut BytesMut) -> Result<(), EncodeError> {
    frame::encode(FrameType::RESET, STATUS_MAX, out, |w| {
        w.u16(code.0);
        w.text(text)
    })
}

/// Appends `stop`: the sender reads no more of the other direction, and why.
///
/// # Errors
/// None in practice.
pub fn encode_stop(code: Code, out: &mut BytesMut) -> Result<(), EncodeError> {
    frame::encode(FrameType::STOP, STATUS_MAX, out, |w| {
        w.u16(code.0);
        Ok(())
    })
}
