//! Pure decisions: names, grants, ownership, balancing, retries, back-off, throttling.
//!
//! Nothing here opens a socket, reads a clock or starts a task. The time, randomness and facts that a
//! decision needs are its arguments, which is what makes its laws testable.

pub mod admission;
pub mod backoff;
pub mod balance;
pub mod consent;
pub mod disabled;
pub mod grant;
pub mod group;
pub mod host;
pub mod host_pattern;
pub mod moving;
pub mod open_rate;
pub mod ownership;
pub mod part;
pub mod port;
pub mod port_pick;
pub mod principal;
pub mod reserved;
pub mod retry;
pub mod retry_budget;
pub mod revision;
pub mod rule;
pub mod server_choice;
pub mod server_health;
pub mod subdomain;
pub mod throttle;
pub mod weighted;
mod written;
