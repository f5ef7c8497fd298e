//! All that a run of the program was told, from command line, environment and file.

use std::net::SocketAddr;

use ops::log::LogFormat;
use ops::state_dir::StateDir;
use policy::consent::Consent;
use policy::part::PluginPart;
use protocol::join::{HostPort, JoinString};
use proxy::plugin::Kinds;
use transport::tls::{ClientCertificate, Trust};

use crate::forward::Forward;
use crate::rotation::Rotation;
use crate::source::Source;
use crate::tunnel::Tunnel;

/// Parallel sessions if nobody says how many: two, so that a request beside a download waits neither for the other's bytes
/// nor, on two cores, for its processor time; and so that one lost connection is no outage.
pub(crate) const CONNECTIONS: u16 = 2;

/// What to run. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who logs in.
    pub join: JoinString,
    /// How the server proves itself.
    pub trust: Trust,
    /// What this client shows to a server that asks for a certificate.
    pub certificate: Option<ClientCertificate>,
    /// Where to log in; dialled in turn. Never empty.
    pub servers: Vec<HostPort>,
    /// The name of this client for people; default: the host name.
    pub name: Option<String>,
    /// Parallel sessions, from 1.
    pub connections: u16,
    /// When a session is replaced by another one.
    pub rotation: Rotation,
    /// Where the ops listener listens; off without.
    pub ops: Option<SocketAddr>,
    /// What to make public.
    pub tunnels: Vec<Tunnel>,
    /// Listeners here that lead to services next to the server.
    pub forwards: Vec<Forward>,
    /// The plugins that these name.
    pub plugins: Vec<PluginPart>,
    /// What the server may hand over.
    pub allow: Consent,
    /// The kinds of plugins that there are, here and in what it hands over.
    pub kinds: Kinds,
    /// How to take refusals.
    pub mode: Mode,
    /// Where they come from, if that can be read again.
    pub source: Option<Source>,
    /// Where the state is.
    pub state: StateDir,
    /// The log format that was asked for.
    pub log: Option<LogFormat>,
}

/// How a program takes refusals, and whom it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `tunnelc http`, `tcp` and `forward`: a person at a terminal. What is refused at first ends the program.
    AdHoc,
    /// `tunnelc run`: a service. It never gives up, unless `fail_fast`, and then only at its first login.
    Service {
        /// `--fail-fast`.
        fail_fast: bool,
    },
}
