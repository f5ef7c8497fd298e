//! `tunnelc tcp TARGET`, and what it shares with the other commands for one thing.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use policy::consent::Consent;
use proxy::service::ServiceTarget;

use super::globals::Globals;
use super::wrong;
use crate::app;
use crate::forward::Forward;
use crate::rotation::Rotation;
use crate::settings::{CONNECTIONS, Mode, Settings};
use crate::trust;
use crate::tunnel::{Tunnel, TunnelKind, parse_allow, parse_group, parse_port};

/// Make a TCP service public at a port of the server.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "tcp",
    example = "{command_name} 22\n\
               {command_name} 5432 --port 15432 --allow 203.0.113.0/24\n\
               {command_name} unix:/run/db.sock",
    note = "TARGET is 22, HOST:22 or unix:/PATH.\n\
            --join, --join-file, --ca-file, --log and --state are explained by `tunnelc --help`."
)]
pub(super) struct Tcp {
    /// the public port; default: one that the server picks and that stays the same
    #[argh(option, arg_name = "port")]
    port: Option<String>,
    /// share the load with the other members of this group
    #[argh(option, arg_name = "group")]
    group: Option<String>,
    /// let only visitors from this range in (again for more)
    #[argh(option, arg_name = "cidr")]
    allow: Vec<String>,
    /// where the service listens
    #[argh(positional)]
    target: String,
}

impl Tcp {
    pub(super) fn run(self, globals: &Globals) -> Result<Exit, Exit> {
        let to = ServiceTarget::parse_tcp(&self.target).map_err(|error| wrong("TARGET", error))?;
        let port = self.port.map(|port| parse_port(&port).map_err(|error| wrong("--port", error)));
        let group = self.group.map(|group| parse_group(&group).map_err(|e| wrong("--group", e)));
        let allow = self.allow.iter().map(|range| parse_allow(range).map_err(|e| wrong("--allow", e)));
        let tunnel = Tunnel {
            name: Tunnel::ad_hoc_name("tcp", &to),
            kind: TunnelKind::Tcp { port: port.transpose()? },
            group: group.transpose()?,
            allow: allow.collect::<Result<_, _>>()?,
            to,
            plugins: Vec::new(),
        };
        run_ad_hoc(vec![tunnel], Vec::new(), globals)
    }
}

/// Runs what a command asks for until a signal.
pub(super) fn run_ad_hoc(
    tunnels: Vec<Tunnel>,
    forwards: Vec<Forward>,
    globals: &Globals,
) -> Result<Exit, Exit> {
    let state = globals.state_dir()?;
    let join = globals.join(None, &state)?;
    let trust = trust::of(&join.string, globals.ca_file.as_deref()).map_err(Exit::usage)?;
    let settings = Settings {
        servers: vec![join.string.address.clone()],
        join: join.string,
        trust,
        certificate: None,
        name: None,
        connections: CONNECTIONS,
        rotation: Rotation::default(),
        ops: None,
        tunnels,
        forwards,
        plugins: Vec::new(),
        allow: Consent::default(),
        kinds: globals.kinds.clone(),
        mode: Mode::AdHoc,
        source: None,
        state,
        log: globals.log,
    };
    Ok(app::run(settings, None))
}
