//! What went wrong in other implementations: for each, that it does not here, and where it shows at once, that it does in
//! the crate.

mod endings;
mod memory;
mod opening;
mod progress;
mod session;
mod stuck;
mod windows;
