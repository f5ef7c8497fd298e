//! One HTTP request with its response on a substream (`spec/07-exchange.md`).
//!
//! [`Message::decode`] reads a request substream after its head, whichever way; [`RequestOrder`] and [`ResponseOrder`]
//! tell whether a message may come where it comes.

mod data;
mod ends;
mod field;
mod frame;
mod order;
mod request_head;
mod response_head;
mod syntax;
mod trailers;

pub use data::{encode_data, encode_data_header};
pub use ends::{encode_end, encode_reset, encode_stop};
pub use field::Field;
pub use frame::Message;
pub use order::{OrderError, RequestOrder, ResponseOrder};
pub use request_head::{RequestHead, RequestLine, Scheme};
pub use response_head::{ResponseHead, ResponseLine};
pub use trailers::encode_trailers;
