//! The wiring of a running `tunnelc`, top to bottom.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use ops::admin::{self, AdminSocket};
use ops::cli::Exit;
use ops::drain::Drain;
use ops::fd_limit;
use ops::log::{self, LogFormat, LogOptions};
use ops::metrics::Metrics;
use ops::ops_listener;
use ops::signals::{Hangups, Shutdown};
use ops::spawn::{Placement, Spawner};
use ops::state_dir::StateDir;
use parking_lot::Mutex;
use policy::consent::Consent;
use policy::part::IngressKind;
use protocol::id::{InstanceId, Slot};
use protocol::service_name::ServiceName;
use proxy::context::{Context, Waits};
use proxy::directory::RouteLabels;
use proxy::plugin::Plugins;
use proxy::service::{KnownServers, Service, ServiceTable, labels_of};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;
use tokio_util::task::TaskTracker;
use transport::login_key::LoginKey;
use transport::session::ProcessBudget;
use transport::tls::client_config_as;

use crate::events::{Event, Events};
use crate::forward::Forward;
use crate::groups::Groups;
use crate::hints::HostHints;
use crate::identity::{Hold, Identity};
use crate::ingress::{Door, Leads, let_in};
use crate::instance::{Instance, host_name};
use crate::requests::Requests;
use crate::sessions::Sessions;
use crate::settings::{Mode, Settings};
use crate::tunnel::{Tunnel, TunnelKind};
use crate::tunnels::Tunnels;
use crate::view::View;
use crate::{operations, probe, supervisor};

/// How long a drain waits for work in progress: a person at a terminal is less patient than a service.
const AD_HOC_DRAIN: Duration = Duration::from_secs(2);
const SERVICE_DRAIN: Duration = Duration::from_secs(30);
/// Until the server has confirmed that it opens no more substreams.
const UNREGISTER: Duration = Duration::from_secs(1);
/// For the last words on every session.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs what `settings` say until a signal or a refusal.
pub fn run(settings: Settings) -> Exit {
    // A view says everything that the log would, and for a person.
    let viewed = settings.mode == Mode::AdHoc && settings.log != Some(LogFormat::Json);
    let options = LogOptions {
        format: settings.log.unwrap_or_default(),
        // The verifier of the system's roots logs what a failed attempt says anyway.
        default_filter: format!("{},rustls_platform_verifier=off", if viewed { "warn" } else { "info" }),
    };
    let logs = match log::init(&options) {
        Ok(logs) => logs,
        Err(error) => return Exit::failed(error),
    };
    let placement = match Placement::from_env() {
        Ok(placement) => placement,
        Err(error) => return Exit::usage(error),
    };
    if let Err(error) = fd_limit::raise() {
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
    let ended = workers.block_on(serve(settings, viewed, metrics, spawner));
    workers.shutdown(LAST_WORDS);
    ended.unwrap_or_else(|exit| exit)
}

async fn serve(settings: Settings, viewed: bool, metrics: Metrics, spawner: Spawner) -> Result<Exit, Exit> {
    let shutdown = Shutdown::on_signals(&spawner).await.map_err(Exit::failed)?;
    let identity = Identity::claim(&settings.state).map_err(Exit::failed)?;
    let (events, view) = if viewed {
        let (events, watched) = Events::to_view();
        (events, Some(View::start(watched).map_err(Exit::failed)?))
    } else {
        (Events::to_log(), None)
    };
    greet(&settings, &identity, &events);

    let sink =
        Requests { events: events.clone(), hints: HostHints::new(settings.tunnels.iter(), settings.mode) };
    let context = Context {
        spawner: spawner.clone(),
        metrics,
        sink: Arc::new(sink),
        drain: Drain::of(&shutdown),
        drain_connections: settings.mode != Mode::AdHoc,
        waits: Waits::default(),
        servers: KnownServers::default(),
    };
    on_hangup(settings.mode, &shutdown, &spawner).await?;
    let sessions = Arc::new(Sessions::new(settings.connections));
    let services = Arc::new(services(&settings.tunnels, &context)?);
    let plugins = Plugins::of(&settings.plugins, &settings.kinds).map_err(Exit::usage)?;
    plugins.start(&context);
    let _open = forward(&settings.forwards, &plugins, &sessions, &context, &events)?;
    let groups =
        Groups::new(settings.allow, settings.kinds, services.clone(), sessions.clone(), context.clone());
    let (refused, mut refusal) = mpsc::channel(1);
    let budget = ProcessBudget::of_memory(ops::memory::available());
    let held = budget.clone();
    context.metrics.watch_buffered_bytes(move || u64::try_from(held.held()).unwrap_or(u64::MAX));
    let instance = Arc::new(Instance {
        client: identity.client,
        id: InstanceId(rand::random()),
        name: settings.name.unwrap_or_else(host_name),
        credential: settings.join.credential.clone(),
        key: LoginKey::from_seed(settings.join.secret.expose()).map_err(Exit::usage)?,
        tls: client_config_as(&settings.trust, settings.certificate).map_err(Exit::usage)?,
        servers: settings.servers,
        mode: settings.mode,
        services,
        groups,
        tunnels: Tunnels::new(settings.tunnels),
        sessions,
        events,
        context,
        budget,
        registered: TaskTracker::new(),
        refused,
        told: Mutex::default(),
        started: Instant::now(),
    });
    if let Hold::Held(_) = &identity.hold {
        serve_admin(&settings.state, &instance).await;
    }
    if let Some(address) = settings.ops {
        let listener = TcpListener::bind(address).await;
        let listener = listener
            .map_err(|error| Exit::failed(format_args!("ops: cannot listen on {address}: {error}")))?;
        let (instance, spawner) = (instance.clone(), spawner.clone());
        spawner.clone().spawn(spawner.here(), "ops listener", async move {
            let now = instance.drain().now.clone();
            ops_listener::serve(listener, operations::router(instance), &spawner, &now).await;
        });
    }
    for (_, tunnel) in instance.tunnels.iter() {
        let probe = probe::probe(tunnel.clone(), instance.events.clone(), shutdown.drain.clone());
        spawner.spawn(spawner.here(), "probe", probe);
    }
    let slots = (0..settings.connections).map(|slot| supervisor::start(Slot(slot), instance.clone()));
    let slots: Vec<_> = slots.collect();

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
    let goodbyes = async {
        for slot in slots {
            // A supervisor that panicked has said so.
            let _ = slot.await;
        }
    };
    let _ = timeout(LAST_WORDS, goodbyes).await;
    tracing::info!("tunnelc ends");
    drop(instance);
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
        instance.events.tell(Event::Ending { in_progress, limit: deadline });
    }
    drain.finish(deadline).await;
}

/// A terminal that is closed ends what ran in it; to a service SIGHUP is no reason to end.
async fn on_hangup(mode: Mode, shutdown: &Shutdown, spawner: &Spawner) -> Result<(), Exit> {
    let mut hangups = Hangups::listen().await.map_err(Exit::failed)?;
    let shutdown = shutdown.clone();
    spawner.spawn(spawner.here(), "hangups", async move {
        while shutdown.now.run_until_cancelled(hangups.next()).await.is_some() {
            match mode {
                Mode::AdHoc => shutdown.ask(),
                Mode::Service { .. } => {
                    tracing::warn!("SIGHUP: reload is not in this version; restart instead")
                }
            }
        }
    });
    Ok(())
}

/// The first lines: who we are, and what is unusual about it.
fn greet(settings: &Settings, identity: &Identity, events: &Events) {
    tracing::info!(
        version = crate::VERSION,
        config = settings.config.as_ref().map(|path| path.display().to_string()),
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

/// Opens the listeners that lead to services next to the server, for as long as what it returns lives.
fn forward(
    forwards: &[Forward],
    plugins: &Plugins,
    sessions: &Arc<Sessions>,
    context: &Context,
    events: &Events,
) -> Result<Vec<DropGuard>, Exit> {
    let open = |Forward { name, kind, listen, to, plugins: named }: &Forward| {
        let door = Door::open(*listen).map_err(Exit::failed)?;
        let labels = RouteLabels { route: name.as_str().into(), ..labels_of("", to, context) };
        let labels = RouteLabels { metrics: context.metrics.route(name, "", to), ..labels };
        let plugins = plugins.chain(named).map_err(Exit::usage)?;
        let leads = Leads { rules: Arc::default(), rest: labels, plugins };
        let open = let_in(&door, *kind, leads, sessions, context).map_err(Exit::failed)?;
        let url = match kind {
            IngressKind::Http => format!("http://{}", door.address),
            IngressKind::Tcp => format!("tcp://{}", door.address),
        };
        events.tell(Event::Ready { tunnel: name.clone(), url, to: format!("{to}, next to the server") });
        Ok(open)
    };
    forwards.iter().map(open).collect()
}

fn services(tunnels: &[Tunnel], context: &Context) -> Result<ServiceTable, Exit> {
    let table = ServiceTable::new();
    for (id, tunnel) in (0..).zip(tunnels) {
        let name: Arc<str> = tunnel.name.as_str().into();
        let group: Arc<str> = tunnel.group.as_deref().unwrap_or_default().into();
        let labels = RouteLabels {
            metrics: context.metrics.route(&name, &group, &name),
            route: name.clone(),
            group,
            service: name,
        };
        let service = match &tunnel.kind {
            TunnelKind::Http { set_host, .. } => Service::http(labels, &tunnel.to, set_host.clone(), context),
            TunnelKind::Tcp { .. } => Service::tcp(labels, &tunnel.to, context),
        };
        let service =
            service.map_err(|error| Exit::failed(format_args!("tunnel {:?}: {error}", tunnel.name)))?;
        table.insert(ServiceName::Own(id), Arc::new(service));
    }
    Ok(table)
}

/// Without its admin socket a client works as well; only `status` does not.
async fn serve_admin(state: &StateDir, instance: &Arc<Instance>) {
    match AdminSocket::bind(&state.file(admin::SOCKET)).await {
        Ok(socket) => {
            let (instance, spawner) = (instance.clone(), instance.context.spawner.clone());
            spawner.clone().spawn(spawner.here(), "admin socket", async move {
                let now = instance.drain().now.clone();
                admin::serve(socket, crate::admin::router(instance), &spawner, &now).await;
            });
        }
        Err(error) => instance.events.tell(Event::Warning(format!("no `tunnelc status`: {error}"))),
    }
}
