//! The command line of both programs: argh, with what it lacks.
//!
//! argh knows neither `--key=value` nor options of the program behind the subcommand, eats a lone
//! `-`, panics on a closed pipe and exits 1 for wrong usage. [`parse()`] puts the words in the order
//! that argh understands and turns everything it says into an [`Exit`]. What a program may say
//! before it has logs goes through [`print`](fn@print) and [`print_error`].

mod arrange;
mod exit;
mod parse;
mod print;
mod suggest;
mod version;

pub use exit::{Exit, ExitCode};
pub use parse::{parse, usage};
pub use print::{print, print_error};
pub use suggest::{closest, did_you_mean};
pub use version::version;
