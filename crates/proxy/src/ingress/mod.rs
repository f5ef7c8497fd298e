//! Listeners for visitors.

mod ahead;
mod alert;
mod attempt;
mod client_hello;
mod connection;
mod entrance;
pub mod guard;
mod http;
mod http1;
mod http2;
mod interim;
mod interim_queue;
mod protocol;
mod proxy_header;
mod redirect;
mod relaying;
mod stream;
mod streams;
mod tcp;
mod tls;
mod visitor;

pub use entrance::{Covers, Entrance, Gate, TlsEntrance};
pub use http::{Arrival, HttpIngress};
pub(crate) use interim::{INTERIM_MAX, INTERIM_SIZE_MAX, Interim};
pub use protocol::Protocol;
pub use tcp::TcpIngress;
pub use tls::TlsIngress;
pub(crate) use visitor::Visiting;
pub use visitor::VisitorStream;
