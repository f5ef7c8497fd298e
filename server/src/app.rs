//! How the server is put together. Everything that is shared is made here, from top to bottom, and everything that runs
//! is started here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use ops::admin::{self, AdminSocket, SOCKET};
use ops::cli::Exit;
use ops::drain::Drain;
use ops::log::{LogFormat, LogGuard, LogOptions};
use ops::metrics::Metrics;
use ops::ops_listener;
use ops::signals::{Hangups, Shutdown};
use ops::spawn::{Placement, Spawner, Task};
use ops::state_dir::{LockError, Program, StateDir};
use protocol::join::JoinString;
use proxy::access::LogSink;
use proxy::concurrency::Limits;
use proxy::context::Context as DataPlane;
use proxy::dispatch::Dispatch;
use proxy::plugin::Kinds;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transport::session::ProcessBudget;

use crate::admin::{Admin, Bound, Gate, VERSION, router};
use crate::admission::{self, Door};
use crate::certificates::{self, Certificates};
use crate::config;
use crate::entrances::{entrances, plain};
use crate::identity::{JoinMaker, ServerKey, StateKey, Store};
use crate::ingresses::Ingresses;
use crate::listeners::Listeners;
use crate::nearby::Nearby;
use crate::pages::pages;
use crate::registry::{Configured, Naming, Ports, Registry, WantedParts};
use crate::session::Context as Sessions;
use crate::revision::{Authority, Reader, Runs, Start, StartError, Wishes, desk};
use crate::settings::{Flags, Listen, PublicUrl, Settings, implied};
use crate::visitors::Visitors;
use crate::{announce, shutdown, upkeep};

/// The soft limit of open files where nobody has changed it.
const USUAL_DESCRIPTORS: u64 = 1024;
/// The number of the configuration that the program starts with.
const REVISION: u64 = 1;
/// How long tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the server until a signal ends it.
///
/// # Errors
/// What keeps it from starting, each with what to do about it.
pub fn run(flags: Flags, kinds: &Kinds) -> Result<Exit, Exit> {
    let format = flags.log.as_deref().map_or(Ok(LogFormat::Auto), str::parse).map_err(Exit::usage)?;
    let logs = LogOptions { format, default_filter: "info".to_owned() };
    let logs = ops::log::init(&logs).map_err(Exit::failed)?;
    let descriptors = ops::fd_limit::raise().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files stays as it is");
        Some(USUAL_DESCRIPTORS)
    });
    let state = StateDir::resolve(Program::Tunneld, flags.state.clone(), |name| std::env::var_os(name));
    let state = state.map_err(Exit::usage)?;
    state.create().map_err(Exit::failed)?;
    let _locked = state.lock().map_err(|error| in_use(&state, &error))?;
    let reader = Reader::new(flags.clone(), kinds.clone());
    let mut start = Start::read(&state, reader.clone(), flags.config.as_deref(), SystemTime::now())
        .map_err(|error| not_started(&error))?;
    let settings = reader.settings(start.document().clone()).map_err(Exit::usage)?;
    let parts = Parts::prepare(settings, state, descriptors)?;
    start.keep().map_err(Exit::failed)?;
    tracing::info!(
        config = flags.config.as_ref().map(|path| tracing::field::display(path.display())),
        revision = start.number(),
        "the configuration was read"
    );
    let workers = available_parallelism().map_or(1, usize::from);
    let placement = Placement::from_env().map_err(Exit::usage)?;
    let (spawner, threads) = Spawner::start(workers, placement).map_err(Exit::failed)?;
    let ended = threads.block_on(parts.serve(start, &spawner, &logs, kinds));
    if !threads.shutdown(FAREWELL) {
        tracing::warn!("a worker did not end in time");
    }
    ended.map(|()| Exit::done(""))
}

fn not_started(error: &StartError) -> Exit {
    match error {
        StartError::Store(_) => Exit::failed(error),
        StartError::File(_) | StartError::InForce { .. } => Exit::usage(error),
    }
}

fn in_use(state: &StateDir, error: &LockError) -> Exit {
    match error {
        LockError::Busy { .. } => Exit::failed(format_args!(
            "another tunneld uses the state directory {} (from {}); stop it, or use --state DIR for another",
            state.path().display(),
            state.origin()
        )),
        LockError::Io { .. } => Exit::failed(error),
    }
}

/// What is there before anything runs: identity on disk, and every listener bound.
struct Parts {
    settings: Settings,
    state: StateDir,
    tunnel: Listeners,
    http: Listeners,
    https: Option<Listeners>,
    ingresses: Ingresses,
    ops: Listeners,
    admin: Option<Listeners>,
    certificates: Arc<Certificates>,
    bound: Bound,
    identity: Arc<Store>,
    key: Arc<ServerKey>,
    state_key: StateKey,
    joins: JoinMaker,
    default_join: Option<JoinString>,
    descriptors: Option<u64>,
}

impl Parts {
    fn prepare(settings: Settings, state: StateDir, descriptors: Option<u64>) -> Result<Self, Exit> {
        let tunnel = Listeners::bind("--tunnel", &settings.tunnel).map_err(Exit::failed)?;
        let http = Listeners::bind("--http", &settings.http).map_err(Exit::failed)?;
        let https = settings.https.as_ref().map(|listen| Listeners::bind("--https", listen));
        let https = https.transpose().map_err(Exit::failed)?;
        let ops = Listeners::bind("--ops", &settings.ops).map_err(Exit::failed)?;
        let admin = settings.document.listen.admin.as_ref();
        let admin = admin.map(|admin| Listeners::bind("listen.admin", &Listen::at(admin.address)));
        let admin = admin.transpose().map_err(Exit::failed)?;
        let ingresses = Ingresses::bind(&settings.document).map_err(Exit::failed)?;
        let bound = Bound {
            tunnel: first(&tunnel)?,
            http: first(&http)?,
            https: https.as_ref().map(first).transpose()?,
            ops: first(&ops)?,
            admin: admin.as_ref().map(first).transpose()?,
        };
        let certificates = Certificates::load(settings.document.certificates.clone()).map_err(Exit::usage)?;
        let identity = Store::load(state.clone()).map_err(Exit::failed)?;
        let configured = settings.document.principals.iter();
        identity.configure(configured.map(|granting| (granting.name.clone(), granting.grants.clone())));
        let state_key = StateKey::load_or_create(&state).map_err(Exit::failed)?;
        let address = match settings.advertise.clone() {
            Some(address) => address,
            None => implied(bound.tunnel, &settings.domain, settings.is_local()).map_err(Exit::failed)?,
        };
        let advertised = settings.document.advertise.iter().map(|address| address.host().to_owned());
        let mut names = vec![settings.domain.to_string(), address.host().to_owned()];
        names.extend(advertised.filter(|name| name != address.host()));
        let key = ServerKey::load_or_create(&state, &names).map_err(Exit::failed)?;
        let joins = JoinMaker { address, pin: key.pin };
        let default_join = joins.keep_default(&state, &identity, SystemTime::now()).map_err(Exit::failed)?;
        Ok(Self {
            settings,
            state,
            tunnel,
            http,
            https,
            ingresses,
            ops,
            admin,
            certificates: Arc::new(certificates),
            bound,
            identity: Arc::new(identity),
            key: Arc::new(key),
            state_key,
            joins,
            default_join,
            descriptors,
        })
    }

    /// What visitors type.
    fn public_url(&self) -> PublicUrl {
        let listener = || match self.bound.https {
            Some(address) => PublicUrl::secure(address.port()),
            None => PublicUrl::plain(self.bound.http.port()),
        };
        self.settings.public_url.clone().unwrap_or_else(listener)
    }

    async fn serve(self, start: Start, spawner: &Spawner, logs: &LogGuard, kinds: &Kinds) -> Result<(), Exit> {
        let started = Instant::now();
        let signals = Shutdown::on_signals(spawner).await.map_err(Exit::failed)?;
        let drain = Drain::of(&signals);
        let metrics = Metrics::new(VERSION);
        metrics.watch_tasks(spawner);
        metrics.watch_dropped_logs(logs.dropped());
        let board = start.board(metrics.clone());
        let own_expires = self.key.expires;
        metrics.certificate_expires(own_expires);

        let waits = self.settings.document.timeouts;
        let timeouts = waits.data_plane;
        let data_plane = DataPlane {
            spawner: spawner.clone(),
            metrics: metrics.clone(),
            sink: Arc::new(LogSink),
            drain: drain.clone(),
            drain_connections: true,
            timeouts,
        };
        let (routing, plugins) =
            config::routing(&self.settings.document, kinds, &metrics).map_err(Exit::usage)?;
        plugins.start(&data_plane);
        let public_url = self.public_url();
        let naming = Naming {
            domain: self.settings.domain.clone(),
            public_url: public_url.clone(),
            key: self.state_key,
        };
        let budget = ProcessBudget::of_memory(ops::memory::available());
        let document = &self.settings.document;
        let nearby = Nearby::new(&document.services, &plugins, data_plane.clone(), &budget);
        let nearby = nearby.map_err(Exit::usage)?;
        let configured = Configured::of(document, nearby, self.ingresses.ports());
        let visitors = Visitors::new(data_plane, self.descriptors);
        let addresses = self.http.addresses.iter().map(SocketAddr::ip).collect();
        let ports = Ports::new(addresses, drain.start.clone(), visitors.ports());
        let registry = Registry::new(
            naming,
            configured,
            self.identity.clone(),
            metrics.clone(),
            ports,
            SystemTime::now(),
        );
        let registry = Arc::new(registry);
        // Nobody is there yet who could refuse.
        let parts = WantedParts::of(document, REVISION, false);
        registry.use_parts(registry.prepare_parts(parts).await.map_err(Exit::usage)?);
        let limits = Limits { wait: waits.queue, ..self.settings.document.limits };
        let dispatch = Dispatch::new(registry.clone(), timeouts.member, metrics.clone());
        visitors.dispatched_by(dispatch.limited_to(limits));
        registry.restore(&self.state, Instant::now());
        let relays = self.ingresses.relays(&self.settings.document, self.bound.https, &metrics);
        registry.route_by(routing.with_relays(relays));

        let counted = registry.clone();
        metrics.watch_group_members(move || counted.memberships().counts());
        let sessions =
            Sessions { registry: registry.clone(), metrics: metrics.clone(), spawner: spawner.clone() };
        let held = budget.clone();
        metrics.watch_buffered_bytes(move || u64::try_from(held.held()).unwrap_or(u64::MAX));
        let (tls, identity) = (self.key.tls.clone(), self.identity.clone());
        let door = Door::new(tls, identity, sessions, budget, drain.start.clone());
        let socket = AdminSocket::bind(&self.state.file(SOCKET)).await.map_err(Exit::failed)?;
        let down = self.ingresses.down.clone();
        let (desk, asked) = desk();
        let commands = Arc::new(Admin {
            down: down.clone(),
            registry: registry.clone(),
            identity: self.identity.clone(),
            joins: self.joins,
            state: self.state.clone(),
            bound: self.bound,
            started,
            board: board.clone(),
            desk,
            drain: drain.start.clone(),
        });
        let hangups = Hangups::listen().await.map_err(Exit::failed)?;
        let authority = Authority::new(start, Arc::new(NotYet), board.clone(), metrics.clone());

        let here = spawner.next_worker();
        let background = [
            spawner.spawn(here, "sweep", upkeep::sweep(registry.clone())),
            spawner.spawn(here, "share connections", visitors.clone().keep_shared()),
            spawner.spawn(here, "save names", registry.clone().keep_saved(self.state.clone())),
            spawner.spawn(here, "save credentials", upkeep::keep_used(self.identity.clone())),
            spawner.spawn(here, "watch certificate", upkeep::watch_certificate(self.key)),
            spawner.spawn(
                here,
                "watch visitors' certificates",
                certificates::watch(self.certificates.clone(), own_expires, metrics.clone()),
            ),
            spawner.spawn(here, "configuration", authority.run(asked, hangups)),
        ];
        let door = Arc::new(door);
        let (http, https) =
            entrances(&self.settings.document, self.bound, &public_url, &self.certificates, &registry, &door)
                .map_err(Exit::failed)?;
        admission::listen(&door, self.tunnel.sockets);
        visitors.serve_http("http", self.http.sockets, http);
        if let Some(listeners) = self.https {
            visitors.serve_http("https", listeners.sockets, https);
        }
        for ingress in self.ingresses {
            let entrance = plain(&self.settings.document, ingress.proxy_protocol);
            visitors.serve_ingress(ingress, Arc::new(entrance), &down).map_err(Exit::failed)?;
        }
        let quiet = CancellationToken::new();
        let watched = pages(&registry, &board, metrics.clone(), started, &drain);
        serve_operators("ops", self.ops.sockets, spawner, &quiet, watched);
        let (asked, at_socket) = (quiet.clone(), spawner.clone());
        let commands = router(commands);
        if let (Some(listeners), Some(admin)) = (self.admin, &self.settings.document.listen.admin) {
            for (socket, address) in listeners.sockets.into_iter().zip(listeners.addresses) {
                let gate = Gate::new(admin.tokens.clone(), address, &admin.hosts, metrics.clone());
                serve_operators("admin", vec![socket], spawner, &quiet, gate.before(commands.clone()));
            }
        }
        spawner.spawn(here, "admin", async move {
            admin::serve(socket, commands, &at_socket, &asked).await;
        });

        tracing::info!(
            version = VERSION,
            state = %self.state.path().display(),
            from = self.state.origin(),
            tunnel = %self.bound.tunnel,
            http = %self.bound.http,
            https = self.bound.https.map(tracing::field::display),
            ops = %self.bound.ops,
            admin = self.bound.admin.map(tracing::field::display),
            domain = %self.settings.domain,
            "tunneld is ready"
        );
        if let Some(join) = &self.default_join {
            announce::quick_start(join, &self.state);
            if !self.settings.is_local() {
                announce::warn_of_default(self.settings.domain.as_str(), &self.state);
            }
        }

        drain.start.cancelled().await;
        shutdown::finish(&registry, &drain, waits.drain).await;
        background.iter().for_each(Task::abort);
        quiet.cancel();
        registry.save(&self.state);
        if let Err(error) = self.identity.keep_used() {
            tracing::warn!(%error, "the last use of credentials can not be kept");
        }
        Ok(())
    }
}

fn first(listeners: &Listeners) -> Result<SocketAddr, Exit> {
    listeners.first().ok_or_else(|| Exit::failed("a listener has no address"))
}

fn serve_operators(
    name: &'static str,
    sockets: Vec<std::net::TcpListener>,
    spawner: &Spawner,
    quiet: &CancellationToken,
    pages: axum::Router,
) {
    for socket in sockets {
        let (at, quiet, pages) = (spawner.clone(), quiet.clone(), pages.clone());
        spawner.spawn(spawner.next_worker(), name, async move {
            match TcpListener::from_std(socket) {
                Ok(listener) => ops_listener::serve(listener, pages, &at, &quiet).await,
                Err(error) => tracing::error!(name, %error, "a listener for operators is lost"),
            }
        });
    }
}

struct NotYet;

impl Runs for NotYet {
    type Proven = ();

    async fn prove(&self, _: config::Document, _: u64, _: Wishes) -> Result<(), String> {
        Err("not in this version".to_owned())
    }

    fn switch(&self, (): ()) -> Vec<String> {
        Vec::new()
    }
}
