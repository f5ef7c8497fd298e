//! How values become bytes (`spec/02-frames.md`): big-endian numbers, length-prefixed strings, counted lists.

mod error;
mod reader;
mod wire_code;
mod writer;

pub use error::{DecodeError, EncodeError};
pub use reader::Reader;
pub(crate) use wire_code::wire_code;
pub use writer::Writer;
