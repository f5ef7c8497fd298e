//! `tunnelc http TARGET`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;
use proxy::service::ServiceTarget;

use super::globals::Globals;
use super::{tcp, wrong};
use crate::tunnel::{Tunnel, TunnelKind, parse_group, parse_host, parse_set_host};

/// Make an HTTP service public: requests for a host name, with WebSockets and other upgrades.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "http",
    example = "{command_name} 3000\n\
               {command_name} 3000 --host demo                  demo.DOMAIN\n\
               {command_name} 3000 --host www.example.com       complete, because of its dots\n\
               {command_name} 5173 --set-host localhost:5173    for services that check the Host\n\
               {command_name} https://app.lan                   checked against the roots of the system\n\
               {command_name} unix:/run/app.sock",
    note = "TARGET is 3000, HOST:3000, http(s)://HOST:PORT, h2c://HOST:PORT or unix:/PATH.\n\
            --join, --join-file, --ca-file, --log and --state are explained by `tunnelc --help`."
)]
pub(super) struct Http {
    /// what visitors type: NAME under the server's domain, or a complete name; default: a random
    /// name that stays the same
    #[argh(option, arg_name = "name")]
    host: Option<String>,
    /// share the load with the other members of this group
    #[argh(option, arg_name = "group")]
    group: Option<String>,
    /// the Host that the service sees instead of the visitor's
    #[argh(option, arg_name = "host")]
    set_host: Option<String>,
    /// where the service listens
    #[argh(positional)]
    target: String,
}

impl Http {
    pub(super) fn run(self, globals: &Globals) -> Result<Exit, Exit> {
        let to = ServiceTarget::parse_http(&self.target).map_err(|error| wrong("TARGET", error))?;
        let host = self.host.map(|host| parse_host(&host).map_err(|error| wrong("--host", error)));
        let set_host = self.set_host.map(|host| parse_set_host(&host).map_err(|e| wrong("--set-host", e)));
        let group = self.group.map(|group| parse_group(&group).map_err(|e| wrong("--group", e)));
        let tunnel = Tunnel {
            name: Tunnel::ad_hoc_name("http", &to),
            kind: TunnelKind::Http { host: host.transpose()?, set_host: set_host.transpose()? },
            group: group.transpose()?,
            allow: Vec::new(),
            to,
            plugins: Vec::new(),
        };
        tcp::run_ad_hoc(vec![tunnel], Vec::new(), globals)
    }
}
