//! How the server is put together. Everything that is shared is made here, from top to bottom, and everything that runs
//! is started here.

use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime};

use ops::admin::{self, AdminSocket, SOCKET};
use ops::cli::Exit;
use ops::config::Lack;
use ops::drain::Drain;
use ops::log::{LogFormat, LogGuard, LogOptions};
use ops::metrics::Metrics;
use ops::signals::{Hangups, Shutdown, Upgrades};
use ops::sockets::{Activation, Sockets};
use ops::spawn::{Placement, Spawner, Task};
use ops::state_dir::{self, LockError, Locked, StateDir};
use ops::systemd::{self, News};
use proxy::access::LogSink;
use proxy::context::{Context as DataPlane, Waits};
use proxy::dispatch::Dispatch;
use proxy::plugin::Kinds;
use proxy::service::KnownServers;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transport::session::ProcessBudget;

use crate::admin::{Admin, Audit, VERSION, audited, router};
use crate::admission::{self, Door};
use crate::certificates::{self, Certificates};
use crate::identity::{ServerKey, StateKey, Store};
use crate::live::{AtStart, Proven, Running, Serving, Shared, Unproven, Wishes, key_names};
use crate::nearby::Nearby;
use crate::pages::pages;
use crate::registry::{Naming, Ports, Registry};
use crate::revision::{Authority, Reader, Start, StartError, desk};
use crate::session::{Context as Sessions, Pulse};
use crate::settings::{Flags, PublicUrl, Settings};
use crate::upgrade::{Calls, Handing, Inheritance, Program};
use crate::visitors::Visitors;
use crate::{announce, shutdown, upkeep};

/// The soft limit of open files where nobody has changed it.
const USUAL_DESCRIPTORS: u64 = 1024;
/// How long tasks may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Runs the server until a signal ends it, or another process has taken over. It takes over itself from the process of
/// which it has an `inheritance`; that is taken when nothing can go wrong any more.
///
/// # Errors
/// What keeps it from starting, each with what to do about it.
pub(crate) fn run(flags: Flags, kinds: &Kinds, inheritance: &mut Option<Inheritance>) -> Result<Exit, Exit> {
    let program = Program::of_process().map_err(Exit::failed)?;
    let activation = Activation::of_process().map_err(Exit::usage)?;
    let format = flags.log.as_deref().map_or(Ok(LogFormat::Auto), str::parse).map_err(Exit::usage)?;
    let logs = LogOptions { format, default_filter: "info".to_owned() };
    // The log starts the first thread.
    let descriptors = ops::descriptors::make_room();
    let logs = ops::log::init(&logs).map_err(Exit::failed)?;
    let descriptors = descriptors.unwrap_or_else(|error| {
        tracing::warn!(%error, "the limit of open files stays as it is");
        Some(USUAL_DESCRIPTORS)
    });
    let state =
        StateDir::resolve(state_dir::Program::Tunneld, flags.state.clone(), |name| std::env::var_os(name));
    let state = state.map_err(Exit::usage)?;
    state.create().map_err(Exit::failed)?;
    let locked = match inheritance.as_mut().and_then(|inheritance| inheritance.lock.take()) {
        Some(lock) => state.take_over(lock),
        // Whoever wrote here before is dead.
        None => state.lock().inspect(|_| state.tidy()),
    };
    let locked = locked.map_err(|error| in_use(&state, &error))?;
    let sockets = match inheritance {
        Some(inheritance) => inheritance.sockets(),
        None => activation.into_sockets().map_err(Exit::usage)?,
    };
    let reader = Reader::new(flags.clone(), kinds.clone());
    // The process that is to be upgraded has all that it once had: it must not make way for one that has less.
    let lack = if inheritance.is_some() { Lack::Refused } else { Lack::Down };
    let start = Start::read(&state, reader.clone(), flags.config.as_deref(), SystemTime::now(), lack)
        .map_err(|error| not_started(&error))?;
    let settings = reader.settings(start.document().clone()).map_err(Exit::usage)?;
    let parts = Parts::prepare(settings, start.number(), state, Arc::new(sockets), descriptors)?;
    let workers = available_parallelism().map_or(1, usize::from);
    let placement = Placement::from_env().map_err(Exit::usage)?;
    let (spawner, threads) = Spawner::start(workers, placement).map_err(Exit::failed)?;
    let origin = Origin { program: &program, locked: &locked, inheritance };
    let ended = threads.block_on(parts.serve(start, &spawner, &logs, kinds, origin));
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
        LockError::Io { .. } | LockError::Elsewhere { .. } => Exit::failed(error),
    }
}

/// Where this process comes from, and with what it can start the next one.
struct Origin<'a> {
    program: &'a Program,
    locked: &'a Locked,
    inheritance: &'a mut Option<Inheritance>,
}

/// What is there before anything runs: the configuration to begin with, and identity on disk.
pub(crate) struct Parts {
    settings: Settings,
    /// The number of the configuration.
    revision: u64,
    state: StateDir,
    sockets: Arc<Sockets>,
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
    sockets: Arc<Sockets>,
    /// Cancelled when visitors and operators may come.
    pub(crate) open: CancellationToken,
    /// Cancelled when operators see nothing more.
    quiet: CancellationToken,
    key: Arc<ServerKey>,
}

impl Parts {
    pub(crate) fn prepare(
        settings: Settings,
        revision: u64,
        state: StateDir,
        sockets: Arc<Sockets>,
        descriptors: Option<u64>,
    ) -> Result<Self, Exit> {
        let identity = Store::load(state.clone()).map_err(Exit::failed)?;
        let configured = settings.document.principals.iter();
        identity.configure(configured.map(|granting| (granting.name.clone(), granting.grants.clone())));
        let state_key = StateKey::load_or_create(&state).map_err(Exit::failed)?;
        let key = ServerKey::load_or_create(&state, &key_names(&settings)).map_err(Exit::failed)?;
        let identity = Arc::new(identity);
        Ok(Self { settings, revision, state, sockets, identity, key, state_key, descriptors })
    }

    /// Makes everything that is shared, and proves the first configuration.
    pub(crate) async fn make(
        self,
        spawner: &Spawner,
        drain: &Drain,
        metrics: Metrics,
        kinds: &Kinds,
    ) -> Result<Ready, Exit> {
        let Self { settings, revision, state, sockets, identity, key, state_key, descriptors } = self;
        let open = CancellationToken::new();
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
        let visitors = Visitors::new(context.clone(), descriptors, open.clone());
        let ports = Ports::new(sockets.clone(), Vec::new(), drain.start.clone(), visitors.ports());
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
        let (ends, alone) = (drain.start.clone(), open.clone());
        let door = Door::new(key.tls.clone(), identity.clone(), sessions, budget, ends, alone);
        let quiet = CancellationToken::new();
        let serving = Serving {
            door: Arc::new(door),
            visitors: visitors.clone(),
            sockets: sockets.clone(),
            open: open.clone(),
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
            sockets,
            open,
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
        origin: Origin<'_>,
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
        let (mut handed, mut successor) = (None, None);
        match origin.inheritance.take() {
            Some(mut inheritance) => {
                handed = inheritance.admin.take();
                let taking_over = inheritance.into_successor().await.map_err(Exit::failed)?;
                taking_over.ready().await.map_err(Exit::failed)?;
                successor = Some(taking_over);
            }
            None => Activation::is_used_up(&ready.sockets).map_err(Exit::usage)?,
        }
        start.keep().map_err(Exit::failed)?;
        let board = start.board(metrics.clone());
        start.tell();
        let Ready { running, first, registry, identity, state, sockets, open, quiet, .. } = ready;
        let at = state.file(SOCKET);
        let socket = match handed {
            Some(listener) => AdminSocket::take_over(&at, listener).await,
            None => AdminSocket::bind(&at).await,
        };
        let socket = socket.map_err(Exit::failed)?;
        let pass_on = socket.pass_on().map_err(Exit::failed)?;
        let upgrades = Upgrades::listen().await.map_err(Exit::failed)?;
        let (ask_for_upgrade, asked_for) = mpsc::channel(1);
        let (hurry, hurried) = mpsc::channel(1);
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
            drain: drain.clone(),
            upgrade: ask_for_upgrade,
            hurry,
        });

        let hangups = Hangups::listen().await.map_err(Exit::failed)?;
        let authority = Authority::new(start, running.clone(), board.clone(), metrics.clone());
        let (here, own_expires) = (spawner.next_worker(), ready.key.expires);
        // What has run out ends also in a process from which another one has taken over.
        let sweep = spawner.spawn(here, "sweep", upkeep::sweep(registry.clone()));
        let background = [
            spawner.spawn(here, "share connections", ready.visitors.keep_shared()),
            spawner.spawn(here, "save names", registry.clone().keep_saved(state.clone())),
            spawner.spawn(here, "save credentials", upkeep::keep_used(identity.clone())),
            spawner.spawn(here, "watch certificate", upkeep::watch_certificate(ready.key)),
            spawner.spawn(
                here,
                "watch visitors' certificates",
                certificates::watch(ready.certificates, own_expires, ready.metrics),
            ),
            spawner.spawn(
                here,
                "watch the CA of clients",
                admission::watch_authority(running.door().clone()),
            ),
            spawner.spawn(here, "configuration", authority.run(asked, hangups)),
        ];
        let default_join = first.joins().keep_default(&state, &identity, SystemTime::now());
        let default_join = default_join.map_err(Exit::failed)?;
        let audit = Arc::new(Audit::of(&state).map_err(Exit::failed)?);
        let commands = audited(router(commands), audit, spawner.clone());
        running.show(pages(&registry, &board, metrics, started, &drain), commands.clone());
        running.switch(first);
        let (begin, end, at_socket) = (open.clone(), quiet.clone(), spawner.clone());
        let admin = spawner.spawn(here, "admin", async move {
            if end.run_until_cancelled(begin.cancelled()).await.is_some() {
                admin::serve(socket, commands, &at_socket, &end).await;
            }
        });
        let takes_over = successor.is_some();
        match successor {
            Some(successor) => {
                let door = running.door().clone();
                let follow = successor.follow(registry.clone(), door, sockets.clone(), open);
                spawner.spawn(here, "take over", follow);
            }
            None => open.cancel(),
        }

        running.lacks().iter().for_each(|lacks| tracing::warn!("{lacks}"));
        let bound = running.bound();
        let down: Vec<String> = running.all_down().into_keys().collect();
        tracing::info!(
            version = VERSION,
            state = %state.path().display(),
            from = state.origin(),
            tunnel = %bound.tunnel,
            http = %bound.http,
            https = bound.https.map(tracing::field::display),
            ops = %bound.ops,
            admin = bound.admin.map(tracing::field::display),
            down = (!down.is_empty()).then(|| down.join(", ")),
            domain = %registry.naming().domain,
            "tunneld is ready"
        );
        if let Some(join) = default_join.as_ref().filter(|_| !takes_over) {
            announce::quick_start(join, &state);
            if !is_local {
                announce::warn_of_default(registry.naming().domain.as_str(), &state);
            }
        }

        systemd::tell(News::Ready);
        let alive = spawner.spawn(here, "tell that it is alive", systemd::stay_alive(spawner.clone()));

        let handing = Handing {
            program: origin.program,
            sockets: &sockets,
            lock: origin.locked,
            admin: &pass_on,
            state: &state,
            running: &running,
            registry: &registry,
            identity: &identity,
            drain: &drain,
            spawner,
        };
        let calls = Calls { signals: upgrades, asked: asked_for, hurried };
        if let Some(handed_over) = handing.wanted(calls).await {
            drain.linger(shutdown::LINGER);
            drain.ask(None);
            quiet.cancel();
            // What changes from now on changes there.
            background.iter().chain([&alive]).for_each(Task::abort);
            handed_over.tell();
            let hear = upkeep::hear_of_revocations(registry.clone(), identity.clone());
            spawner.spawn(here, "revocations", hear);
        }
        running.end_listening();
        shutdown::finish(&registry, &drain, running.settings().document.timeouts.drain).await;
        background.iter().chain([&sweep, &alive]).for_each(Task::abort);
        quiet.cancel();
        // Whoever has asked for the end hears how it went.
        drop(timeout(FAREWELL, admin).await);
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
        Unproven::Bind(error) if error.is_mistaken() => Exit::usage(error),
        // At the next start it may be free.
        Unproven::Bind(_) | Unproven::Overlap(_) => Exit::failed(error),
        error if error.is_usage() => Exit::usage(error),
        error => Exit::failed(error),
    }
}
