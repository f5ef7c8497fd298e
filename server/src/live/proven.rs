//! A configuration that could be used, and has not been yet.

use std::net::IpAddr;
use std::sync::Arc;

use proxy::plugin::Plugins;
use tokio::sync::OwnedMutexGuard;

use super::listeners::NextListeners;
use super::plan::Overlap;
use crate::admin::Bound;
use crate::admission::{GateError, NewGate};
use crate::certificates::{CertificateError, Certificates};
use crate::identity::{IdentityError, JoinMaker, NewCertificate};
use crate::listeners::BindError;
use crate::nearby::Services;
use crate::registry::{NameHeld, NamesWanted, Naming, NoRoom, PreparedParts, Refusal, Routing, Unprepared};
use crate::settings::{Settings, SettingsError};

/// A configuration that could be used, with all that is new of it. Dropped, it gives back what it holds.
#[must_use = "nothing has changed before `Running::switch`"]
pub struct Proven {
    pub(super) next: Next,
    pub(super) parts: PreparedParts,
    pub(super) services: Services,
    pub(super) certificates: Certificates,
    /// The server's own certificate, if it is to be kept.
    pub(super) own: Option<NewCertificate>,
    /// The same in use, and what clients are asked for.
    pub(super) gate: NewGate,
    pub(super) naming: Naming,
    pub(super) routing: Routing,
    pub(super) names: NamesWanted,
    pub(super) listeners: NextListeners,
    /// No other one is proven meanwhile.
    pub(super) _only: OwnedMutexGuard<()>,
}

/// What the server remembers of the configuration in use.
#[derive(Debug)]
pub(super) struct Next {
    /// The server has not begun.
    pub(super) is_nothing: bool,
    pub(super) revision: u64,
    pub(super) settings: Settings,
    pub(super) plugins: Arc<Plugins>,
    pub(super) joins: JoinMaker,
    pub(super) bound: Bound,
    /// What the server's own certificate is for.
    pub(super) key_names: Vec<String>,
}

impl Proven {
    /// The number of the configuration.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.next.revision
    }

    /// What makes join strings once it is in use.
    pub(crate) fn joins(&self) -> &JoinMaker {
        &self.next.joins
    }

    /// The members of groups that will not serve their part, and why.
    #[must_use]
    pub fn behind(&self) -> &[Refusal] {
        self.parts.refusals()
    }

    /// The addresses that public ports are opened on once it is in use.
    pub(crate) fn public(&self) -> Vec<IpAddr> {
        self.listeners.public()
    }
}

impl std::fmt::Debug for Proven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proven").field("revision", &self.next.revision).finish_non_exhaustive()
    }
}

/// What a switch has done, for who reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Switched {
    /// The number of the configuration in use.
    pub revision: u64,
    /// Members of groups that do not serve their part, and why.
    pub behind: Vec<Refusal>,
    /// Names that were taken from those who held them.
    pub taken: Vec<NameHeld>,
    /// Sessions that ended because their principal is gone.
    pub ended: usize,
    /// Names that were withdrawn because they are not granted any more.
    pub withdrawn: usize,
    /// Listeners that could not be bound yet, and why.
    pub down: Vec<String>,
    /// What it lacks, a line each.
    pub lacks: Vec<String>,
}

impl Switched {
    /// All of it for people, a line each; nothing if there is nothing to say.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let taken = self.taken.iter().map(|held| format!("taken: {held}"));
        let behind = self.behind.iter().map(|refusal| format!("behind in {}: {refusal}", refusal.group));
        let down = self.down.iter().map(|error| format!("down, and tried again: {error}"));
        let counted = [
            (self.ended, "sessions ended, whose principals are gone"),
            (self.withdrawn, "names withdrawn that are not granted any more"),
        ];
        let counted = counted.into_iter().filter(|(count, _)| *count > 0);
        let counted = counted.map(|(count, what)| format!("{what}: {count}"));
        taken.chain(behind).chain(counted).chain(down).chain(self.lacks.iter().cloned()).collect()
    }
}

/// Why a configuration can not be used. Nothing has changed; whoever wrote it is at fault where nothing else is said.
#[derive(Debug, thiserror::Error)]
pub enum Unproven {
    /// Its keys do not go together, or not with the flags.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Rules or plugins that can not be followed, a line each.
    #[error("{0}")]
    Rules(String),
    /// A service next to the server that can not be.
    #[error(transparent)]
    Service(#[from] proxy::service::ServiceError),
    /// A certificate that can not be shown.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The server's own certificate can not be made for the new names: the state directory is at fault.
    #[error("the server's own certificate: {0}")]
    Key(#[from] IdentityError),
    /// The certificates of clients can not be checked.
    #[error(transparent)]
    Clients(#[from] GateError),
    /// No address to tell clients.
    #[error("advertise: {0}")]
    Advertise(#[from] protocol::join::HostPortError),
    /// Clients hold names that it needs.
    #[error("{}; choose other names, or take them with --take, which tells those who hold them", listed(.0))]
    Held(Vec<NameHeld>),
    /// A listener would have to move.
    #[error(transparent)]
    Overlap(#[from] Overlap),
    /// An address can not be listened on; something else on this machine is there.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The limit of open files is too low for one more listener.
    #[error("{0}; raise the limit of open files (LimitNOFILE), and start anew")]
    NoRoom(#[from] NoRoom),
    /// TLS can not be set up: the library has no randomness.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Too few members of a group took its part, or it can not be handed over.
    #[error(transparent)]
    Parts(#[from] Unprepared),
    /// Certificates, or files of the clients' CA, can not be read.
    #[error(
        "a certificate or a file of `listen.tunnel` does not answer: look at its file system (df, dmesg), and try again"
    )]
    NoAnswer,
    /// The server stops.
    #[error("the server stops")]
    Stopping,
}

impl Unproven {
    /// Whether another text could be used: else the server itself is at fault, or what it is given, and no text helps.
    pub(crate) const fn is_usage(&self) -> bool {
        !matches!(self, Self::Key(_) | Self::NoRoom(_) | Self::Tls(_) | Self::NoAnswer | Self::Stopping)
    }
}

fn listed(held: &[NameHeld]) -> String {
    held.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
