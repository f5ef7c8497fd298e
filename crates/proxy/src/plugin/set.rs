//! The plugins of a configuration, by name.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Chain, Seat};
use crate::context::Context;

/// The plugins of a configuration, by name.
#[derive(Debug, Default)]
pub struct Plugins {
    seats: HashMap<Arc<str>, Arc<Seat>>,
}

/// Plugins that can not be used as they are named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginsError {
    /// Two of one name.
    #[error("there are two plugins called {0:?}")]
    Twice(Arc<str>),
    /// A rule names one that is not there.
    #[error("there is no plugin called {name:?}{hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
}

impl Plugins {
    /// Adds a plugin.
    ///
    /// # Errors
    /// There is one of its name.
    pub fn add(&mut self, seat: Seat) -> Result<(), PluginsError> {
        if self.seats.contains_key(&seat.name) {
            return Err(PluginsError::Twice(seat.name));
        }
        self.seats.insert(seat.name.clone(), Arc::new(seat));
        Ok(())
    }

    /// The plugins that a rule names, in its order.
    ///
    /// # Errors
    /// The first name that nobody has.
    pub fn chain<N: AsRef<str>>(&self, names: &[N]) -> Result<Chain, PluginsError> {
        let seat = |name: &N| {
            let name = name.as_ref();
            self.seats.get(name).cloned().ok_or_else(|| PluginsError::Unknown {
                name: name.to_owned(),
                hint: ops::cli::did_you_mean(name, self.seats.keys().map(|name| &**name)),
            })
        };
        Ok(Chain::new(names.iter().map(seat).collect::<Result<_, _>>()?))
    }

    /// They will be called from now on. To be called before the first request goes through one of their chains.
    pub fn start(&self, context: &Context) {
        self.seats.values().for_each(|seat| seat.start(context));
    }
}
