//! Both ends in one process: an ingress, two sessions over a pipe, and small services on the loopback.

mod answers;
mod backend;
mod bodies;
mod fixture;
mod framing;
mod grpc;
mod hostile;
mod http;
mod http2;
mod http2_frames;
mod http2_services;
mod http2_upgrades;
mod interim;
mod mutations;
mod plugins;
mod rules;
mod servers;
mod service;
mod service_plugins;
mod tcp;
mod tls_services;
mod upgrades;
mod vectors;
mod visitor_h2;
