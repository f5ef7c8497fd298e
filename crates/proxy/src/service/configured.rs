//! A service as it is configured, made ready to be reached.

use std::sync::Arc;

use http::HeaderValue;
use policy::part::{HealthCheck, HealthKind, ServerBalance, ServerPart, ServicePart};
use policy::server_health::Standing;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::link::Link;
use super::probe::probe_for_ever;
use super::server::Server;
use super::servers::{Servers, Share};
use super::trust::{ServerTls, TrustError};
use super::{AddressError, ServerStanding, ServiceTarget, Speech, grpc_health};
use crate::context::Context;
use crate::directory::RouteLabels;
use crate::plugin::{Chain, PluginsError};

/// A service and how it is reached. It is probed, if that is configured, until it is dropped.
#[derive(Debug)]
pub struct Service {
    /// What it is called in logs and metrics of this end.
    pub labels: RouteLabels,
    offer: Offer,
    set_host: Option<HeaderValue>,
    plugins: Chain,
    servers: Arc<Servers>,
    /// Ends the probes.
    _gone: DropGuard,
}

/// What may be asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Requests.
    Http,
    /// Connections.
    Tcp,
    /// Requests; and connections, if no server has a scheme.
    Configured,
}

/// Why a service can not be reached as it is configured. Whoever wrote it is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// No servers.
    #[error("the service {0:?} has no server")]
    NoServer(String),
    /// Not a TARGET.
    #[error("{0}")]
    Address(#[from] AddressError),
    /// TLS as it is written can not be.
    #[error("{address}: {problem}")]
    Tls {
        /// Of which server.
        address: String,
        /// What is wrong.
        problem: TrustError,
    },
    /// A probe that can not be.
    #[error("`health`: {0}")]
    Health(&'static str),
    /// Plugins that it can not have.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
}

impl Service {
    /// The service that `part` describes, for requests and connections. `set_host` replaces the visitor's `Host`.
    ///
    /// # Errors
    /// What is wrong with `part`.
    pub fn new(
        part: &ServicePart,
        offer: Offer,
        labels: RouteLabels,
        set_host: Option<HeaderValue>,
        context: &Context,
    ) -> Result<Self, ServiceError> {
        let metrics = context.metrics.service(&labels.group, &labels.service);
        let share = |part: &ServerPart| {
            let link = link(part, offer, context)?;
            let made = |link| Server::new(link, &context.spawner, &metrics);
            let server = context.servers.get_or_make((&labels.group, &labels.service), part, link, made);
            Ok::<_, ServiceError>(Share { server, weight: part.weight })
        };
        let mut shares = part.servers.iter().map(share).collect::<Result<Vec<_>, _>>()?.into_iter();
        let Some(first) = shares.next() else { return Err(ServiceError::NoServer(part.name.clone())) };
        let others: Vec<_> = shares.collect();
        let is_raw = |share: &Share| share.server.link.target.speech == Speech::Plain;
        let raw = std::iter::once(&first).chain(&others).all(is_raw);
        let offer = if offer == Offer::Configured && !raw { Offer::Http } else { offer };
        let health = part.health.as_ref().map(checked).transpose()?;
        let gone = CancellationToken::new();
        let servers = Arc::new(Servers::new(
            first,
            others,
            part.balance,
            metrics,
            &context.spawner,
            gone.clone(),
            health.is_some(),
        ));
        if let Some(check) = health {
            for index in 0..part.servers.len() {
                let probing = probe_for_ever(servers.clone(), index, check.clone(), context.spawner.clone());
                let (gone, now) = (gone.clone(), context.drain.now.clone());
                let worker = context.spawner.next_worker();
                context.spawner.spawn(worker, "probes", async move {
                    tokio::select! {
                        () = gone.cancelled() => {}
                        () = now.cancelled() => {}
                        () = probing => {}
                    }
                });
            }
        }
        Ok(Self { labels, offer, set_host, plugins: Chain::default(), servers, _gone: gone.drop_guard() })
    }

    /// The same, whose requests go through `plugins` first. Connections would not: they are not taken then.
    #[must_use]
    pub fn plugged(self, plugins: Chain) -> Self {
        let offer = if plugins.is_empty() { self.offer } else { Offer::Http };
        Self { plugins, offer, ..self }
    }

    /// A service for HTTP requests at one place. `set_host` replaces the visitor's `Host`.
    ///
    /// # Errors
    /// TLS can not be set up: the system has no roots.
    pub fn http(
        labels: RouteLabels,
        target: &ServiceTarget,
        set_host: Option<HeaderValue>,
        context: &Context,
    ) -> Result<Self, ServiceError> {
        Self::new(&at(target, &labels), Offer::Http, labels, set_host, context)
    }

    /// A service for raw bytes at one place.
    ///
    /// # Errors
    /// `target` has a scheme.
    pub fn tcp(labels: RouteLabels, target: &ServiceTarget, context: &Context) -> Result<Self, ServiceError> {
        Self::new(&at(target, &labels), Offer::Tcp, labels, None, context)
    }

    /// Where its servers listen, and what they speak.
    pub fn targets(&self) -> impl Iterator<Item = &ServiceTarget> {
        self.servers.iter().map(|server| &server.link.target)
    }

    /// How each of its servers is, in order.
    #[must_use]
    pub fn standings(&self) -> Vec<ServerStanding> {
        self.servers.standings()
    }

    /// Takes those of its servers out of service whose address, as [`Service::targets`] says it, `is_disabled`, and the others
    /// into it. What they carry goes on.
    pub fn disable(&self, is_disabled: impl Fn(&str) -> bool) {
        self.servers.disable(is_disabled);
    }

    /// Whether all of its servers are out of service, so that nobody is to be sent there.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.servers.are_disabled()
    }

    /// How fit each of its servers is, by its address; nothing if nobody finds out.
    #[must_use]
    pub fn judged(&self) -> Vec<(String, Standing)> {
        self.servers.judged()
    }

    /// The names of the plugins that its requests go through, in order.
    pub fn plugin_names(&self) -> impl Iterator<Item = &str> {
        self.plugins.names()
    }

    /// Whether its requests go through the very plugins of `chain`.
    #[must_use]
    pub fn goes_through(&self, chain: &Chain) -> bool {
        self.plugins.is_same(chain)
    }

    /// Whether requests may be asked of it.
    pub(crate) fn takes_requests(&self) -> bool {
        self.offer != Offer::Tcp
    }

    /// Whether connections may be asked of it.
    pub(crate) fn takes_connections(&self) -> bool {
        self.offer != Offer::Http
    }

    /// What replaces the visitor's `Host`.
    pub(crate) const fn set_host(&self) -> Option<&HeaderValue> {
        self.set_host.as_ref()
    }

    /// What its requests go through before it is asked.
    pub(crate) const fn plugins(&self) -> &Chain {
        &self.plugins
    }

    pub(crate) const fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }
}

fn at(target: &ServiceTarget, labels: &RouteLabels) -> ServicePart {
    let server = ServerPart { address: target.to_string(), weight: 1, tls: None, send_proxy: None };
    ServicePart {
        name: labels.service.to_string(),
        servers: vec![server],
        balance: ServerBalance::default(),
        health: None,
        plugins: Vec::new(),
    }
}

/// How a server is connected to.
fn link(part: &ServerPart, offer: Offer, context: &Context) -> Result<Link, ServiceError> {
    let target = match offer {
        Offer::Tcp => ServiceTarget::parse_tcp(&part.address)?,
        Offer::Http | Offer::Configured => ServiceTarget::parse_http(&part.address)?,
    };
    let problem = |problem| ServiceError::Tls { address: part.address.clone(), problem };
    let tls = match (target.speech, &part.tls) {
        (Speech::Https, tls) => Some(ServerTls::new(&target.address, tls.as_ref()).map_err(problem)?),
        (_, None) => None,
        (_, Some(_)) => return Err(problem(TrustError::NotHttps)),
    };
    Ok(Link { target, tls, send_proxy: part.send_proxy, waits: context.waits.clone() })
}

fn checked(check: &HealthCheck) -> Result<HealthCheck, ServiceError> {
    let path = check.path.as_deref();
    if check.interval_ms == 0 || check.timeout_ms == 0 || check.rise == 0 || check.fall == 0 {
        return Err(ServiceError::Health("interval, timeout, rise and fall are above 0"));
    }
    match check.kind {
        HealthKind::Http if !path.is_none_or(|path| path.starts_with('/')) => {
            Err(ServiceError::Health("the path of a probe starts with /"))
        }
        HealthKind::Grpc if path.is_some_and(|service| service.len() > grpc_health::SERVICE_MAX) => {
            Err(ServiceError::Health("the service that a probe asks for has at most 120 bytes"))
        }
        _ => Ok(check.clone()),
    }
}
