//! Both ends in one process: an ingress, two sessions over a pipe, and small services on the loopback.

mod bodies;
mod fixture;
mod framing;
mod hostile;
mod http;
mod tcp;
mod upgrades;
