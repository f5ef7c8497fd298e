//! The plugins of a configuration, by name.

use std::collections::HashMap;
use std::sync::Arc;

use policy::part::PluginPart;

use super::{Chain, Kinds, NotBuilt, Seat, lacking};
use crate::context::Context;
use crate::service::Address;

/// The plugins of a configuration, by name.
#[derive(Debug, Default)]
pub struct Plugins {
    seats: HashMap<Arc<str>, Arc<Seat>>,
    /// What they were made of, where that is known.
    parts: Vec<PluginPart>,
}

/// Plugins that can not be used as they are named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginsError {
    /// Two of one name.
    #[error("there are two plugins called {0:?}")]
    Twice(Arc<str>),
    /// One that can not be made.
    #[error("plugin {name:?}: {error}")]
    NotBuilt {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        error: NotBuilt,
    },
    /// One is named that is not there.
    #[error("there is no plugin called {name:?}{hint}")]
    Unknown {
        /// The name.
        name: String,
        /// What may have been meant.
        hint: String,
    },
}

impl Plugins {
    /// Those that `parts` describe, of `kinds`. None of them is started.
    ///
    /// # Errors
    /// The first that can not be made.
    pub fn of(parts: &[PluginPart], kinds: &Kinds) -> Result<Self, PluginsError> {
        Self::after(&Self::default(), parts, kinds)
    }

    /// The same, where `before` were those of the configuration before: what is described as it was is the same plugin, with
    /// all that it remembers.
    ///
    /// # Errors
    /// The first that can not be made.
    pub fn after(before: &Self, parts: &[PluginPart], kinds: &Kinds) -> Result<Self, PluginsError> {
        let mut plugins = Self { parts: parts.to_vec(), ..Self::default() };
        for part in parts {
            let known = before.parts.contains(part).then(|| before.seats.get(part.name.as_str())).flatten();
            if let Some(seat) = known {
                plugins.insert(seat.clone())?;
                continue;
            }
            if part.lacks.is_some() {
                plugins.add(lacking::seat(&part.name, &part.kind))?;
                continue;
            }
            let built = kinds.build(&part.name, &part.kind, part.settings.clone());
            plugins.add(built.map_err(|error| PluginsError::NotBuilt { name: part.name.clone(), error })?)?;
        }
        Ok(plugins)
    }

    /// Everything that they connect to.
    pub fn dials(&self) -> impl Iterator<Item = Address> {
        self.seats.values().flat_map(|seat| seat.plugin.dials())
    }

    /// Adds a plugin.
    ///
    /// # Errors
    /// There is one of its name.
    pub fn add(&mut self, seat: Seat) -> Result<(), PluginsError> {
        self.insert(Arc::new(seat))
    }

    fn insert(&mut self, seat: Arc<Seat>) -> Result<(), PluginsError> {
        if self.seats.contains_key(&seat.name) {
            return Err(PluginsError::Twice(seat.name.clone()));
        }
        self.seats.insert(seat.name.clone(), seat);
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
