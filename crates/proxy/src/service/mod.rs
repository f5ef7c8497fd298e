//! The services that this end dials: where they are, how they are reached, and who may ask for them.

mod address;
mod connection;
mod dial;
mod pool;
mod table;

pub use address::{Address, AddressError, HostName};
pub(crate) use connection::{ServiceTap, Turn};
pub use dial::{DialError, dial};
pub(crate) use pool::{HttpPool, request_failure};
pub(crate) use table::Reach;
pub use table::{Service, ServiceTable};
