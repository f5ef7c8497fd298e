//! For tests: a registry with principals, and clients that are logged in over pipes instead of TLS.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ops::drain::Drain;
use ops::metrics::Metrics;
use ops::spawn::{Placement, Spawner, Worker, Workers};
use ops::state_dir::{Program, StateDir};
use parking_lot::Mutex;
use policy::host::Host;
use policy::part::ServicePart;
use policy::principal::Principal;
use protocol::control::{CloseReason, Outcome, Registration, RegistrationKind};
use protocol::handshake::PeerLimits;
use protocol::id::{ClientId, CredentialId, InstanceId, SessionId, Slot};
use proxy::access::LogSink;
use proxy::context::{Context as DataPlane, Waits};
use proxy::plugin::Plugins;
use proxy::service::KnownServers;
use tokio::io::DuplexStream;
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;
use transport::login_key::LoginKey;
use transport::session::{Inbound, Liveness, ProcessBudget, Role, Session, SessionConfig, start};

use crate::identity::{DEFAULT, JoinMaker, Means, NewGrants, StateKey, Store};
use crate::nearby::Nearby;
use crate::registry::{Configured, Naming, NoRoom, Ports, Registry, WantedPart, WantedParts};
use crate::session::{Live, Login, Orders};
use crate::settings::PublicUrl;

/// What is bound for as long as this process is there.
static BOUND: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());

/// An address that is this process' alone, also while nobody listens there: a socket is bound to it that does not listen, so that
/// nobody gets it who asks for any port that is free, and whoever asks for this one does.
pub(crate) fn nobody() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    BOUND.lock().push(socket);
    address
}

pub(crate) struct World {
    pub(crate) registry: Arc<Registry>,
    pub(crate) identity: Arc<Store>,
    pub(crate) state: StateDir,
    pub(crate) spawner: Spawner,
    pub(crate) now: Instant,
    pub(crate) workers: Workers,
    /// The other ends of links: a client that is only there.
    peers: Mutex<Vec<DuplexStream>>,
    keys: Mutex<HashMap<String, LoginKey>>,
    _directory: Arc<tempfile::TempDir>,
}

/// Both ends of a link.
pub(crate) struct Linked {
    pub(crate) live: Arc<Live>,
    pub(crate) inbound: Inbound,
    pub(crate) orders: Orders,
    pub(crate) client: Session,
}

impl World {
    /// With the principals `default`, `bob` (host `bob`, port 2222, group `web`, two names, two sessions), and `eve` and
    /// `mallory` (nothing, and group `web`).
    pub(crate) fn new() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let world = Self::at(directory);
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let quotas = texts(&["names=2", "sessions=2"]);
        world.invite("bob", &texts(&["bob"]), &texts(&["2222"]), &texts(&["web"]), &quotas, None);
        world.invite("eve", &[], &[], &[], &[], None);
        world.invite("mallory", &[], &[], &texts(&["web"]), &[], None);
        let join = joins().keep_default(&world.state, &world.identity, SystemTime::now()).unwrap().unwrap();
        world.keys.lock().insert(DEFAULT.to_owned(), LoginKey::from_seed(join.secret.expose()).unwrap());
        world
    }

    /// The same state directory after a restart.
    pub(crate) fn restart(self) -> Self {
        let next = Self::at(self._directory.clone());
        next.registry.restore(&next.state, next.now).unwrap();
        next
    }

    fn at(directory: Arc<tempfile::TempDir>) -> Self {
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let flag = Some(directory.path().to_owned());
        let state = StateDir::resolve(Program::Tunneld, flag, |_| None).unwrap();
        let identity = Arc::new(Store::load(state.clone()).unwrap());
        let key = StateKey::load_or_create(&state).unwrap();
        let naming = Naming { domain: domain(), public_url: PublicUrl::plain(8080), key };
        let ports = Ports::new(
            Arc::default(),
            vec![IpAddr::from([127, 0, 0, 1])],
            CancellationToken::new(),
            Box::new(hold_port),
        );
        let metrics = Metrics::new("0");
        let registry = Arc::new(Registry::new(
            naming,
            Arc::new(nearby(&spawner, &workers)),
            identity.clone(),
            metrics,
            ports,
            SystemTime::now(),
        ));
        workers.block_on(async { registry.use_parts(registry.prepare_parts(parts()).await.unwrap()) });
        registry.use_names(registry.want_names(names(), false).unwrap());
        let (now, peers, keys) = (Instant::now(), Mutex::default(), Mutex::default());
        Self { registry, identity, state, spawner, now, workers, peers, keys, _directory: directory }
    }

    pub(crate) fn invite(
        &self,
        name: &str,
        hosts: &[String],
        ports: &[String],
        groups: &[String],
        quotas: &[String],
        expires: Option<SystemTime>,
    ) {
        let grants = NewGrants::parse(&domain(), hosts, ports, groups, &[], quotas).unwrap();
        let principal = Principal::parse(name).unwrap();
        let (mut credential, join) = joins().invite(principal, expires, false, SystemTime::now()).unwrap();
        credential.id.0 = CredentialId::parse(name).unwrap();
        self.keys.lock().insert(name.to_owned(), LoginKey::from_seed(join.secret.expose()).unwrap());
        self.identity.change(|book| book.invite(grants, credential)).unwrap();
    }

    /// A client that has logged in and got its session.
    pub(crate) fn client(&self, principal: &str, client: u8, instance: u8) -> Arc<Live> {
        self.session(principal, client, instance, 0, None)
    }

    pub(crate) fn session(
        &self,
        principal: &str,
        client: u8,
        instance: u8,
        slot: u16,
        replaces: Option<SessionId>,
    ) -> Arc<Live> {
        let login = login(principal, client, instance, slot, replaces);
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        self.peers.lock().push(theirs);
        let (link, _) = start(ours, config(Role::Server), &self.spawner, Worker(0));
        let admitted = self.registry.admit(&login).unwrap();
        let live = Arc::new(Live::new(admitted.id, admitted.generation, login, link).0);
        self.registry.attach(&live, self.now);
        live
    }

    /// A client with both ends of its link in hand.
    pub(crate) fn linked(&self, principal: &str) -> Linked {
        let login = login(principal, 1, 1, 0, None);
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (link, inbound) = start(ours, config(Role::Server), &self.spawner, Worker(0));
        let (client, _) = start(theirs, config(Role::Client), &self.spawner, Worker(0));
        let admitted = self.registry.admit(&login).unwrap();
        let (live, orders) = Live::new(admitted.id, admitted.generation, login, link);
        let live = Arc::new(live);
        self.registry.attach(&live, self.now);
        Linked { live, inbound, orders, client }
    }

    /// Signs as a principal does.
    pub(crate) fn with_key<T>(&self, principal: &str, sign: impl FnOnce(&LoginKey) -> T) -> T {
        sign(self.keys.lock().get(principal).unwrap())
    }

    /// Registers one tunnel; what it got, or the code it was refused with.
    pub(crate) fn register(&self, live: &Live, item: Registration) -> Result<String, String> {
        let answers = self.registry.register(live, vec![item], self.now);
        match answers.into_iter().next().unwrap().outcome {
            Outcome::Granted { public, .. } => Ok(public),
            Outcome::Refused { code, text } => Err(format!("{code}: {text}")),
        }
    }

    /// Time passes.
    pub(crate) fn after(&mut self, time: Duration) {
        self.now += time;
        self.registry.sweep(self.now, SystemTime::now());
    }
}

pub(crate) fn domain() -> Host {
    Host::parse("t.example.com").unwrap()
}

/// The host `rules.t.example.com` is a rule's, and the port 2200 a listener's.
fn names() -> Configured {
    Configured { hosts: [Host::parse("rules.t.example.com").unwrap()].into(), ports: [2200].into() }
}

/// Group `web`, with a service `app` and an ingress to `billing`, as revision 7.
fn parts() -> WantedParts {
    let part = serde_json::json!({
        "services": [{ "name": "app", "servers": [{ "address": "127.0.0.1:3000" }] }],
        "ingresses": [{ "listen": "127.0.0.1:9000", "kind": "http", "to": "billing" }],
    });
    wanted(7, &[("web", part)])
}

/// These groups, half of whose members must take their parts.
pub(crate) fn wanted(revision: u64, groups: &[(&str, serde_json::Value)]) -> WantedParts {
    let group = |(group, part): &(&str, serde_json::Value)| WantedPart {
        group: (*group).to_owned(),
        part: serde_json::from_value(part.clone()).unwrap(),
        min_ack: 50,
    };
    let groups = groups.iter().map(group).collect();
    WantedParts { groups, revision, ..WantedParts::default() }
}

/// With a service `billing` next to the server, where nobody listens.
fn nearby(spawner: &Spawner, workers: &Workers) -> Nearby {
    let context = DataPlane {
        spawner: spawner.clone(),
        metrics: Metrics::new("0"),
        sink: Arc::new(LogSink),
        drain: Drain::new(),
        drain_connections: true,
        waits: Waits::default(),
        servers: KnownServers::default(),
    };
    let part = serde_json::json!([{ "name": "billing", "servers": [{ "address": "127.0.0.1:9" }] }]);
    let parts: Vec<ServicePart> = serde_json::from_value(part).unwrap();
    let nearby = Nearby::new(context, ProcessBudget::new(1 << 30));
    let services = nearby.prepare(&parts, &Plugins::default()).unwrap();
    workers.block_on(nearby.get_ready(&services));
    nearby.use_services(services);
    nearby
}

pub(crate) fn joins() -> JoinMaker {
    JoinMaker { address: "127.0.0.1:7443".parse().unwrap(), pin: protocol::join::Pin([7; 32]) }
}

pub(crate) fn http(id: u32, host: &str) -> Registration {
    let host = Some(host.to_owned()).filter(|host| !host.is_empty());
    Registration {
        id,
        name: "web".to_owned(),
        kind: RegistrationKind::Http { host },
        group: None,
        allow: vec![],
    }
}

pub(crate) fn tcp(id: u32, port: Option<u16>) -> Registration {
    let kind = RegistrationKind::Tcp { port };
    Registration { id, name: "ssh".to_owned(), kind, group: None, allow: vec![] }
}

pub(crate) fn grouped(mut item: Registration, group: &str) -> Registration {
    item.group = Some(group.to_owned());
    item
}

/// Why a session was cut, if it was.
pub(crate) fn cut(live: &Live) -> Option<CloseReason> {
    futures_util::FutureExt::now_or_never(live.was_cut()).map(|close| close.reason)
}

fn login(principal: &str, client: u8, instance: u8, slot: u16, replaces: Option<SessionId>) -> Login {
    Login {
        principal: Principal::parse(principal).unwrap(),
        means: Means::of_key(CredentialId::parse(principal).unwrap()),
        expires: None,
        client: ClientId([client; 16]),
        instance: InstanceId([instance; 16]),
        slot: Slot(slot),
        replaces,
        name: "laptop".to_owned(),
        agent: "test/0".to_owned(),
        peer: "127.0.0.1:1".parse().unwrap(),
        takes_parts: true,
    }
}

fn config(role: Role) -> SessionConfig {
    SessionConfig {
        role,
        peer: PeerLimits { max_substreams: 16, ..PeerLimits::OURS },
        liveness: Arc::new(Liveness::new()),
        dead_after: Duration::from_secs(15),
        early: Bytes::new(),
        budget: ProcessBudget::new(1 << 30),
    }
}

/// Keeps the sockets of a port open until it is given back.
fn hold_port(
    _: u16,
    sockets: Vec<Arc<std::net::TcpListener>>,
    closed: CancellationToken,
) -> Result<(), NoRoom> {
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(closed.cancelled());
        drop(sockets);
    });
    Ok(())
}
