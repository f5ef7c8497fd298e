//! The rules of the server, and where its relayed connections go, ready for use: replaced as a whole, read by every request without a lock.

use std::collections::HashMap;
use std::sync::Arc;

use ops::metrics::Metrics;
use policy::balance::Balance;
use policy::rule::{Rule, Table};
use proxy::plugin::Plugins;
use proxy::routes::{RouteError, Routes};

use super::relays::Relays;

/// Rules, and how groups balance.
#[derive(Debug, Default)]
pub struct Routing {
    revision: u64,
    routes: Routes,
    balances: HashMap<Arc<str>, Balance>,
    relays: Relays,
}

impl Routing {
    /// Routes by `rules`, whose plugins are in `plugins`; a group that is not in `balances` balances in turns.
    ///
    /// # Errors
    /// What is wrong with each rule that can not be followed.
    pub fn new(
        rules: Vec<Rule>,
        balances: HashMap<Arc<str>, Balance>,
        plugins: &Plugins,
        metrics: &Metrics,
    ) -> Result<Self, Vec<RouteError>> {
        let routes = Routes::new(rules, "", plugins, metrics)?;
        Ok(Self { revision: 0, routes, balances, relays: Relays::default() })
    }

    /// The same, of the configuration with this number.
    #[must_use]
    pub fn of_revision(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// The number of the configuration; 0 without one.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The same, with listeners whose connections are relayed.
    #[must_use]
    pub fn with_relays(self, relays: Relays) -> Self {
        Self { relays, ..self }
    }

    /// Where the connections of configured listeners go.
    #[must_use]
    pub const fn relays(&self) -> &Relays {
        &self.relays
    }

    /// The rules.
    #[must_use]
    pub const fn table(&self) -> &Table {
        self.routes.table()
    }

    /// How the members of `group` share its load.
    #[must_use]
    pub fn balance(&self, group: &str) -> &Balance {
        const DEFAULT: &Balance = &Balance::RoundRobin;
        self.balances.get(group).unwrap_or(DEFAULT)
    }

    pub(super) const fn routes(&self) -> &Routes {
        &self.routes
    }
}
