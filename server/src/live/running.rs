//! The configuration in use, and how another one takes its place.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::Router;
use ops::config::Lack;
use ops::state_dir::StateDir;
use parking_lot::Mutex;
use protocol::join::Pin;
use proxy::concurrency::Limits;
use proxy::context::Context as DataPlane;
use proxy::directory::Directory;
use proxy::ingress::{Entrance, TlsEntrance};
use proxy::plugin::{Kinds, Plugins};
use rustls::ServerConfig;

use super::keeping::Keeping;
use super::listener::Listener;
use super::listeners::{NextListener, NextListeners, wanted, written_ports};
use super::naming::{joins, key_names, public_url};
use super::proven::{Next, Proven, Switched, Unproven};
use super::relaying::passed;
use super::role::Role;
use super::serving::Serving;
use crate::admin::{self, Bound};
use crate::admission::{self, Door, NewGate};
use crate::certificates::Certificates;
use crate::config::{self, Document};
use crate::entrances::{plain, secure};
use crate::identity::{JoinMaker, NewCertificate, ServerKey, StateKey, Store};
use crate::registry::{Configured, Naming, Registry, Relays, WantedParts};
use crate::revision::{Disk, Refusal};
use crate::settings::{Flags, PublicUrl, Settings};

/// What the operator asks for besides the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Names that clients hold are taken from them where the document needs them.
    pub take: bool,
    /// All members of every group have to take its part, not only half of them.
    pub require_all: bool,
}

/// Whether the server is only about to begin: it does so without what may come in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtStart {
    Yes,
    No,
}

/// What all configurations share.
pub(crate) struct Shared {
    pub(crate) flags: Flags,
    pub(crate) kinds: Kinds,
    pub(crate) state: StateDir,
    pub(crate) state_key: StateKey,
    pub(crate) context: DataPlane,
    pub(crate) registry: Arc<Registry>,
    pub(crate) identity: Arc<Store>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) serving: Arc<Serving>,
}

/// The configuration in use, and everything that it sets up.
pub struct Running {
    shared: Shared,
    /// TLS for visitors, whatever certificates there are.
    tls: Arc<ServerConfig>,
    current: ArcSwap<Next>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    keeping: Arc<Keeping>,
    /// Where certificates are, which may not answer.
    disk: Disk,
    /// Held while a configuration is proven and not yet in use.
    only: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

impl Running {
    /// Nothing yet; `pin` is that of the server's own key, and `settings` are those of the first configuration.
    pub(crate) fn new(shared: Shared, settings: Settings, pin: Pin) -> Result<Self, Unproven> {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let first = Next {
            is_nothing: true,
            revision: 0,
            joins: joins(&settings, nowhere, pin)?,
            plugins: Arc::new(Plugins::default()),
            bound: Bound { tunnel: nowhere, http: nowhere, https: None, ops: nowhere, admin: None },
            key_names: key_names(&settings),
            settings,
        };
        Ok(Self {
            tls: shared.certificates.tls()?,
            shared,
            current: ArcSwap::from_pointee(first),
            listeners: Mutex::default(),
            keeping: Arc::default(),
            disk: Disk::default(),
            only: Arc::default(),
        })
    }

    /// What operators see, and what they ask for over TCP. To be called before the first switch.
    pub(crate) fn show(&self, pages: Router, commands: Router) {
        // Another time would change nothing; there is none.
        drop(self.shared.serving.pages.set(pages));
        drop(self.shared.serving.commands.set(commands));
    }

    /// The number of the configuration in use; 0 without one.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.current.load().revision
    }

    /// Where the server listens.
    #[must_use]
    pub fn bound(&self) -> Bound {
        self.current.load().bound
    }

    /// What makes join strings.
    #[must_use]
    pub fn joins(&self) -> JoinMaker {
        self.current.load().joins.clone()
    }

    /// The document in use, with the flags.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.current.load().settings.clone()
    }

    /// Where clients log in.
    #[must_use]
    pub fn door(&self) -> &Arc<Door> {
        &self.shared.serving.door
    }

    /// Why the listener of this address is down; none if it is not.
    #[must_use]
    pub fn down(&self, address: SocketAddr) -> Option<String> {
        let all = self.listeners.lock();
        all.iter().filter(|listener| listener.address() == Some(address)).find_map(|listener| listener.down())
    }

    /// Which of [`Self::bound`] are down, by their names there, and why.
    #[must_use]
    pub fn all_down(&self) -> BTreeMap<String, String> {
        let all = self.listeners.lock();
        // Of those that connections are relayed from there may be many: they are asked for by their address.
        let named = all.iter().filter(|listener| !matches!(listener.role, Role::Tcp | Role::Tls));
        // It accepts, and has nothing to go on with.
        let in_vain = |role| match role {
            Role::Https => self.shared.certificates.down(),
            Role::Admin => self.current.load().settings.document.listen.admin.as_ref()?.lacks.clone(),
            _ => None,
        };
        let down = |it: &Arc<Listener>| {
            let why = it.down().or_else(|| in_vain(it.role))?;
            Some((it.role.as_str().to_owned(), why))
        };
        named.filter_map(down).collect()
    }

    /// What the configuration in use lacks, and what that means, a line each.
    #[must_use]
    pub fn lacks(&self) -> Vec<String> {
        let current = self.current.load();
        let document = &current.settings.document;
        let mut all = self.shared.certificates.wrong();
        all.extend(self.door().wrong());
        all.extend(document.listen.admin.as_ref().and_then(|admin| {
            Some(format!(
                "listen.admin lets nobody in before the configuration is read again: {}",
                admin.lacks.as_ref()?
            ))
        }));
        all.extend(document.plugins.iter().filter_map(|plugin| {
            let (name, lacks) = (&plugin.name, plugin.lacks.as_ref()?);
            Some(format!("the plugin {name} answers everything with 503 before the configuration is read again: {lacks}"))
        }));
        all
    }

    /// Listens to nobody but operators any more, who come in on the last of it too.
    pub(crate) fn end_listening(&self) {
        let is_for_operators = |listener: &Arc<Listener>| matches!(listener.role, Role::Ops | Role::Admin);
        self.listeners.lock().retain(is_for_operators);
    }

    /// Constructs and proves what is new of `document`, which gets the number `revision`: binds, resolves, asks the members
    /// of groups. Changes nothing; a dropped [`Proven`] undoes what it holds.
    ///
    /// # Errors
    /// [`Unproven`]: nothing has changed.
    pub async fn prove(&self, document: Document, revision: u64, wishes: Wishes) -> Result<Proven, Unproven> {
        let settings = Settings::new(self.shared.flags.clone(), document)?;
        self.prove_settings(settings, revision, wishes, AtStart::No).await
    }

    /// The same for settings that are read already.
    pub(crate) async fn prove_settings(
        &self,
        settings: Settings,
        revision: u64,
        wishes: Wishes,
        start: AtStart,
    ) -> Result<Proven, Unproven> {
        let Shared { registry, context, kinds, .. } = &self.shared;
        let only = self.only.clone().lock_owned().await;
        let current = self.current.load_full();
        let document = &settings.document;
        let (routing, plugins) =
            config::routing(document, &current.plugins, kinds, &context.metrics).map_err(Unproven::Rules)?;
        let services = registry.nearby().prepare(&document.services, &plugins)?;
        let (certificates, own) = self.read_certificates(&settings, &current.key_names).await?;
        let (key, own) = own.unzip();
        let gate = self.gate(document, key.as_ref()).await?;

        let wanted = wanted(&settings);
        let names = Configured::of(document, written_ports(&wanted));
        // At the start nobody is there to be asked.
        let take = wishes.take || start == AtStart::Yes;
        let names = registry.want_names(names, take).map_err(Unproven::Held)?;
        let open = self.listeners.lock().clone();
        // Whoever held one of them gives it back, or it would have been refused.
        let given_up = |port| registry.ports().has(port);
        let mut listeners = NextListeners::prove(wanted, &open, start, given_up, &self.shared.serving)?;
        names.and_ports(listeners.ports());
        let bound = listeners.bound().ok_or(Unproven::Stopping)?;
        let url = public_url(&settings, bound);
        for next in listeners.iter_mut() {
            next.entrance = self.entrance(next, document, &url, bound);
            next.operators = self.operators(next, document);
        }
        let relays = self.relays(document, &listeners, bound);
        let pin = key.as_ref().map_or(current.joins.pin, |key| key.pin);
        let parts = registry.prepare_parts(WantedParts::of(document, revision, wishes.require_all)).await?;
        registry.nearby().get_ready(&services).await;
        Ok(Proven {
            parts,
            services,
            certificates,
            naming: Naming {
                domain: settings.domain.clone(),
                public_url: url,
                key: self.shared.state_key.clone(),
            },
            routing: routing.with_relays(relays).of_revision(revision),
            names,
            listeners,
            next: Next {
                is_nothing: false,
                revision,
                plugins: Arc::new(plugins),
                joins: joins(&settings, bound.tunnel, pin)?,
                bound,
                key_names: key_names(&settings),
                settings,
            },
            own: own.flatten(),
            gate,
            _only: only,
        })
    }

    /// Puts what is proven in the place of what is in use, in one step. Requests under way finish where they are.
    pub fn switch(&self, proven: Proven) -> Switched {
        let Proven {
            next,
            parts,
            services,
            certificates,
            own,
            gate,
            naming,
            routing,
            names,
            listeners,
            _only: only,
        } = proven;
        let Shared { registry, context, serving, .. } = &self.shared;
        let Next { revision, settings, plugins, .. } = &next;
        let waits = settings.document.timeouts;
        context.waits.replace(waits.data_plane);
        serving.door.pulse().beat_every(waits.heartbeat);
        serving.visitors.limit_to(Limits { wait: waits.queue, ..settings.document.limits });
        self.shared.certificates.replace(certificates);
        let revoked = serving.door.use_gate(gate);
        let granted = settings.document.principals.iter();
        let granted = granted.map(|granting| (granting.name.clone(), granting.grants.clone()));
        self.shared.identity.configure(granted);
        registry.name_by(naming);
        registry.ports().bind_on(listeners.public());
        // What rules lead to is there before them, and goes after them.
        plugins.start(context);
        registry.use_services(services);
        let behind = parts.refusals().to_vec();
        registry.use_parts(parts);
        registry.route_by(routing);
        let taken = registry.use_names(names);
        let (ungranted, withdrawn) = registry.end_ungranted(Instant::now());
        let ended = ungranted.saturating_add(revoked);
        let before = std::mem::replace(&mut *self.listeners.lock(), listeners.begin(serving));
        drop(before);
        let down = self.listeners.lock().iter().filter_map(|listener| listener.down()).collect();
        let revision = *revision;
        let before = self.current.swap(Arc::new(next));
        drop(only);
        let joins = self.new_joins(&before);
        self.keeping.keep((&self.shared.state, &self.shared.identity), own, joins, &context.spawner);
        Switched { revision, behind, taken, ended, withdrawn, down, lacks: self.lacks() }
    }

    /// `default` comes and goes with the principals of the configuration, and its join string says where clients go.
    fn new_joins(&self, before: &Next) -> Option<JoinMaker> {
        let now = self.current.load();
        let had = |next: &Next| next.settings.document.principals.is_empty();
        let same = now.joins.address == before.joins.address && had(&now) == had(before);
        // At the start it has to be there before the first client: that is not left to a task.
        (!same && !before.is_nothing).then(|| now.joins.clone())
    }

    /// The certificates for visitors, and the server's own if it has other names than those that are `known`.
    async fn read_certificates(
        &self,
        settings: &Settings,
        known: &[String],
    ) -> Result<(Certificates, Option<(ServerKey, Option<NewCertificate>)>), Unproven> {
        let (files, names) = (settings.document.certificates.clone(), key_names(settings));
        let (state, same, lack) = (self.shared.state.clone(), names == known, settings.document.lack);
        let before = self.shared.certificates.clone();
        let read = move || {
            let certificates = match lack {
                Lack::Refused => Certificates::load(files)?,
                Lack::Down => Certificates::load_good(files, &before),
            };
            let own = (!same).then(|| ServerKey::for_names(&state, &names)).transpose()?;
            Ok((certificates, own))
        };
        self.disk.read(read).await.map_err(unread)?
    }

    async fn gate(&self, document: &Document, key: Option<&ServerKey>) -> Result<NewGate, Unproven> {
        let clients = document.listen.tunnel.as_ref().and_then(|listener| listener.clients.clone());
        let (door, tls, lack) = (self.door().clone(), key.map(|key| key.tls.clone()), document.lack);
        let read = move || door.gate(tls, clients.as_ref(), lack);
        Ok(self.disk.read(read).await.map_err(unread)??)
    }

    fn entrance(
        &self,
        next: &NextListener,
        document: &Document,
        public_url: &PublicUrl,
        bound: Bound,
    ) -> Option<Entrance> {
        let mut entrance = plain(document, next.proxy_protocol);
        match next.listener.role {
            Role::Tunnel | Role::Ops | Role::Admin => return None,
            Role::Tcp | Role::Tls => {}
            Role::Http => {
                if document.listen.http.as_ref().is_some_and(|listener| listener.redirect) {
                    entrance.redirect = Some(secure(public_url, bound).pattern().into());
                }
            }
            Role::Https => entrance.tls = bound.https.map(|listener| self.tls_entrance(listener)),
        }
        Some(entrance)
    }

    fn operators(&self, next: &NextListener, document: &Document) -> Option<admin::Gate> {
        let admin = document.listen.admin.as_ref().filter(|_| next.listener.role == Role::Admin)?;
        let metrics = self.shared.context.metrics.clone();
        Some(admin::Gate::new(admin.tokens.clone(), next.listener.address()?, &admin.hosts, metrics))
    }

    fn tls_entrance(&self, listener: SocketAddr) -> Arc<TlsEntrance> {
        let (known, registry) = (self.shared.certificates.clone(), self.shared.registry.clone());
        let door = self.shared.serving.door.clone();
        Arc::new(TlsEntrance {
            listener,
            config: self.tls.clone(),
            // A host whose TLS ends elsewhere is not served here, though the certificate may be for it too: its visitors
            // must not come over the connection of another host.
            covers: Box::new(move |sni, host| known.agree(sni, host) && !registry.passes(listener, host)),
            clients: Box::new(move |stream, peer| admission::take(&door, stream, peer)),
        })
    }

    /// Where the connections of `listeners` go.
    fn relays(&self, document: &Document, listeners: &NextListeners, bound: Bound) -> Relays {
        let metrics = &self.shared.context.metrics;
        let own = |listen: config::RelayListen| {
            let is_it = |next: &&NextListener| next.listener.listen.is_at(listen.address);
            listeners.of(Role::Tls).find(is_it)?.listener.address()
        };
        let mut relays = passed(document, bound.https, metrics, own);
        for (entrance, next) in document.tcp.iter().zip(listeners.of(Role::Tcp)) {
            if let Some(address) = next.listener.address() {
                relays.add_tcp(address, &entrance.to, metrics);
                // Elsewhere, as on a loopback address, whoever came to the client's port has never been let in.
                if next.took_port && !entrance.listen.proxy_protocol {
                    relays.take_port(address);
                }
            }
        }
        relays
    }
}

fn unread(refusal: Refusal) -> Unproven {
    match refusal {
        Refusal::NoAnswer => Unproven::NoAnswer,
        _ => Unproven::Stopping,
    }
}
