//! Where tasks start: the one spawner, which places, counts and contains them (DESIGN 3, "Placement").
//!
//! By default there is one current-thread runtime per worker thread, so that a session and
//! everything it carries stay on one core. [`Placement::MultiThread`] is the alternative it is
//! measured against; callers see the same [`Worker`]s either way.

mod census;
mod placement;
mod spawner;
mod task;
mod worker;
mod workers;

pub use placement::{Placement, UnknownPlacement};
pub use spawner::Spawner;
pub use task::{Task, TaskEnd};
pub use worker::Worker;
pub use workers::Workers;
