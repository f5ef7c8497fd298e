//! `tunneld explain`.

use std::net::{IpAddr, Ipv4Addr};

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, ExitCode, print};
use policy::rule::Table;
use protocol::service_name::ServiceName;
use proxy::plugin::Kinds;

use super::run::read;
use super::{ask, ask::Server};
use crate::admin::api;
use crate::admin::explain::explanation;
use crate::settings::Flags;

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
                let plugins = |service: &ServiceName| document.plugins_of(service);
                let table = Table::new(document.rules.clone());
                let explained = explanation(&table, &plugins, &asked).map_err(Exit::usage)?;
                serde_json::to_value(explained).map_err(Exit::failed)?
            }
            None => Server::new(flags)?.post("/v1/explain", &asked)?,
        };
        let explained: api::Explained = ask::read(answer.clone())?;
        let text = if self.json { format!("{answer:#}\n") } else { explained.text };
        if explained.rule.is_some() || explained.tunnel.is_some() {
            return Ok(Exit::done(text));
        }
        // What was asked for is the answer, also where it is no.
        print(&text);
        Err(Exit { code: ExitCode::Failed, text: String::new() })
    }
}
