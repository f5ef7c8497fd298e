//! The wiring of a running `tunnelc`, top to bottom.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ops::admin::{self, AdminSocket};
use ops::cli::Exit;
use ops::descriptors;
use ops::drain::Drain;
use ops::log::{self, LogFormat, LogOptions};
use ops::metrics::Metrics;
use ops::signals::{Hangups, Shutdown};
use ops::spawn::{Placement, Spawner};
use ops::state_dir::StateDir;
use ops::watch::FileWatch;
use parking_lot::Mutex;
use policy::consent::Consent;
use protocol::id::InstanceId;
use proxy::context::{Context, Waits};
use proxy::plugin::Plugins;
use proxy::service::KnownServers;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use transport::session::ProcessBudget;

use crate::events::{Event, Events};
use crate::forwards::Forwards;
use crate::groups::Groups;
use crate::identity::{Hold, Identity};
use crate::instance::Instance;
use crate::login::Login;
use crate::reload::{Current, Running};
use crate::requests::Requests;
use crate::sessions::Sessions;
use crate::settings::{Mode, Settings};
use crate::slots::Slots;
use crate::tunnel::Tunnel;
use crate::tunnels::Tunnels;
use crate::view::View;
use crate::{own, reload};

/// How long a drain waits for work in progress: a person at a terminal is less patient than a service.
const AD_HOC_DRAIN: Duration = Duration::from_secs(2);
const SERVICE_DRAIN: Duration = Duration::from_secs(30);
/// Until the server has confirmed that it opens no more substreams.
const UNREGISTER: Duration = Duration::from_secs(1);
/// For the last words on every session.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs what `settings` say until a signal or a refusal; what `watch` sees of their file is read again.
pub fn run(settings: Settings, watch: Option<FileWatch>) -> Exit {
    // A view says everything that the log would, and for a person.
    let viewed = settings.mode == Mode::AdHoc && settings.log != Some(LogFormat::Json);
    let options = LogOptions {
        format: settings.log.unwrap_or_default(),
        // The verifier of the system's roots logs what a failed attempt says anyway.
        default_filter: format!("{},rustls_platform_verifier=off", if viewed { "warn" } else { "info" }),
    };
    // The log starts the first thread.
    let limit = descriptors::make_room();
    let logs = match log::init(&options) {
        Ok(logs) => logs,
        Err(error) => return Exit::failed(error),
    };
    let placement = match Placement::from_env() {
        Ok(placement) => placement,
        Err(error) => return Exit::usage(error),
    };
    if let Err(error) = limit {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    let workers = available_parallelism().map_or(1, usize::from);
    let (spawner, workers) = match Spawner::start(workers, placement) {
        Ok(started) => started,
        Err(error) => return Exit::failed(format_args!("cannot start threads: {error}")),
    };
    let metrics = Metrics::new(crate::VERSION);
    metrics.watch_tasks(&spawner);
    metrics.watch_dropped_logs(logs.dropped());
    let ended = workers.block_on(serve(settings, watch, viewed, metrics, spawner));
    workers.shutdown(LAST_WORDS);
    ended.unwrap_or_else(|exit| exit)
}

async fn serve(
    settings: Settings,
    watch: Option<FileWatch>,
    viewed: bool,
    metrics: Metrics,
    spawner: Spawner,
) -> Result<Exit, Exit> {
    let shutdown = Shutdown::on_signals(&spawner).await.map_err(Exit::failed)?;
    let identity = Identity::claim(&settings.state).map_err(Exit::failed)?;
    let (events, view) = if viewed {
        let (events, watched) = Events::to_view();
        (events, Some(View::start(watched).map_err(Exit::failed)?))
    } else {
        (Events::to_log(), None)
    };
    greet(&settings, &identity, &events);

    let requests = Arc::new(Requests::new(events.clone(), &settings.tunnels, settings.mode));
    let context = Context {
        spawner: spawner.clone(),
        metrics,
        sink: requests.clone(),
        drain: Drain::of(&shutdown),
        drain_connections: settings.mode != Mode::AdHoc,
        waits: Waits::default(),
        servers: KnownServers::default(),
    };
    let hangups = Hangups::listen().await.map_err(Exit::failed)?;
    let sessions = Arc::new(Sessions::new(settings.connections));
    let tunnels = Tunnels::new(settings.tunnels.clone());
    let plugins = Plugins::of(&settings.plugins, &settings.kinds).map_err(Exit::usage)?;
    plugins.start(&context);
    let services = own::services(&tunnels.all(), &plugins, &context).map_err(Exit::failed)?;
    let services = Arc::new(services);
    let mut forwards = Forwards::default();
    let proved = forwards.prove(&settings.forwards, &settings.plugins, &plugins, &context);
    forwards.switch(proved.map_err(Exit::failed)?, &sessions, &context, &events);
    let groups = Groups::new(
        settings.allow.clone(),
        settings.kinds.clone(),
        services.clone(),
        sessions.clone(),
        context.clone(),
    );
    let (refused, mut refusal) = mpsc::channel(1);
    let budget = ProcessBudget::of_memory(ops::memory::available());
    let held = budget.clone();
    context.metrics.watch_buffered_bytes(move || u64::try_from(held.held()).unwrap_or(u64::MAX));
    let instance = Arc::new(Instance {
        client: identity.client,
        id: InstanceId(rand::random()),
        login: ArcSwap::from_pointee(Login::of(&settings).map_err(Exit::usage)?),
        mode: settings.mode,
        rotation: Mutex::new(settings.rotation),
        services,
        groups,
        tunnels,
        sessions,
        events,
        context,
        budget,
        registered: TaskTracker::new(),
        refused,
        told: Mutex::default(),
        started: Instant::now(),
    });
    let ops = match settings.ops {
        Some(address) => {
            let listener = TcpListener::bind(address).await;
            let listener = listener
                .map_err(|error| Exit::failed(format_args!("ops: cannot listen on {address}: {error}")))?;
            Some(reload::serve_ops(listener, &instance))
        }
        None => None,
    };
    for (_, tunnel) in instance.tunnels.all() {
        own::look_after(tunnel, &instance);
    }
    let slots = Slots::start(instance.clone(), settings.connections);
    let state = settings.state.clone();
    let current = Current { settings, slots, forwards, ops };
    let running = Arc::new(Running::new(instance.clone(), requests, current));
    if let Hold::Held(_) = &identity.hold {
        serve_admin(&state, &running).await;
    }
    let here = spawner.here();
    match watch {
        Some(watch) => {
            spawner.spawn(here, "configuration", reload::follow(running.clone(), hangups, watch));
        }
        // A terminal that is closed ends what ran in it.
        None => drop(spawner.spawn(here, "hangups", end_on_hangup(hangups, shutdown.clone()))),
    }

    let exit = tokio::select! {
        () = shutdown.drain.cancelled() => {
            end(&instance).await;
            Exit::done("")
        }
        Some(reason) = refusal.recv() => Exit::refused(reason),
    };
    // Sessions say goodbye, supervisors end with them.
    shutdown.ask();
    shutdown.now.cancel();
    let _ = timeout(LAST_WORDS, running.finish()).await;
    tracing::info!("tunnelc ends");
    drop((instance, running));
    if let Some(view) = view {
        view.finish().await;
    }
    Ok(exit)
}

/// Gives the names back and waits for work in progress, within bounds.
async fn end(instance: &Instance) {
    let drain = instance.drain();
    instance.registered.close();
    let _ = drain.now.run_until_cancelled(timeout(UNREGISTER, instance.registered.wait())).await;
    let deadline = if instance.mode == Mode::AdHoc { AD_HOC_DRAIN } else { SERVICE_DRAIN };
    let in_progress = drain.in_progress();
    if in_progress > 0 {
        instance.events.tell(Event::Ending { in_progress, limit: drain.patience(deadline) });
    }
    drain.finish(deadline).await;
}

/// Ends the process with the terminal that it ran in.
async fn end_on_hangup(mut hangups: Hangups, shutdown: Shutdown) {
    while shutdown.now.run_until_cancelled(hangups.next()).await.is_some() {
        shutdown.ask();
    }
}

/// The first lines: who we are, and what is unusual about it.
fn greet(settings: &Settings, identity: &Identity, events: &Events) {
    tracing::info!(
        version = crate::VERSION,
        config = settings.source.as_ref().map(|source| source.file.display().to_string()),
        state = %settings.state.path().display(),
        client = %identity.client,
        tunnels = settings.tunnels.len(),
        "tunnelc starts"
    );
    let warn = |text: &str| events.tell(Event::Warning(text.to_owned()));
    match &identity.hold {
        Hold::Held(_) => {}
        Hold::Elsewhere if settings.mode != Mode::AdHoc => {
            warn(
                "another tunnelc has this state directory: this one is a client of its own (--state DIR for another)",
            );
        }
        Hold::Elsewhere if settings.tunnels.iter().any(Tunnel::is_picked) => {
            let text = "another tunnelc is running: this one is a client of its own, and its address is new each time";
            events.tell(Event::Note(text.to_owned()));
        }
        Hold::Elsewhere => {}
        Hold::Nowhere(reason) => {
            warn(&format!("{reason}; without it, random names and ports change with every start"));
        }
    }
    if settings.tunnels.is_empty() && settings.forwards.is_empty() && settings.allow == Consent::default() {
        warn("the configuration has no tunnel: add [[tunnel]] with name, kind and to");
    }
}

/// Without its admin socket a client works as well; only `status` does not.
async fn serve_admin(state: &StateDir, running: &Arc<Running>) {
    let instance = &running.instance;
    match AdminSocket::bind(&state.file(admin::SOCKET)).await {
        Ok(socket) => {
            let (running, spawner) = (running.clone(), instance.context.spawner.clone());
            spawner.clone().spawn(spawner.here(), "admin socket", async move {
                let now = running.instance.drain().now.clone();
                admin::serve(socket, crate::admin::router(running), &spawner, &now).await;
            });
        }
        Err(error) => instance.events.tell(Event::Warning(format!("no `tunnelc status`: {error}"))),
    }
}
