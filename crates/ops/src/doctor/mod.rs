//! What `doctor` of both programs is made of: findings, each with what to do, and the checks that they share.

mod clock;
mod files;
mod finding;
mod visit;

pub use clock::{against, clock};
pub use files::{descriptors, state};
pub use finding::{Findings, Verdict};
pub use visit::{Page, VisitError, visit};

use std::fmt::Display;

use crate::cli::Exit;

/// The end of a doctor whom the system gives no threads or no files to look with.
pub fn cannot_begin(error: impl Display) -> Exit {
    Exit::failed(format_args!(
        "{error}; the system gives this program too little to begin with: see `ulimit -n` (open files, 1024 are few) and `ulimit -u` (tasks)"
    ))
}
