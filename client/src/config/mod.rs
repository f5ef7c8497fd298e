//! `tunnelc.toml` (INTERFACE): read in one go, with everything that is wrong reported at once.

mod file;
mod forward;
mod plugin;
mod tunnel;

pub use file::{FileConfig, load, load_again};
pub use ops::config::ConfigError;
