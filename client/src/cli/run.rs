//! `tunnelc run`.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use protocol::handshake::CERTIFICATE;
use protocol::id::CredentialId;
use protocol::join::{HostPort, JoinString, Secret32};

use super::globals::Globals;
use crate::app;
use crate::certificate;
use crate::config;
use crate::join_source::JoinSourceError;
use crate::settings::{Mode, Settings};
use crate::trust;

/// Used where `--config` is not given and this is present.
pub(super) const DEFAULT_CONFIG: &str = "/etc/tunnel/tunnelc.toml";

/// Run the tunnels of a configuration file, as a service: it never gives up.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "run",
    example = "{command_name} --config tunnelc.toml\n\
               {command_name} --config tunnelc.toml --join-file /run/secrets/join --log json",
    note = "A configuration for one tunnel:\n\
            \u{a0} tunnel = [{{ name = \"wiki\", kind = \"http\", host = \"wiki\", to = \"127.0.0.1:8081\" }}]\n\
            --join, --join-file, --ca-file, --log and --state are explained by `tunnelc --help`."
)]
pub(super) struct Run {
    /// configuration file; default: /etc/tunnel/tunnelc.toml
    #[argh(option, arg_name = "file")]
    config: Option<String>,
    /// exit with code 3 if the first login is refused, instead of trying again
    #[argh(switch)]
    fail_fast: bool,
}

impl Run {
    pub(super) fn run(self, globals: &Globals) -> Result<Exit, Exit> {
        let path = self.config.map_or_else(default_config, |path| Ok(path.into()))?;
        let file =
            config::load(&path, &globals.kinds, &|name| std::env::var(name).ok()).map_err(Exit::usage)?;
        let state = globals.state_dir()?;
        let read = |(cert, key): &(PathBuf, PathBuf)| certificate::read(cert, key);
        let certificate = file.certificate.as_ref().map(read).transpose().map_err(Exit::usage)?;
        let join = match globals.source(file.join_file, &state)?.read() {
            Err(JoinSourceError::Nothing(_)) if certificate.is_some() => by_certificate(&file.servers)?,
            given => given.map_err(Exit::usage)?.string,
        };
        let ca_file = globals.ca_file.clone().or(file.ca_file);
        let trust = trust::of(&join, ca_file.as_deref()).map_err(Exit::usage)?;
        let servers = match file.servers {
            none if none.is_empty() => vec![join.address.clone()],
            some => some,
        };
        Ok(app::run(Settings {
            join,
            trust,
            certificate,
            servers,
            name: file.name,
            connections: file.connections,
            ops: file.ops,
            tunnels: file.tunnels,
            forwards: file.forwards,
            plugins: file.plugins,
            allow: file.allow,
            kinds: globals.kinds.clone(),
            mode: Mode::Service { fail_fast: self.fail_fast },
            config: Some(path),
            state,
            log: globals.log,
        }))
    }
}

/// Who has a certificate alone: no key of a join string is known to the server, and no pin to this client.
fn by_certificate(servers: &[HostPort]) -> Result<JoinString, Exit> {
    let address = servers.first().cloned().ok_or_else(|| {
        Exit::usage(
            "without a join string, tunnelc.toml has to say where the server is: servers = [\"HOST:7443\"]",
        )
    })?;
    let credential = CredentialId::parse(CERTIFICATE).map_err(Exit::failed)?;
    Ok(JoinString { credential, secret: Secret32::new(rand::random()), address, pins: Vec::new() })
}

fn default_config() -> Result<PathBuf, Exit> {
    let path = Path::new(DEFAULT_CONFIG);
    if path.exists() {
        return Ok(path.to_owned());
    }
    Err(Exit::usage(format_args!(
        "no configuration: {DEFAULT_CONFIG} is not there; name one with --config FILE (for one tunnel: `tunnelc http 3000`)"
    )))
}
