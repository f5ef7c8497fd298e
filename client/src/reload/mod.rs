//! Another configuration while this client runs: it is read, compared, proved, and switched to in one step. What it does
//! not change goes on as it is; if anything of it can not be had, nothing has changed.

mod diff;

use std::sync::Arc;

use ops::metrics::ReloadOutcome;
use ops::ops_listener;
use ops::signals::Hangups;
use ops::watch::FileWatch;
use parking_lot::Mutex as Briefly;
use proxy::plugin::Plugins;
use proxy::service::Service;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::events::Event;
use crate::forwards::{Forwards, parts_of};
use crate::instance::Instance;
use crate::login::Login;
use crate::requests::Requests;
use crate::settings::Settings;
use crate::slots::Slots;
use crate::source::Source;
use crate::tunnel::Tunnel;
use crate::{operations, own};

/// What runs and can be replaced.
pub(crate) struct Running {
    pub(crate) instance: Arc<Instance>,
    pub(crate) requests: Arc<Requests>,
    /// Held while one configuration takes the place of another.
    current: Mutex<Current>,
    /// Why the file is not what is in use.
    pending: Briefly<Option<String>>,
}

/// What is in use.
pub(crate) struct Current {
    pub(crate) settings: Settings,
    pub(crate) slots: Slots,
    pub(crate) forwards: Forwards,
    /// Closes the ops listener.
    pub(crate) ops: Option<CancellationToken>,
}

/// What became of a configuration that was read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// It says nothing new.
    Unchanged,
    /// It is in use. What has changed, in words.
    Applied(Vec<String>),
    /// It can not be used, and why. Nothing has changed.
    Failed(String),
}

impl Running {
    pub(crate) fn new(instance: Arc<Instance>, requests: Arc<Requests>, current: Current) -> Self {
        Self { instance, requests, current: Mutex::new(current), pending: Briefly::default() }
    }

    /// Why the file is not what is in use; none if it is.
    pub(crate) fn pending(&self) -> Option<String> {
        self.pending.lock().clone()
    }

    /// Reads the configuration again, as `cause` asks for.
    pub(crate) async fn reload(&self, cause: &str) -> Reloaded {
        let mut current = self.current.lock().await;
        let reloaded = match current.settings.source.clone() {
            Some(source) => self.read(&mut current, source).await,
            None => Reloaded::Failed("it runs without a configuration file".to_owned()),
        };
        drop(current);
        self.report(cause, &reloaded);
        reloaded
    }

    /// The same for somebody who may go away meanwhile: it is not left half done.
    pub(crate) async fn reload_for(self: &Arc<Self>, cause: &'static str) -> Reloaded {
        let (running, spawner) = (self.clone(), &self.instance.context.spawner);
        let task = spawner.spawn(spawner.here(), "reload", async move { running.reload(cause).await });
        task.await.unwrap_or_else(|end| Reloaded::Failed(end.to_string()))
    }

    /// Waits until all slots have ended, as the process does.
    pub(crate) async fn finish(&self) {
        self.current.lock().await.slots.finish().await;
    }

    async fn read(&self, current: &mut Current, source: Source) -> Reloaded {
        let read =
            tokio::task::spawn_blocking(move || source.read_again().map_err(|error| error.to_string())).await;
        let settings = match read {
            Ok(Ok(settings)) => settings,
            Ok(Err(error)) => return Reloaded::Failed(error),
            Err(_) => return Reloaded::Failed("this program ends".to_owned()),
        };
        let changes = diff::diff(&current.settings, &settings);
        if changes.is_empty() {
            return Reloaded::Unchanged;
        }
        match self.apply(current, settings).await {
            Ok(()) => Reloaded::Applied(changes),
            Err(error) => Reloaded::Failed(error),
        }
    }

    /// Proves what is new, and then switches.
    async fn apply(&self, current: &mut Current, settings: Settings) -> Result<(), String> {
        let Instance { context, .. } = &*self.instance;
        let before = &current.settings;
        // Whoever keeps what he had keeps his plugins too, with all that they have counted.
        let plugins = Plugins::of(&settings.plugins, &settings.kinds).map_err(|error| error.to_string())?;
        let made = self.new_services(before, &settings, &plugins)?;
        let forwards = current.forwards.prove(&settings.forwards, &settings.plugins, &plugins, context)?;
        let ops = match settings.ops {
            Some(address) if before.ops != settings.ops => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|error| format!("ops: cannot listen on {address}: {error}"))?)
            }
            _ => None,
        };
        // The last to be proved: a new session changes something already.
        let mut renew = None;
        if !Login::is_same(before, &settings) {
            let login = Arc::new(Login::of(&settings).map_err(|error| error.to_string())?);
            let proved = current.slots.prove(&login).await?;
            self.instance.login.store(login);
            renew = Some(proved);
        }

        plugins.start(context);
        if let Some(proved) = renew {
            current.slots.renew(proved).await;
        }
        if before.connections != settings.connections {
            current.slots.resize(settings.connections).await;
        }
        if !made.is_empty() || before.tunnels != settings.tunnels {
            self.requests.hint_at(&settings.tunnels, settings.mode);
            own::replace(&self.instance, settings.tunnels.clone(), made);
        }
        let Instance { sessions, events, .. } = &*self.instance;
        current.forwards.switch(forwards, sessions, context, events);
        if current.settings.allow != settings.allow {
            for text in self.instance.groups.allow(settings.allow.clone()) {
                events.tell(Event::Warning(text));
            }
        }
        // Of the sessions from now on.
        *self.instance.rotation.lock() = settings.rotation;
        if current.settings.ops != settings.ops {
            if let Some(before) = current.ops.take() {
                before.cancel();
            }
            current.ops = ops.map(|listener| serve_ops(listener, &self.instance));
        }
        current.settings = settings;
        Ok(())
    }

    fn new_services(
        &self,
        before: &Settings,
        settings: &Settings,
        plugins: &Plugins,
    ) -> Result<Vec<(Tunnel, Arc<Service>)>, String> {
        let stays = |tunnel: &&Tunnel| {
            let of = |settings: &Settings| parts_of(&settings.plugins, &tunnel.plugins);
            before.tunnels.contains(tunnel) && of(before) == of(settings)
        };
        let new = settings.tunnels.iter().filter(|tunnel| !stays(tunnel));
        let make = |tunnel: &Tunnel| own::service(tunnel, plugins, &self.instance.context);
        new.map(|tunnel| Ok((tunnel.clone(), make(tunnel)?))).collect()
    }

    fn report(&self, cause: &str, reloaded: &Reloaded) {
        let (metrics, events) = (&self.instance.context.metrics, &self.instance.events);
        match reloaded {
            Reloaded::Unchanged => {
                *self.pending.lock() = None;
                tracing::debug!(cause, "the configuration says nothing new");
            }
            Reloaded::Applied(changes) => {
                *self.pending.lock() = None;
                metrics.reload(ReloadOutcome::Applied);
                events.tell(Event::Note(format!(
                    "the configuration is in use ({cause}): {}",
                    changes.join(", ")
                )));
            }
            Reloaded::Failed(error) => {
                *self.pending.lock() = Some(error.clone());
                metrics.reload(ReloadOutcome::Failed);
                let text =
                    format!("the configuration can not be used ({cause}), and nothing has changed: {error}");
                events.tell(Event::Warning(text));
            }
        }
    }
}

/// Reads the configuration again whenever its file changes or a hangup comes, until the process drains.
pub(crate) async fn follow(running: Arc<Running>, mut hangups: Hangups, mut watch: FileWatch) {
    let drain = running.instance.drain().start.clone();
    loop {
        let cause = tokio::select! {
            () = drain.cancelled() => return,
            () = hangups.next() => "SIGHUP",
            () = watch.changed() => "its file has changed",
        };
        running.reload(cause).await;
    }
}

/// Answers to operators until what it returns is cancelled, or the process ends.
pub(crate) fn serve_ops(listener: TcpListener, instance: &Arc<Instance>) -> CancellationToken {
    let quiet = instance.drain().now.child_token();
    let (instance, spawner, until) = (instance.clone(), instance.context.spawner.clone(), quiet.clone());
    spawner.clone().spawn(spawner.here(), "ops listener", async move {
        ops_listener::serve(listener, operations::router(instance), &spawner, &until).await;
    });
    quiet
}
