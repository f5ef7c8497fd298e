//! How the server is put together. Everything that is shared is made here, from top to bottom, and everything that runs
//! is started here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use ops::admin::{self, AdminSocket, SOCKET};
use ops::cli::Exit;
use ops::drain::Drain;
use ops::log::{LogGuard, LogOptions};
use ops::metrics::Metrics;
use ops::ops_listener;
use ops::signals::{Hangups, Shutdown};
use ops::spawn::{Placement, Spawner, Task};
use ops::state_dir::{LockError, Program, StateDir};
use protocol::join::JoinString;
use proxy::access::LogSink;
use proxy::context::{Context as DataPlane, Timeouts};
use proxy::dispatch::Dispatch;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use transport::session::ProcessBudget;

use crate::admin::{Admin, Bound, VERSION, router};
use crate::admission::{self, Door};
use crate::identity::{JoinMaker, ServerKey, StateKey, Store};
use crate::listeners::Listeners;
use crate::pages::pages;
use crate::registry::{Naming, Ports, Registry};
use crate::session::Context as Sessions;
use crate::settings::{PublicUrl, Settings, implied};
use crate::visitors::Visitors;
use crate::{announce, shutdown, upkeep};

/// The soft limit of open files where nobody has changed it.
const USUAL_DESCRIPTORS: u64 = 1024;
/// How long tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the server until a signal ends it.
///
/// # Errors
/// What keeps it from starting, each with what to do about it.
pub fn run(settings: Settings) -> Result<Exit, Exit> {
    let logs = LogOptions { format: settings.log, default_filter: "info".to_owned() };
    let logs = ops::log::init(&logs).map_err(Exit::failed)?;
    let descriptors = ops::fd_limit::raise().unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files stays as it is");
        Some(USUAL_DESCRIPTORS)
    });
    let state = StateDir::resolve(Program::Tunneld, settings.state.clone(), |name| std::env::var_os(name));
    let state = state.map_err(Exit::usage)?;
    state.create().map_err(Exit::failed)?;
    let _locked = state.lock().map_err(|error| in_use(&state, &error))?;
    let parts = Parts::prepare(settings, state, descriptors)?;
    let workers = available_parallelism().map_or(1, usize::from);
    let placement = Placement::from_env().map_err(Exit::usage)?;
    let (spawner, threads) = Spawner::start(workers, placement).map_err(Exit::failed)?;
    let ended = threads.block_on(parts.serve(&spawner, &logs));
    if !threads.shutdown(FAREWELL) {
        tracing::warn!("a worker did not end in time");
    }
    ended.map(|()| Exit::done(""))
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
    ops: Listeners,
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
        let ops = Listeners::bind("--ops", &settings.ops).map_err(Exit::failed)?;
        let bound = Bound { tunnel: first(&tunnel)?, http: first(&http)?, ops: first(&ops)? };
        let identity = Store::load(state.clone()).map_err(Exit::failed)?;
        let state_key = StateKey::load_or_create(&state).map_err(Exit::failed)?;
        let address = match settings.advertise.clone() {
            Some(address) => address,
            None => implied(bound.tunnel, &settings.domain, settings.is_local()).map_err(Exit::failed)?,
        };
        let names = [settings.domain.to_string(), address.host().to_owned()];
        let key = ServerKey::load_or_create(&state, &names).map_err(Exit::failed)?;
        let joins = JoinMaker { address, pin: key.pin };
        let default_join = joins.keep_default(&state, &identity, SystemTime::now()).map_err(Exit::failed)?;
        Ok(Self {
            settings,
            state,
            tunnel,
            http,
            ops,
            bound,
            identity: Arc::new(identity),
            key: Arc::new(key),
            state_key,
            joins,
            default_join,
            descriptors,
        })
    }

    async fn serve(self, spawner: &Spawner, logs: &LogGuard) -> Result<(), Exit> {
        let started = Instant::now();
        let signals = Shutdown::on_signals(spawner).await.map_err(Exit::failed)?;
        let drain = Drain::of(&signals);
        let metrics = Metrics::new(VERSION);
        metrics.watch_tasks(spawner);
        metrics.watch_dropped_logs(logs.dropped());
        metrics.certificate_expires(self.key.expires);

        let timeouts = Timeouts::default();
        let data_plane = DataPlane {
            spawner: spawner.clone(),
            metrics: metrics.clone(),
            sink: Arc::new(LogSink),
            drain: drain.clone(),
            drain_connections: true,
            timeouts,
        };
        let port = self.bound.http.port();
        let naming = Naming {
            domain: self.settings.domain.clone(),
            public_url: self.settings.public_url.clone().unwrap_or_else(|| PublicUrl::plain(port)),
            key: self.state_key,
        };
        let visitors = Visitors::new(data_plane, self.descriptors);
        let addresses = self.http.addresses.iter().map(SocketAddr::ip).collect();
        let ports = Ports::new(addresses, drain.start.clone(), visitors.ports());
        let registry =
            Registry::new(naming, self.identity.clone(), metrics.clone(), ports, SystemTime::now());
        let registry = Arc::new(registry);
        visitors.dispatched_by(Dispatch::new(registry.clone(), timeouts.member, metrics.clone()));
        registry.restore(&self.state, Instant::now());

        let sessions =
            Sessions { registry: registry.clone(), metrics: metrics.clone(), spawner: spawner.clone() };
        let budget = ProcessBudget::of_memory(ops::memory::available());
        let held = budget.clone();
        metrics.watch_buffered_bytes(move || u64::try_from(held.held()).unwrap_or(u64::MAX));
        let (tls, identity) = (self.key.tls.clone(), self.identity.clone());
        let door = Door::new(tls, identity, sessions, budget, drain.start.clone());
        let socket = AdminSocket::bind(&self.state.file(SOCKET)).await.map_err(Exit::failed)?;
        let commands = Arc::new(Admin {
            registry: registry.clone(),
            identity: self.identity.clone(),
            joins: self.joins,
            state: self.state.clone(),
            bound: self.bound,
            started,
            drain: drain.start.clone(),
        });

        let here = spawner.next_worker();
        let background = [
            spawner.spawn(here, "sweep", upkeep::sweep(registry.clone())),
            spawner.spawn(here, "share connections", visitors.clone().keep_shared()),
            spawner.spawn(here, "save names", registry.clone().keep_saved(self.state.clone())),
            spawner.spawn(here, "save credentials", upkeep::keep_used(self.identity.clone())),
            spawner.spawn(here, "watch certificate", upkeep::watch_certificate(self.key)),
            spawner.spawn(
                here,
                "hangups",
                upkeep::hear_hangups(Hangups::listen().await.map_err(Exit::failed)?),
            ),
        ];
        admission::listen(&Arc::new(door), self.tunnel.sockets);
        visitors.serve_http(self.http.sockets);
        let quiet = CancellationToken::new();
        serve_ops(self.ops.sockets, spawner, &quiet, pages(&registry, metrics, started, &drain));
        let (asked, at_socket) = (quiet.clone(), spawner.clone());
        spawner.spawn(here, "admin", async move {
            admin::serve(socket, router(commands), &at_socket, &asked).await;
        });

        tracing::info!(
            version = VERSION,
            state = %self.state.path().display(),
            from = self.state.origin(),
            tunnel = %self.bound.tunnel,
            http = %self.bound.http,
            ops = %self.bound.ops,
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
        shutdown::finish(&registry, &drain).await;
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

fn serve_ops(
    sockets: Vec<std::net::TcpListener>,
    spawner: &Spawner,
    quiet: &CancellationToken,
    pages: axum::Router,
) {
    for socket in sockets {
        let (at, quiet, pages) = (spawner.clone(), quiet.clone(), pages.clone());
        spawner.spawn(spawner.next_worker(), "ops", async move {
            match TcpListener::from_std(socket) {
                Ok(listener) => ops_listener::serve(listener, pages, &at, &quiet).await,
                Err(error) => tracing::error!(%error, "the ops listener is lost"),
            }
        });
    }
}
