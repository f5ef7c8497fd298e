//! How every substream but the control substream begins (`spec/06-request-substreams.md`): a [`Head`] from the opener,
//! [`Status`] frames from the acceptor.

mod head;
mod status;
mod trace;
mod visitor;

pub use head::{Head, Kind, Opening};
pub use status::Status;
pub use trace::TraceContext;
