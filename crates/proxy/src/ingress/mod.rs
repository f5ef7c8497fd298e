//! Listeners for visitors.

mod connection;
mod http;
mod tcp;
mod visitor;

pub use http::HttpIngress;
pub use tcp::TcpIngress;
pub(crate) use visitor::Visiting;
