//! What a configuration sets up, and how another one takes its place while the server runs (DESIGN 6, "Configuration").
//!
//! [`Running::prove`] makes all that is new of a document: it binds, reads certificates, makes services and plugins, asks the
//! members of groups. Nothing has changed then, and a [`Proven`] that is dropped gives back what it holds.
//! [`Running::switch`] can not fail: from then on requests find the new parts, those under way go on at the old ones, and
//! what is the same in both is the very same thing.
//!
//! | module | what it is |
//! |---|---|
//! | `running` | the whole, and the two steps |
//! | `proven` | what there is between them |
//! | `plan` | which listeners stay and which are to be bound; pure |
//! | `listener`, `listeners`, `serving` | a listener, all of them, and who takes in those that come |
//! | `operators` | what operators are shown at one |
//! | `keeping` | what a switch leaves to be written |
//! | `naming` | what follows from domain, `public_url` and `advertise` |

mod keeping;
mod listener;
mod listeners;
mod naming;
mod operators;
mod plan;
mod proven;
mod relaying;
mod role;
mod running;
mod runs;
mod serving;

#[cfg(test)]
mod tests;

pub(crate) use naming::key_names;
pub use plan::Overlap;
pub use proven::{Proven, Switched, Unproven};
pub(crate) use relaying::passed;
pub(crate) use running::{AtStart, Shared};
pub use running::{Running, Wishes};
pub(crate) use serving::Serving;
