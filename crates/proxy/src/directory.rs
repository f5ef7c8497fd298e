//! Who serves a public name or port: asked by the ingresses, answered by whoever keeps the registrations.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use ops::metrics::RouteMetrics;
use policy::host::Host;
use policy::rule::Asked;
use protocol::id::InstanceId;
use protocol::service_name::ServiceName;
use tokio::sync::watch;
use transport::session::{OpenError, Session, Substream};

use crate::fitness::Fitness;
use crate::plugin::Chain;
use crate::rule_answer::RuleAnswer;
use crate::treatment::Treatment;

/// Where public names lead. Asked once per request or connection, so its answers are cheap: nothing in them is made for
/// the asking but the list of targets.
pub trait Directory: Send + Sync + 'static {
    /// Who serves the request `asked`.
    fn http(&self, asked: &Asked<'_>) -> Lookup;

    /// Who serves a connection that is relayed as it is.
    fn connection(&self, asked: &Connecting<'_>) -> Lookup;

    /// Whether the TLS of visitors who ask for `host` at the listener of this address ends at a service, so that nobody but
    /// [`connection`](Self::connection) may answer them.
    fn passes(&self, listener: SocketAddr, host: &Host) -> bool {
        let _ = (listener, host);
        false
    }

    /// Changes whenever an answer may have changed, so that a visitor can wait for a member.
    fn changed(&self) -> watch::Receiver<u64>;
}

/// A visitor's connection whose bytes are relayed as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connecting<'a> {
    /// What the visitor connected to.
    pub to: &'a Public,
    /// The visitor's address.
    pub client: IpAddr,
}

/// Where connections come in that are relayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Public {
    /// A port that clients have registered.
    Port(u16),
    /// A listener of the configuration, by its address as bound.
    Listener(SocketAddr),
    /// The same, where the name that TLS asks for decides.
    Tls(SocketAddr, Host),
}

impl Public {
    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Port(port) => *port,
            Self::Listener(address) | Self::Tls(address, _) => address.port(),
        }
    }

    /// The name that TLS asked for.
    #[must_use]
    pub const fn host(&self) -> Option<&Host> {
        match self {
            Self::Tls(_, host) => Some(host),
            Self::Port(_) | Self::Listener(_) => None,
        }
    }
}

/// What a directory knows of what it was asked for.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// Members that serve it.
    Found(Route),
    /// It is reserved or configured, and nobody is there who could serve it. Its plugins see who asks all the same.
    Reserved(RouteLabels, Chain),
    /// It is answered at the ingress, if the plugins let it pass.
    Answer(RouteLabels, Arc<RuleAnswer>, Chain),
    /// Nobody has it.
    Unknown,
}

/// How a route is called in logs and metrics: names of tunnels and rules, never a raw host or path.
#[derive(Debug, Clone)]
pub struct RouteLabels {
    /// The rule or tunnel.
    pub route: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// The service within it.
    pub service: Arc<str>,
    /// The metrics of these three, looked up once.
    pub metrics: RouteMetrics,
}

/// Where a request or a connection may go.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its names.
    pub labels: RouteLabels,
    /// The members, best first.
    pub targets: Vec<Target>,
    /// Which visitors may come; empty: all.
    pub allow: Arc<[IpNet]>,
    /// The plugins that its requests go through.
    pub plugins: Chain,
    /// What a rule wants done with requests; none: they pass as they are.
    pub treatment: Option<Arc<Treatment>>,
    /// A relayed connection without a byte for so long is closed; none: never.
    pub idle_timeout: Option<Duration>,
}

impl Route {
    /// Whether a visitor from `address` may come.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&address))
    }
}

/// One place where a substream can be opened.
#[derive(Debug, Clone)]
pub struct Target {
    /// The member.
    pub member: InstanceId,
    /// Its name for people.
    pub member_name: Arc<str>,
    /// The least busy of its sessions.
    pub session: Session,
    /// What to ask for there.
    pub service: Arc<ServiceName>,
    /// Its names, where they are not those of the route: of a further target of the same rule.
    pub labels: Option<Arc<RouteLabels>>,
    /// Hears what becomes of it.
    pub fitness: Fitness,
    /// Whose it is carries as much as it may: no substream is opened.
    pub over_quota: bool,
}

impl Target {
    /// Opens a substream whose first bytes these are.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, first: Bytes) -> Result<Substream, OpenError> {
        if self.over_quota { Err(OpenError::Full) } else { self.session.open(first) }
    }

    /// A `service` next to the server, over each of these sessions.
    #[must_use]
    pub fn next_to_the_server(service: &str, sessions: impl IntoIterator<Item = Session>) -> Vec<Self> {
        let service = Arc::new(ServiceName::Plain(service.to_owned()));
        let member_name: Arc<str> = "server".into();
        let target = |session| Self {
            // Which of its processes it is nobody needs to know: all sessions lead to the same one.
            member: InstanceId([0; 16]),
            member_name: member_name.clone(),
            session,
            service: service.clone(),
            labels: None,
            fitness: Fitness::default(),
            over_quota: false,
        };
        sessions.into_iter().map(target).collect()
    }
}
