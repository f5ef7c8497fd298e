//! The services of one configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::part::ServicePart;
use proxy::context::Context;
use proxy::plugin::Plugins;
use proxy::service::{Offer, Service, ServiceError, labels_of};

/// The services of one configuration, by name.
#[derive(Debug, Default)]
pub struct Services(BTreeMap<String, Made>);

#[derive(Debug)]
struct Made {
    part: ServicePart,
    service: Arc<Service>,
}

impl Services {
    /// Those of `parts`. What is described as in `before`, with the same plugins, is the same service.
    pub(super) fn after(
        before: &Self,
        parts: &[ServicePart],
        plugins: &Plugins,
        context: &Context,
    ) -> Result<Self, ServiceError> {
        let mut services = BTreeMap::new();
        for part in parts {
            let chain = plugins.chain(&part.plugins)?;
            let known = before.0.get(&part.name);
            let known = known.filter(|known| known.part == *part && known.service.goes_through(&chain));
            let service = match known {
                Some(known) => known.service.clone(),
                None => {
                    let labels = labels_of("", &part.name, context);
                    let service = Service::new(part, Offer::Configured, labels, None, context)?;
                    Arc::new(service.plugged(chain))
                }
            };
            services.insert(part.name.clone(), Made { part: part.clone(), service });
        }
        Ok(Self(services))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Service>)> {
        self.0.iter().map(|(name, made)| (name.as_str(), &made.service))
    }

    /// The service of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Service>> {
        self.0.get(name).map(|made| &made.service)
    }
}
