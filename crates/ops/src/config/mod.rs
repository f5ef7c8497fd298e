//! Configuration files: TOML that is read key by key, with everything that is wrong reported at once, each with its place.
//! What the keys mean is the programs' affair.

mod checked;
mod expand;
mod file;
mod placed;
mod problem;
mod report;
mod section;
mod value;

pub use checked::{Mistake, Wrong, good};
pub use file::{ConfigError, Report, TEXT_MAX, interpret, load, load_text, read, read_text};
pub use placed::{Placed, Span};
pub use problem::{Lack, Problem, Problems};
pub use section::{Scope, Section};
pub use value::Value;
