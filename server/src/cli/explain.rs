//! `tunneld explain`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, ExitCode, print};
use ops::metrics::Metrics;
use protocol::service_name::ServiceName;
use proxy::plugin::{Kinds, Plugins};

use super::run::read;
use super::{ask, ask::Server};
use crate::admin::explain::explanation;
use crate::admin::{VERSION, api};
use crate::config::{self, Document};
use crate::live::passed;
use crate::settings::{Flags, Listen};

/// The port of `https` URLs.
const HTTPS_PORT: u16 = 443;

/// say which rule a request gets, and why not another one
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "explain",
    example = "Ask the running server:\n$ {command_name} GET https://app.t.example.com/api/users",
    example = "Ask a file:\n$ {command_name} --config tunneld.toml POST https://app.t.example.com/ --header x-canary=1",
    error_code(1, "no rule and no tunnel takes the request")
)]
pub(super) struct Explain {
    /// the method
    #[argh(positional, arg_name = "METHOD")]
    method: String,
    /// what the visitor types
    #[argh(positional, arg_name = "URL")]
    url: String,
    /// a field of the request (repeat for more)
    #[argh(option, arg_name = "K=V")]
    header: Vec<String>,
    /// the visitor's address (default 127.0.0.1)
    #[argh(option, arg_name = "IP")]
    from: Option<IpAddr>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Explain {
    pub(super) fn execute(self, flags: Flags, kinds: &Kinds) -> Result<Exit, Exit> {
        let headers = self.header.iter().map(|text| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_ascii_lowercase(), value.to_owned())),
            _ => Err(Exit::usage(format_args!("--header {text:?}: write NAME=VALUE"))),
        });
        let asked = api::Explain {
            method: self.method,
            url: self.url,
            headers: headers.collect::<Result<_, _>>()?,
            from: self.from.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        };
        let answer = match &flags.config {
            Some(path) => {
                let document = read(path, &flags, kinds).map_err(Exit::usage)?;
                let metrics = Metrics::new(VERSION);
                let (routing, _) =
                    config::routing(&document, &Plugins::default(), kinds, &metrics).map_err(Exit::usage)?;
                let relays = passed(&document, Some(https(&document)), &metrics, |it| Some(it.address));
                let plugins = |service: &ServiceName| document.plugins_of(service);
                let explained = explanation(&routing.with_relays(relays), &plugins, &asked);
                let explained = explained.map_err(Exit::usage)?;
                serde_json::to_value(explained).map_err(Exit::failed)?
            }
            None => Server::new(flags)?.post("/v1/explain", &asked)?,
        };
        let explained: api::Explained = ask::read(answer.clone())?;
        let text = if self.json { format!("{answer:#}\n") } else { explained.text };
        let found = explained.rule.is_some() || explained.tunnel.is_some() || explained.passthrough.is_some();
        if found {
            return Ok(Exit::done(text));
        }
        // What was asked for is the answer, also where it is no.
        print(&text);
        Err(Exit { code: ExitCode::Failed, text: String::new() })
    }
}

/// Where https would be, as far as the port is concerned.
fn https(document: &Document) -> SocketAddr {
    let listen = document.listen.https.as_ref().and_then(|https| Listen::parse(&https.address, &[]).ok());
    SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), listen.map_or(HTTPS_PORT, |listen| listen.port()))
}
