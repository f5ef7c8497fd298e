//! Real `tunneld`, real `tunnelc`, real sockets: what the issue and the design promise, by area.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping")]

mod bad_input;
mod cli;
mod drain;
mod ends;
mod floods;
mod hostile;
mod http;
mod identity;
mod layering;
mod memory;
mod quick_start;
mod repo;
mod run;
mod sessions;
mod stage;
mod tcp;
mod websocket;
