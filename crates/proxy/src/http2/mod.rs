//! What a stream of HTTP/2 is made of, whoever opened it: a body that comes, a body that goes, or bytes both ways after
//! an extended CONNECT; and the watch over a connection that is silent.

mod heartbeat;
mod incoming;
mod outgoing;
mod stream_io;

pub(crate) use heartbeat::{Heard, Heartbeat, Listened};
pub(crate) use incoming::StreamBody;
pub(crate) use outgoing::Outgoing;
pub(crate) use stream_io::StreamIo;
