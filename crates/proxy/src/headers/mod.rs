//! Which fields of a request or response pass, which are removed and which are set (RFC 9110 section 7.6.1).

mod hop;
mod length;
mod request;
mod response;
mod trailers;
mod upgrade;

pub(crate) use hop::{Listed, is_hop_by_hop};
pub(crate) use length::{content_length, parse_length};
pub use request::{FacingVisitor, Facts};
pub(crate) use request::{HOPS, came_by, is_forwarded, is_ours, port_of, restore_request};
pub(crate) use response::{forward_response, is_plainly_framed, restore_response};
pub(crate) use trailers::{forward_trailers, restore_trailers};
