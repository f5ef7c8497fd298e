//! The data plane of both ends: visitors come in at an ingress, are routed to a member, and their request or connection
//! comes out at a service, on the substream of a session.
//!
//! | module | what it is | DESIGN |
//! |---|---|---|
//! | [`ingress`] | listeners for visitors: HTTP by host, TCP by port | 5.1 |
//! | [`directory`], [`dispatch`] | what a visitor asked for, and the member that serves it | 5.2 to 5.5 |
//! | [`fitness`] | how well a member serves, as those find who ask it | 5.4 |
//! | [`exchange`] | one HTTP request with its response on a substream, both ends | 5.6 |
//! | [`responder`], [`service`] | the end that dials services | 5.7 |
//! | [`headers`] | which fields pass, which are removed, which are set | 5.6 |
//! | [`routes`], [`treatment`], [`rule_answer`] | what rules do with requests, do to them, and answer themselves | 5.2, 5.3 |
//! | [`concurrency`] | how many requests are worked on at once | 5 |
//! | [`error`], [`page`], [`grpc`] | the one table from what failed to what a visitor is told | 7 |
//! | [`plugin`] | code that sees heads and outcomes, in the order that a rule names | 5.3 |
//! | [`access`] | a line per request or connection | INTERFACE, "Logs" |

pub mod access;
pub mod concurrency;
pub mod context;
pub mod directory;
pub mod dispatch;
pub mod error;
pub mod exchange;
pub mod fitness;
pub mod grpc;
pub mod headers;
mod http2;
mod incoming;
pub mod ingress;
mod last_chunk;
pub mod outside;
pub mod page;
pub mod plugin;
mod poison;
mod pool;
pub mod responder;
pub mod routes;
pub mod rule_answer;
pub mod service;
mod trace;
pub mod treatment;

#[cfg(test)]
mod tests;
