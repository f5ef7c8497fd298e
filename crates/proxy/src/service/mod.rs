//! The services that this end dials: where they are, how they are reached, and who may ask for them.
//!
//! | module | what it is |
//! |---|---|
//! | `target`, `address` | where a server listens and what it speaks |
//! | `configured` | a service as it is written, made ready |
//! | `servers`, `server` | which server gets a request, how fit it is, the HTTP it is sent with |
//! | `known` | servers that the next configuration has as well are the same ones |
//! | `link`, `dial`, `trust`, `proxy_header` | a connection to a server |
//! | `http1`, `pool` | connections of HTTP/1.1, and those that wait for another request |
//! | `multiplexed`, `stream` | connections of HTTP/2, shared by many requests |
//! | `probe`, `grpc_health` | active probes |
//! | `standing` | how servers are, for those who ask by hand |
//! | `table` | what the peer of a session may ask for |

mod address;
mod configured;
mod connection;
mod dial;
mod grpc_health;
mod http1;
mod http2_request;
mod known;
mod link;
mod multiplexed;
mod of_part;
mod pool;
mod probe;
mod proxy_header;
mod server;
mod servers;
mod standing;
mod stream;
mod table;
mod target;
mod trust;
mod unanswered;

pub use address::{Address, AddressError, HostName};
pub use configured::{Offer, Service, ServiceError};
pub(crate) use connection::ServiceIo;
pub use dial::{DialError, dial};
pub(crate) use http1::Http1Request;
pub use known::KnownServers;
pub(crate) use multiplexed::Lease;
pub use of_part::{dialled, labels_of};
pub(crate) use pool::HttpPool;
pub(crate) use server::{Carried, Carrier};
pub(crate) use servers::{TRIES_MAX, Tried};
pub use standing::ServerStanding;
pub use table::{Offered, ServiceTable};
pub use target::{ServiceTarget, Speech};
pub use trust::TrustError;
pub(crate) use unanswered::{Progress, Unanswered};
