//! `tunnelc forward LISTEN SERVICE`.

use argh::{ArgsInfo, FromArgs};
use ops::cli::Exit;

use super::globals::Globals;
use super::tcp::run_ad_hoc;
use super::wrong;
use crate::forward::{Forward, parse_kind, parse_listen, parse_service};

/// Reach a service next to the server from here: what connects to LISTEN comes out there.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "forward",
    example = "{command_name} 9000 billing\n\
               {command_name} 127.0.0.1:5432 db --kind tcp",
    note = "LISTEN is 9000 (on 127.0.0.1) or ADDRESS:PORT. SERVICE is one of the server's configuration that\n\
            was granted: `tunneld invite NAME --reach SERVICE`. Addresses are never reached, only names.\n\
            --join, --join-file, --ca-file, --log and --state are explained by `tunnelc --help`."
)]
pub(super) struct ForwardTo {
    /// what connects: http (default) or tcp
    #[argh(option, arg_name = "http|tcp", default = "\"http\".to_owned()")]
    kind: String,
    /// where to listen
    #[argh(positional)]
    listen: String,
    /// the service next to the server
    #[argh(positional)]
    service: String,
}

impl ForwardTo {
    pub(super) fn run(self, globals: &Globals) -> Result<Exit, Exit> {
        let forward = Forward {
            kind: parse_kind(&self.kind).map_err(|error| wrong("--kind", error))?,
            listen: parse_listen(&self.listen).map_err(|error| wrong("LISTEN", error))?,
            to: parse_service(&self.service).map_err(|error| wrong("SERVICE", error))?,
            name: self.service,
            plugins: Vec::new(),
        };
        run_ad_hoc(Vec::new(), vec![forward], globals)
    }
}
