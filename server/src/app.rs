//! How the server is put together. Everything that is shared is made here, from top to bottom, and everything that runs
//! is started here.

use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use ops::admin::{self, AdminSocket, SOCKET};
use ops::cli::Exit;
use ops::drain::Drain;
use ops::log::{LogFormat, LogGuard, LogOptions};
use ops::metrics::Metrics;
use ops::signals::{Hangups, Shutdown};
use ops::spawn::{Placement, Spawner, Task};
use ops::state_dir::{LockError, Program, StateDir};
use proxy::access::LogSink;
use proxy::context::{Context as DataPlane, Waits};
use proxy::dispatch::Dispatch;
use proxy::plugin::Kinds;
use proxy::service::KnownServers;
use tokio_util::sync::CancellationToken;
use transport::session::ProcessBudget;

use crate::admin::{Admin, Audit, VERSION, audited, router};
use crate::admission::Door;
use crate::certificates::{self, Certificates};
use crate::identity::{ServerKey, StateKey, Store};
use crate::live::{AtStart, Proven, Running, Serving, Shared, Unproven, Wishes, key_names};
use crate::nearby::Nearby;
use crate::pages::pages;
use crate::registry::{Naming, Ports, Registry};
use crate::revision::{Authority, Reader, Start, StartError, desk};
use crate::session::{Context as Sessions, Pulse};
use crate::settings::{Flags, PublicUrl, Settings};
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
    let start = Start::read(&state, reader.clone(), flags.config.as_deref(), SystemTime::now())
        .map_err(|error| not_started(&error))?;
    let settings = reader.settings(start.document().clone()).map_err(Exit::usage)?;
    let parts = Parts::prepare(settings, start.number(), state, descriptors)?;
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

/// What is there before anything runs: the configuration to begin with, and identity on disk.
pub(crate) struct Parts {
    settings: Settings,
    /// The number of the configuration.
    revision: u64,
    state: StateDir,
    identity: Arc<Store>,
    key: ServerKey,
    state_key: StateKey,
    descriptors: Option<u64>,
}

/// A server that could begin: everything is made and bound, and nothing serves yet.
pub(crate) struct Ready {
    pub(crate) running: Arc<Running>,
    pub(crate) first: Proven,
    pub(crate) registry: Arc<Registry>,
    visitors: Visitors,
    certificates: Arc<Certificates>,
    identity: Arc<Store>,
    state: StateDir,
    metrics: Metrics,
    /// Cancelled when operators see nothing more.
    quiet: CancellationToken,
    key: Arc<ServerKey>,
}

impl Parts {
    pub(crate) fn prepare(
        settings: Settings,
        revision: u64,
        state: StateDir,
        descriptors: Option<u64>,
    ) -> Result<Self, Exit> {
        let identity = Store::load(state.clone()).map_err(Exit::failed)?;
        let configured = settings.document.principals.iter();
        identity.configure(configured.map(|granting| (granting.name.clone(), granting.grants.clone())));
        let state_key = StateKey::load_or_create(&state).map_err(Exit::failed)?;
        let key = ServerKey::load_or_create(&state, &key_names(&settings)).map_err(Exit::failed)?;
        Ok(Self { settings, revision, state, identity: Arc::new(identity), key, state_key, descriptors })
    }

    /// Makes everything that is shared, and proves the first configuration.
    pub(crate) async fn make(
        self,
        spawner: &Spawner,
        drain: &Drain,
        metrics: Metrics,
        kinds: &Kinds,
    ) -> Result<Ready, Exit> {
        let Self { settings, revision, state, identity, key, state_key, descriptors } = self;
        let context = DataPlane {
            spawner: spawner.clone(),
            metrics: metrics.clone(),
            sink: Arc::new(LogSink),
            drain: drain.clone(),
            drain_connections: true,
            waits: Waits::default(),
            servers: KnownServers::default(),
        };
        let budget = ProcessBudget::of_memory(ops::memory::available());
        let nearby = Arc::new(Nearby::new(context.clone(), budget.clone()));
        let visitors = Visitors::new(context.clone(), descriptors);
        let ports = Ports::new(Vec::new(), drain.start.clone(), visitors.ports());
        let naming = Naming {
            domain: settings.domain.clone(),
            public_url: PublicUrl::plain(settings.http.port()),
            key: state_key.clone(),
        };
        let (known, now) = (identity.clone(), SystemTime::now());
        let registry = Registry::new(naming, nearby, known, metrics.clone(), ports, now);
        let registry = Arc::new(registry);
        let dispatch = Dispatch::new(registry.clone(), context.waits.clone(), metrics.clone());
        visitors.dispatched_by(dispatch);

        let counted = registry.clone();
        metrics.watch_group_members(move || counted.memberships().counts());
        let held = budget.clone();
        let listed = registry.clone();
        metrics.watch_disabled(move || u64::try_from(listed.disabled().iter().count()).unwrap_or(u64::MAX));
        metrics.watch_buffered_bytes(move || u64::try_from(held.held()).unwrap_or(u64::MAX));
        let sessions = Sessions {
            registry: registry.clone(),
            metrics: metrics.clone(),
            spawner: spawner.clone(),
            pulse: Pulse::default(),
        };
        let door = Door::new(key.tls.clone(), identity.clone(), sessions, budget, drain.start.clone());
        let quiet = CancellationToken::new();
        let serving = Serving {
            door: Arc::new(door),
            visitors: visitors.clone(),
            pages: OnceLock::new(),
            commands: OnceLock::new(),
            quiet: quiet.clone(),
            drain: drain.start.clone(),
            spawner: spawner.clone(),
        };
        let certificates = Arc::new(Certificates::load(Vec::new()).map_err(Exit::failed)?);
        let shared = Shared {
            flags: settings.flags.clone(),
            kinds: kinds.clone(),
            state: state.clone(),
            state_key,
            context,
            registry: registry.clone(),
            identity: identity.clone(),
            certificates: certificates.clone(),
            serving: Arc::new(serving),
        };
        let running = Running::new(shared, settings.clone(), key.pin).map_err(|error| refused(&error))?;
        let first = running.prove_settings(settings, revision, Wishes::default(), AtStart::Yes).await;
        let first = first.map_err(|error| refused(&error))?;
        // What the configuration names is the operator's by now: nobody else's name is kept that it needs.
        registry.ports().bind_on(first.public());
        registry.restore(&state, Instant::now()).map_err(Exit::failed)?;
        registry.restore_disabled(&state).map_err(Exit::failed)?;
        Ok(Ready {
            running: Arc::new(running),
            first,
            registry,
            visitors,
            certificates,
            identity,
            state,
            metrics,
            quiet,
            key: Arc::new(key),
        })
    }

    async fn serve(
        self,
        mut start: Start,
        spawner: &Spawner,
        logs: &LogGuard,
        kinds: &Kinds,
    ) -> Result<(), Exit> {
        let started = Instant::now();
        let signals = Shutdown::on_signals(spawner).await.map_err(Exit::failed)?;
        let drain = Drain::of(&signals);
        let metrics = Metrics::new(VERSION);
        metrics.watch_tasks(spawner);
        metrics.watch_dropped_logs(logs.dropped());
        metrics.certificate_expires(self.key.expires);
        let is_local = self.settings.is_local();
        let ready = self.make(spawner, &drain, metrics.clone(), kinds).await?;
        start.keep().map_err(Exit::failed)?;
        let board = start.board(metrics.clone());
        tracing::info!(revision = start.number(), "the configuration was read");
        let Ready { running, first, registry, identity, state, quiet, .. } = ready;
        let socket = AdminSocket::bind(&state.file(SOCKET)).await.map_err(Exit::failed)?;
        let (desk, asked) = desk();
        let commands = Arc::new(Admin {
            running: running.clone(),
            registry: registry.clone(),
            identity: identity.clone(),
            door: running.door().clone(),
            state: state.clone(),
            started,
            board: board.clone(),
            desk,
            drain: drain.start.clone(),
        });

        let hangups = Hangups::listen().await.map_err(Exit::failed)?;
        let authority = Authority::new(start, running.clone(), board.clone(), metrics.clone());
        let (here, own_expires) = (spawner.next_worker(), ready.key.expires);
        let background = [
            spawner.spawn(here, "sweep", upkeep::sweep(registry.clone())),
            spawner.spawn(here, "share connections", ready.visitors.keep_shared()),
            spawner.spawn(here, "save names", registry.clone().keep_saved(state.clone())),
            spawner.spawn(here, "save credentials", upkeep::keep_used(identity.clone())),
            spawner.spawn(here, "watch certificate", upkeep::watch_certificate(ready.key)),
            spawner.spawn(
                here,
                "watch visitors' certificates",
                certificates::watch(ready.certificates, own_expires, ready.metrics),
            ),
            spawner.spawn(here, "configuration", authority.run(asked, hangups)),
        ];
        let default_join = first.joins().keep_default(&state, &identity, SystemTime::now());
        let default_join = default_join.map_err(Exit::failed)?;
        let commands = audited(router(commands), Arc::new(Audit::of(&state).map_err(Exit::failed)?));
        running.show(pages(&registry, &board, metrics, started, &drain), commands.clone());
        running.switch(first);
        let (ended, at_socket) = (quiet.clone(), spawner.clone());
        spawner.spawn(here, "admin", async move {
            admin::serve(socket, commands, &at_socket, &ended).await;
        });

        let bound = running.bound();
        tracing::info!(
            version = VERSION,
            state = %state.path().display(),
            from = state.origin(),
            tunnel = %bound.tunnel,
            http = %bound.http,
            https = bound.https.map(tracing::field::display),
            ops = %bound.ops,
            admin = bound.admin.map(tracing::field::display),
            domain = %registry.naming().domain,
            "tunneld is ready"
        );
        if let Some(join) = &default_join {
            announce::quick_start(join, &state);
            if !is_local {
                announce::warn_of_default(registry.naming().domain.as_str(), &state);
            }
        }

        drain.start.cancelled().await;
        shutdown::finish(&registry, &drain, running.settings().document.timeouts.drain).await;
        background.iter().for_each(Task::abort);
        quiet.cancel();
        registry.save(&state);
        if let Err(error) = identity.keep_used() {
            tracing::warn!(%error, "the last use of credentials can not be kept");
        }
        Ok(())
    }
}

/// The first configuration can not be used.
fn refused(error: &Unproven) -> Exit {
    match error {
        Unproven::Key(_)
        | Unproven::Bind(_)
        | Unproven::NoRoom(_)
        | Unproven::Tls(_)
        | Unproven::Stopping
        | Unproven::Overlap(_) => Exit::failed(error),
        _ => Exit::usage(error),
    }
}
