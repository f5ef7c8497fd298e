//! Listeners for visitors.

mod client_hello;
mod connection;
mod entrance;
pub mod guard;
mod http;
mod http1;
mod http2;
mod protocol;
mod proxy_header;
mod redirect;
mod stream;
mod streams;
mod tcp;
mod visitor;

pub use entrance::{Covers, Entrance, TlsEntrance};
pub use http::{Arrival, HttpIngress};
pub use protocol::Protocol;
pub(crate) use stream::Stream;
pub use tcp::TcpIngress;
pub(crate) use visitor::Visiting;
pub use visitor::VisitorStream;
