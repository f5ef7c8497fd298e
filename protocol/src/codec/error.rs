//! What can be wrong with bytes from a peer, and with values of our own.

use crate::frame::FrameType;

/// Why bytes are no message. The peer is at fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload ends before this field does.
    #[error("the frame ends inside {field}")]
    Truncated {
        /// The field that is cut.
        field: &'static str,
    },
    /// The payload goes on after its last field.
    #[error("{count} bytes too many in the frame")]
    TrailingBytes {
        /// How many bytes are left over.
        count: usize,
    },
    /// A length or a count above its limit.
    #[error("{field} is longer than {max}")]
    TooLong {
        /// The field whose length it is; `frame` for a whole payload.
        field: &'static str,
        /// The limit: bytes, or items of a list.
        max: usize,
    },
    /// A type that does not exist, or not here, and that may not be skipped.
    #[error("frame type {kind} does not belong here")]
    UnknownType {
        /// The type.
        kind: FrameType,
    },
    /// Text that is not UTF-8.
    #[error("{field} is not UTF-8")]
    BadUtf8 {
        /// The field.
        field: &'static str,
    },
    /// A value that the field can not have.
    #[error("{field} has a value that it can not have")]
    BadValue {
        /// The field.
        field: &'static str,
    },
}

/// Why a value can not be sent. We are at fault, or whoever gave us the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A length or a count above its limit.
    #[error("{field} is longer than {max}")]
    TooLong {
        /// The field whose length it is; `frame` for a whole payload.
        field: &'static str,
        /// The limit: bytes, items of a list, or milliseconds.
        max: usize,
    },
    /// A value that a decoder would refuse.
    #[error("{field} has a value that it can not have")]
    BadValue {
        /// The field.
        field: &'static str,
    },
}
