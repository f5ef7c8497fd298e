//! What a service as it is configured would dial, and what it is called.

use std::sync::Arc;

use policy::part::ServicePart;

use super::{Address, AddressError, ServiceTarget};
use crate::context::Context;
use crate::directory::RouteLabels;

/// Everything that a service of `part` would dial.
///
/// # Errors
/// An address that is none.
pub fn dialled(part: &ServicePart) -> Result<Vec<Address>, AddressError> {
    part.servers.iter().map(|server| Ok(ServiceTarget::parse_http(&server.address)?.address)).collect()
}

/// How a service of a group, or with no group one next to the server, is called in logs and metrics.
#[must_use]
pub fn labels_of(group: &str, service: &str, context: &Context) -> RouteLabels {
    let name: Arc<str> = service.into();
    let metrics = context.metrics.route(service, group, service);
    RouteLabels { route: name.clone(), group: group.into(), service: name, metrics }
}
