//! Services next to the server: what clients reach in the other direction, and what rules lead to without a client.
//!
//! A visitor of the server comes to them by the same pipeline as to a client's services: over a session of its own, both ends
//! of which are in this process, over memory instead of TLS. There is one per worker, so that nothing leaves its core.
//!
//! Another configuration has other services; what is the same in both stays as it is.

mod services;
mod within;

pub use services::Services;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use policy::part::ServicePart;
use protocol::service_name::ServiceName;
use proxy::context::Context;
use proxy::directory::Target;
use proxy::plugin::Plugins;
use proxy::service::{Service, ServiceError, ServiceTable};
use tokio::time::{sleep, timeout};
use transport::session::ProcessBudget;

use within::Within;

/// How long the sessions within the process may take to be there.
const UP: Duration = Duration::from_secs(5);
/// A service that the configuration has no more serves requests for so long that were on their way to it.
const ON_THE_WAY: Duration = Duration::from_secs(5);

/// The services next to the server.
#[derive(Debug)]
pub struct Nearby {
    /// What visitors come to: also services that are gone, while requests may be on their way to them.
    table: Arc<ServiceTable>,
    services: ArcSwap<Services>,
    /// Started as soon as there is a service.
    within: ArcSwap<Vec<Arc<Within>>>,
    starting: Mutex<()>,
    context: Context,
    budget: Arc<ProcessBudget>,
}

impl Nearby {
    /// No services yet.
    #[must_use]
    pub fn new(context: Context, budget: Arc<ProcessBudget>) -> Self {
        Self {
            table: Arc::new(ServiceTable::new()),
            services: ArcSwap::default(),
            within: ArcSwap::default(),
            starting: Mutex::new(()),
            context,
            budget,
        }
    }

    /// The services of these parts, whose plugins are in `plugins`; those that are the same already are the very same ones.
    /// Nothing is dialled before somebody asks, but for probes.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn prepare(&self, parts: &[ServicePart], plugins: &Plugins) -> Result<Services, ServiceError> {
        Services::after(&self.services.load(), parts, plugins, &self.context)
    }

    /// Starts what visitors need to come to `services`, and waits for it.
    pub async fn get_ready(&self, services: &Services) {
        if services.is_empty() {
            return;
        }
        let within = self.started();
        let up = async {
            for within in within.iter() {
                within.up().await;
            }
        };
        if timeout(UP, up).await.is_err() {
            tracing::warn!("the sessions to services next to the server take their time");
        }
    }

    /// From now on there are these services.
    pub fn use_services(&self, services: Services) {
        for (name, service) in services.iter() {
            self.table.insert(ServiceName::Plain(name.to_owned()), service.clone());
        }
        let before = self.services.swap(Arc::new(services));
        let now = self.services.load_full();
        let gone = before.iter().filter(|(name, _)| now.get(name).is_none());
        let gone: Vec<_> = gone.map(|(name, service)| (name.to_owned(), Arc::downgrade(service))).collect();
        drop(before);
        if gone.is_empty() {
            return;
        }
        let table = self.table.clone();
        let spawner = &self.context.spawner;
        spawner.spawn(spawner.here(), "retire services", async move {
            sleep(ON_THE_WAY).await;
            for (name, service) in gone {
                let name = ServiceName::Plain(name);
                // It may have come back in the meantime, as another one.
                if table.get(&name).is_some_and(|known| Arc::downgrade(&known).ptr_eq(&service)) {
                    table.remove(&name);
                }
            }
        });
    }

    /// The services that there are.
    #[must_use]
    pub fn services(&self) -> Guard<Arc<Services>> {
        self.services.load()
    }

    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.load().get(name).cloned()
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

    /// Where substreams to the service can be opened, the worker that asks first; nowhere if there is no such service, or all of
    /// its servers are out of service.
    #[must_use]
    pub fn targets(&self, name: &str) -> Vec<Target> {
        if self.services.load().get(name).is_none_or(|service| service.is_disabled()) {
            return Vec::new();
        }
        let here = self.context.spawner.here().0;
        let within = self.within.load();
        let (before, from_here) = within.split_at(here.min(within.len()));
        let sessions = from_here.iter().chain(before).filter_map(|within| within.session());
        Target::next_to_the_server(name, sessions)
    }

    fn started(&self) -> Arc<Vec<Arc<Within>>> {
        let _one = self.starting.lock();
        if self.within.load().is_empty() {
            let workers = 0..self.context.spawner.workers();
            let start = |worker| Within::start(worker, &self.table, &self.context, &self.budget);
            self.within.store(Arc::new(workers.map(start).collect()));
        }
        self.within.load_full()
    }
}
