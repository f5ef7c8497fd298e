//! Where a request belongs in a distributed trace (W3C Trace Context).

use crate::codec::{DecodeError, Reader, Writer};

/// The binary form of a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span of the opener.
    pub span_id: [u8; 8],
    /// Bit 0: sampled. The others are passed on as they are.
    pub flags: u8,
}

impl TraceContext {
    pub(super) fn write(self, writer: &mut Writer<'_>) {
        writer.bytes(&self.trace_id);
        writer.bytes(&self.span_id);
        writer.u8(self.flags);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            trace_id: reader.array("trace")?,
            span_id: reader.array("trace")?,
            flags: reader.u8("trace")?,
        })
    }
}
