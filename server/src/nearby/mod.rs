//! Services next to the server: what clients reach in the other direction, and what rules lead to without a client.
//!
//! A visitor of the server comes to them by the same pipeline as to a client's services: over a session of its own, both ends
//! of which are in this process, over memory instead of TLS. There is one per worker, so that nothing leaves its core.

mod within;

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::part::ServicePart;
use protocol::service_name::ServiceName;
use proxy::context::Context;
use proxy::directory::Target;
use proxy::plugin::Plugins;
use proxy::service::{Offer, Service, ServiceError, ServiceTable, labels_of};
use transport::session::ProcessBudget;

use within::Within;

/// The services next to the server.
#[derive(Debug)]
pub struct Nearby {
    table: Arc<ServiceTable>,
    names: BTreeSet<String>,
    within: Vec<Arc<Within>>,
    context: Context,
}

impl Nearby {
    /// The services of these parts, whose plugins are in `plugins`. Nothing is dialled before somebody asks.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(
        parts: &[ServicePart],
        plugins: &Plugins,
        context: Context,
        budget: &Arc<ProcessBudget>,
    ) -> Result<Self, ServiceError> {
        let table = Arc::new(ServiceTable::new());
        for part in parts {
            let plugins = plugins.chain(&part.plugins)?;
            let labels = labels_of("", &part.name, &context);
            let service = Service::new(part, Offer::Configured, labels, None, &context)?;
            table.insert(ServiceName::Plain(part.name.clone()), Arc::new(service.plugged(plugins)));
        }
        let names: BTreeSet<String> = parts.iter().map(|part| part.name.clone()).collect();
        let workers = if names.is_empty() { 0 } else { context.spawner.workers() };
        let within = (0..workers).map(|worker| Within::start(worker, &table, &context, budget));
        Ok(Self { within: within.collect(), names, table, context })
    }

    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.table.get(&ServiceName::Plain(name.to_owned()))
    }

    /// The plugins that requests for the service go through.
    #[must_use]
    pub fn plugins(&self, name: &str) -> Vec<String> {
        let service = self.service(name);
        service.map_or_else(Vec::new, |service| service.plugin_names().map(str::to_owned).collect())
    }

    /// What the data plane of this end shares.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Where substreams to the service can be opened, the worker that asks first; nowhere if there is no such service.
    #[must_use]
    pub fn targets(&self, name: &str) -> Vec<Target> {
        if !self.names.contains(name) {
            return Vec::new();
        }
        let here = self.context.spawner.here().0;
        let (before, from_here) = self.within.split_at(here.min(self.within.len()));
        let sessions = from_here.iter().chain(before).filter_map(|within| within.session());
        Target::next_to_the_server(name, sessions)
    }
}
