//! Real `tunneld`, real `tunnelc`, real sockets: what the issue and the design promise, by area.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping")]
#![expect(clippy::print_stdout, reason = "figures are for whoever asks for them")]

mod activation;
mod bad_input;
mod browser;
mod cli;
mod client_reload;
mod config;
mod drain;
mod ends;
mod faults;
mod floods;
mod front;
mod grpc_peers;
mod hostile;
mod http;
mod http2_cases;
mod http_peers;
mod https;
mod identity;
mod interim;
mod layering;
mod live;
mod memory;
mod mtls;
mod operators;
mod other_direction;
mod passthrough;
mod plugins;
mod ports;
mod push;
mod quick_start;
mod repo;
mod revisions;
mod run;
mod services;
mod sessions;
mod slow_streams;
mod stage;
mod state;
mod tcp;
mod upgrade;
mod websocket;
mod websocket_peers;
