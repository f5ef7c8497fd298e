//! The guard between a visitor's connection and hyper: it follows the requests of HTTP/1.1 from head to head and lets
//! nothing through that two readers could take for different requests (RFC 9112 sections 2.2, 3, 6 and 7).
//!
//! | file | what it is |
//! |---|---|
//! | [`head`](Head) | one request head: its syntax, its limits, how its body is framed |
//! | `target` | the forms of a target |
//! | [`body`](Framing) | where a body ends, by the fields of its head |
//! | `chunks` | a chunked body |
//! | [`requests`](Requests) | the way from head to head: bytes in, how many may pass |
//! | `stream` | the same around a connection |
//!
//! All but the last are pure. What hyper shows of a request is judged later, by [`crate::headers::Facts`], for every
//! version of HTTP.

mod body;
mod chunks;
mod head;
mod line;
mod requests;
mod stream;
mod target;

pub use body::Framing;
pub use head::{FIELDS_MAX, HEAD_MAX, Head, TARGET_MAX};
pub use requests::{REQUESTS_MAX, Requests, Step, Verdict};
pub(super) use stream::Guarded;
