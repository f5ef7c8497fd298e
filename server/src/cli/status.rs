//! `tunneld status`.

use std::time::SystemTime;

use argh::{ArgsInfo, FromArgs};
use ops::cli::{Exit, did_you_mean};
use serde::Serialize;

use super::ask::{self, Server};
use super::{report, route_report};
use crate::admin::{RouteInfo, Routes, api};

/// say how the server is; or only what is behind one host, port, group or client
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "status", example = "What is behind a name:\n$ tunneld status wiki.t.example.com")]
pub(super) struct Status {
    /// a host, a port, a group, or a client by its name or id
    #[argh(positional, arg_name = "HOST|GROUP|CLIENT")]
    of: Option<String>,
    /// as JSON
    #[argh(switch)]
    json: bool,
}

impl Status {
    pub(super) fn execute(&self, server: &Server) -> Result<Exit, Exit> {
        let answer = server.get("/v1/status")?;
        let Some(of) = &self.of else {
            if self.json {
                return Ok(ask::json(&answer));
            }
            return Ok(Exit::done(report::status(&ask::read(answer)?)));
        };
        let mut status: api::Status = ask::read(answer)?;
        let mut routes: Routes = ask::read(server.get("/v1/routes")?)?;
        let hint = suggestion(of, &status, &routes);
        let word = of.trim_end_matches('.').to_ascii_lowercase();
        routes.routes.retain(|route| route.is_about(&word, &status.domain));
        status.narrow(of);
        let mut words = vec![of.as_str(), word.as_str()];
        words.extend(routes.routes.iter().flat_map(RouteInfo::words));
        status.disabled.retain(|info| info.is_about(&words, &status.domain));
        if routes.routes.is_empty() && status.sessions.is_empty() && status.groups.is_empty() {
            return Err(Exit::failed(format_args!(
                "nothing here is called {of}{hint}; `tunneld routes` and `tunneld sessions` show what there is"
            )));
        }
        let one = About { routes: routes.routes, status };
        match self.json {
            true => Ok(ask::json(&serde_json::to_value(&one).map_err(Exit::failed)?)),
            false => Ok(Exit::done(one.text(SystemTime::now()))),
        }
    }
}

/// What one word means.
#[derive(Debug, Serialize)]
struct About {
    /// The routes that it has to do with.
    routes: Vec<RouteInfo>,
    #[serde(flatten)]
    status: api::Status,
}

impl About {
    fn text(&self, now: SystemTime) -> String {
        let mut text = report::config(self.status.revision, &self.status.config);
        text.push_str(&report::down(&self.status.listen.down));
        text.push_str(&report::disabled(&self.status.disabled));
        self.routes.iter().for_each(|it| text.push_str(&route_report::route(it, now)));
        let down = self.status.ingresses.iter().filter_map(|it| Some((&it.listen, it.down.as_ref()?)));
        down.for_each(|(listen, why)| text.push_str(&format!("{listen} is down: {why}\n")));
        text.push_str(&report::matches(&self.status));
        text
    }
}

/// What may have been meant.
fn suggestion(of: &str, status: &api::Status, routes: &Routes) -> String {
    let clients = status.sessions.iter().map(|session| session.name.as_str());
    let groups = status.groups.iter().map(|group| group.name.as_str());
    let routes = routes.routes.iter().flat_map(RouteInfo::words);
    did_you_mean(of, groups.chain(clients).chain(routes))
}
