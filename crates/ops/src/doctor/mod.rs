//! What `doctor` of both programs is made of: findings, each with what to do, and the checks that they share.

mod clock;
mod files;
mod finding;
mod visit;

pub use clock::{against, clock};
pub use files::{descriptors, state};
pub use finding::{Findings, Verdict};
pub use visit::{Page, VisitError, visit};
