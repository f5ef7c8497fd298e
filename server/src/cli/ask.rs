//! Asking the running server.

use std::time::Duration;

use axum::http::Method;
use ops::admin::{AdminError, SOCKET, call_within};
use ops::cli::Exit;
use ops::state_dir::{Program, StateDir};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::WRONG_USAGE;
use crate::settings::Flags;

/// For what the server knows.
const QUICK: Duration = Duration::from_secs(10);
/// For what it has to find out.
const SLOW: Duration = Duration::from_secs(60);

/// The server of one state directory, which may or may not run.
pub(super) struct Server {
    state: Option<std::path::PathBuf>,
}

impl Server {
    /// The server that `--state` or the environment means; every other flag belongs to `run`.
    pub(super) fn new(flags: Flags) -> Result<Self, Exit> {
        let Flags { config, state, tunnel, http, https, ops, domain, public_url, advertise, log } = flags;
        let config = config.map(|path| path.display().to_string());
        let of_run = [
            ("--config", config),
            ("--tunnel", tunnel),
            ("--http", http),
            ("--https", https),
            ("--ops", ops),
            ("--domain", domain),
            ("--public-url", public_url),
            ("--advertise", advertise),
            ("--log", log),
        ];
        match of_run.into_iter().find(|(_, value)| value.is_some()) {
            Some((flag, _)) => Err(Exit::usage(format_args!("{flag} belongs to `tunneld run`"))),
            None => Ok(Self { state }),
        }
    }

    /// What a page answers.
    pub(super) fn get(&self, uri: &str) -> Result<Value, Exit> {
        self.ask(Method::GET, uri, None, QUICK)
    }

    /// What a page answers to `body`.
    pub(super) fn post(&self, uri: &str, body: &impl Serialize) -> Result<Value, Exit> {
        let body = serde_json::to_value(body).map_err(Exit::failed)?;
        self.ask(Method::POST, uri, Some(&body), QUICK)
    }

    /// The same where the server asks others before it answers.
    pub(super) fn post_slow(&self, uri: &str, body: &impl Serialize) -> Result<Value, Exit> {
        let body = serde_json::to_value(body).map_err(Exit::failed)?;
        self.ask(Method::POST, uri, Some(&body), SLOW)
    }

    /// The same for what takes its time, at most `limit`.
    pub(super) fn post_within(
        &self,
        limit: Duration,
        uri: &str,
        body: &impl Serialize,
    ) -> Result<Value, Exit> {
        let body = serde_json::to_value(body).map_err(Exit::failed)?;
        self.ask(Method::POST, uri, Some(&body), limit)
    }

    /// The same, if there is somebody to ask.
    pub(super) fn post_if_up(&self, uri: &str, body: &impl Serialize) -> Result<Option<Value>, Exit> {
        let body = serde_json::to_value(body).map_err(Exit::failed)?;
        let state = self.state()?;
        match exchange(&state, Method::POST, uri, Some(&body), SLOW)? {
            Err(AdminError::NobodyAnswers(_)) => Ok(None),
            answer => answer.map(Some).map_err(|error| failure(&state, error)),
        }
    }

    /// The same of a server that is about to end; none: it has, maybe before it answered.
    pub(super) fn post_while_up(
        &self,
        limit: Duration,
        uri: &str,
        body: &impl Serialize,
    ) -> Result<Option<Value>, Exit> {
        let body = serde_json::to_value(body).map_err(Exit::failed)?;
        let state = self.state()?;
        match exchange(&state, Method::POST, uri, Some(&body), limit)? {
            Err(AdminError::NobodyAnswers(_) | AdminError::Protocol { .. }) => Ok(None),
            answer => answer.map(Some).map_err(|error| failure(&state, error)),
        }
    }

    fn ask(&self, method: Method, uri: &str, body: Option<&Value>, limit: Duration) -> Result<Value, Exit> {
        let state = self.state()?;
        exchange(&state, method, uri, body, limit)?.map_err(|error| failure(&state, error))
    }

    pub(super) fn state(&self) -> Result<StateDir, Exit> {
        let state = StateDir::resolve(Program::Tunneld, self.state.clone(), |name| std::env::var_os(name));
        state.map_err(Exit::usage)
    }
}

fn exchange(
    state: &StateDir,
    method: Method,
    uri: &str,
    body: Option<&Value>,
    limit: Duration,
) -> Result<Result<Value, AdminError>, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Exit::failed)?;
    Ok(runtime.block_on(call_within(limit, &state.file(SOCKET), method, uri, body)))
}

fn failure(state: &StateDir, error: AdminError) -> Exit {
    match error {
        AdminError::NobodyAnswers(path) => Exit::failed(format_args!(
            "no tunneld at {} (state from {}); is it running?",
            path.display(),
            state.origin()
        )),
        AdminError::Status { code, message, .. } if code == WRONG_USAGE => Exit::usage(message),
        error => Exit::failed(error),
    }
}

/// Reads an answer; one that can not be read comes from another version.
pub(super) fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Exit> {
    serde_json::from_value(answer)
        .map_err(|error| Exit::failed(format_args!("the server answers as another version would: {error}")))
}

/// The answer as it came, for programs.
pub(super) fn json(answer: &Value) -> Exit {
    Exit::done(format!("{answer:#}\n"))
}
