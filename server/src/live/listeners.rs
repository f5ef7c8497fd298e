//! All listeners of a configuration: proven, and put in the place of those before.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proxy::ingress::Entrance;

use super::listener::{Listener, Socket};
use super::plan::{Step, plan};
use super::proven::Unproven;
use super::role::Role;
use super::running::AtStart;
use super::serving::{Beginning, Serving};
use crate::admin::{self, Bound};
use crate::listeners::BindError;
use crate::settings::{Listen, Settings};

/// A listener that a configuration wants.
pub(super) struct Wanted {
    role: Role,
    listen: Listen,
    /// Where its address is written.
    key: &'static str,
    /// Trusted peers say in front who the visitor is.
    proxy_protocol: bool,
}

/// The listeners of a configuration that is being proven, in the order of the wanted ones.
pub(super) struct NextListeners(Vec<NextListener>);

pub(super) struct NextListener {
    pub(super) listener: Arc<Listener>,
    pub(super) proxy_protocol: bool,
    /// It has the socket that was a client's public port until now.
    pub(super) took_port: bool,
    /// How visitors come in; none where none come.
    pub(super) entrance: Option<Entrance>,
    /// What operators have to pass first; none where none ask.
    pub(super) operators: Option<admin::Gate>,
    /// None if it is there already.
    beginning: Option<Beginning>,
}

/// The listeners that `settings` want.
pub(super) fn wanted(settings: &Settings) -> Vec<Wanted> {
    let (file, flags) = (&settings.document.listen, &settings.flags);
    let mut all = Vec::new();
    let mut want = |role: Role, listen: &Listen, in_file: bool, flag: bool, proxy_protocol| {
        let key = if in_file && !flag { role.key() } else { role.flag() };
        all.push(Wanted { role, listen: listen.clone(), key, proxy_protocol });
    };
    want(Role::Tunnel, &settings.tunnel, file.tunnel.is_some(), flags.tunnel.is_some(), false);
    let proxied = |listener: &Option<crate::config::Listener>| {
        listener.as_ref().is_some_and(|listener| listener.proxy_protocol)
    };
    want(Role::Http, &settings.http, file.http.is_some(), flags.http.is_some(), proxied(&file.http));
    if let Some(https) = &settings.https {
        want(Role::Https, https, file.https.is_some(), flags.https.is_some(), proxied(&file.https));
    }
    want(Role::Ops, &settings.ops, file.ops.is_some(), flags.ops.is_some(), false);
    if let Some(admin) = &file.admin {
        want(Role::Admin, &Listen::at(admin.address), true, false, false);
    }
    for entrance in &settings.document.tcp {
        let listen = entrance.listen;
        want(Role::Tcp, &Listen::at(listen.address), true, false, listen.proxy_protocol);
    }
    let mut known = HashSet::new();
    for listen in settings.document.tls.iter().filter_map(|passthrough| passthrough.listen) {
        if known.insert(listen.address) {
            want(Role::Tls, &Listen::at(listen.address), true, false, listen.proxy_protocol);
        }
    }
    all
}

/// The ports of `wanted` that lead to services, as far as they are written.
pub(super) fn written_ports(wanted: &[Wanted]) -> HashSet<u16> {
    let relayed = wanted.iter().filter(|wanted| matches!(wanted.role, Role::Tcp | Role::Tls));
    relayed.map(|wanted| wanted.listen.port()).filter(|port| *port != 0).collect()
}

impl NextListeners {
    /// Binds what is new of `wanted`, besides the `open` ones. Of a port that `is_given_up` a client is about to give it back.
    pub(super) fn prove(
        wanted: Vec<Wanted>,
        open: &[Arc<Listener>],
        start: AtStart,
        is_given_up: impl Fn(u16) -> bool,
        serving: &Serving,
    ) -> Result<Self, Unproven> {
        let places: Vec<_> = open.iter().map(|listener| listener.open()).collect();
        let listens: Vec<_> = wanted.iter().map(|wanted| (wanted.role, wanted.listen.clone())).collect();
        let steps = plan(&places, &listens)?;
        let mut all = Vec::with_capacity(steps.len());
        for (Wanted { role, listen, key, proxy_protocol }, step) in wanted.into_iter().zip(steps) {
            let (sockets, mut bind) = match step {
                Step::Keep(index) => {
                    if let Some(listener) = open.get(index).cloned() {
                        all.push(NextListener::new(listener, proxy_protocol, None));
                    }
                    continue;
                }
                Step::Make { sockets, bind } => (sockets, bind),
            };
            let kept =
                sockets.into_iter().filter_map(|(listener, socket)| open.get(listener)?.socket(socket));
            let mut kept: Vec<_> = kept.collect();
            // Clients are asked for the ports of these alone.
            let given_up = matches!(role, Role::Tcp | Role::Tls) && is_given_up(listen.port());
            let mut took_port = false;
            if given_up {
                // As a client gives it up, so that nobody is refused meanwhile.
                let addresses = bind.iter().flat_map(Listen::sockets);
                let taken: Option<Vec<_>> =
                    addresses.map(|address| Socket::of_port(&serving.sockets, address)).collect();
                if let Some(taken) = taken {
                    took_port = !taken.is_empty();
                    kept.extend(taken);
                    bind = None;
                }
            }
            let listener = Listener::new(role, listen, key, serving.stop(role));
            if let Err(error) = listener.bind(&serving.sockets, kept, bind.as_ref()) {
                let waits = error.kind() == io::ErrorKind::AddrInUse && given_up;
                if !waits && !may_wait(start, role, &error) {
                    return Err(error.into());
                }
                tracing::warn!(%error, "a listener is down, and tried again");
                listener.is_down(&error);
            }
            let beginning = match serving.prepare(&listener) {
                // The client has what it needs.
                Err(error) if given_up => {
                    tracing::warn!(%error, "a listener is down, and tried again");
                    listener.is_down(&error);
                    Beginning::default()
                }
                beginning => beginning?,
            };
            let next = NextListener::new(Arc::new(listener), proxy_protocol, Some(beginning));
            all.push(NextListener { took_port, ..next });
        }
        Ok(Self(all))
    }

    /// Those of one role, in order.
    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = &NextListener> {
        self.0.iter().filter(move |next| next.listener.role == role)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut NextListener> {
        self.0.iter_mut()
    }

    /// The ports of those that lead to services.
    pub(super) fn ports(&self) -> impl Iterator<Item = u16> {
        let relayed = self.of(Role::Tcp).chain(self.of(Role::Tls));
        relayed.filter_map(|next| next.listener.address()).map(|address| address.port())
    }

    /// Where the server listens; none if something is missing that always is there.
    pub(super) fn bound(&self) -> Option<Bound> {
        let first = |role| self.of(role).next().and_then(|next| next.listener.address());
        Some(Bound {
            tunnel: first(Role::Tunnel)?,
            http: first(Role::Http)?,
            https: first(Role::Https),
            ops: first(Role::Ops)?,
            admin: first(Role::Admin),
        })
    }

    /// The addresses that public ports are opened on.
    pub(super) fn public(&self) -> Vec<IpAddr> {
        let http = self.of(Role::Http).map(|next| &next.listener);
        let ips = |listener: &Arc<Listener>| match listener.addresses() {
            // It is down: where it will be.
            bound if bound.is_empty() => listener.listen.addresses().to_vec(),
            bound => bound.iter().map(SocketAddr::ip).collect(),
        };
        http.flat_map(ips).collect()
    }

    /// Begins with all that is new; what is there gets its new entrance. What is in use from now on.
    pub(super) fn begin(self, serving: &Arc<Serving>) -> Vec<Arc<Listener>> {
        let begin = |next: NextListener| {
            if let Some(entrance) = next.entrance {
                next.listener.gate.replace(entrance);
            }
            if let (Some(gate), Some(commands)) = (next.operators, serving.commands.get()) {
                next.listener.operators.show(gate.before(commands.clone()));
            }
            if let Some(beginning) = next.beginning {
                serving.begin(&next.listener, beginning);
            }
            next.listener
        };
        self.0.into_iter().map(begin).collect()
    }
}

impl NextListener {
    const fn new(listener: Arc<Listener>, proxy_protocol: bool, beginning: Option<Beginning>) -> Self {
        Self { listener, proxy_protocol, took_port: false, entrance: None, operators: None, beginning }
    }
}

/// Whether the start goes on without this listener, which may be bound in a moment.
fn may_wait(start: AtStart, role: Role, error: &BindError) -> bool {
    match (start, role) {
        (AtStart::No, _) | (_, Role::Tunnel) => false,
        (AtStart::Yes, Role::Tcp | Role::Tls) => {
            matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
        }
        (AtStart::Yes, _) => error.kind() == io::ErrorKind::AddrInUse,
    }
}
