//! `tunnelc doctor`: every step between this program and a visitor, one after the other, and what to do about each that
//! fails. It logs in as the program would and opens a tunnel of its own, which is gone at the end; what runs is left alone.

mod local;
mod login;
mod network;
mod round_trip;

use std::path::PathBuf;
use std::time::SystemTime;

use ops::admin::{self, call};
use ops::cli::Exit;
use ops::doctor::{Findings, Verdict, cannot_begin, clock, descriptors, state};
use ops::spawn::{Placement, Spawner};
use ops::state_dir::StateDir;
use protocol::join::HostPort;
use serde_json::Value;
use std::time::Duration;
use transport::login_key::LoginKey;
use transport::tls::{Trust, client_config_as};

use crate::certificate;
use crate::config::FileConfig;
use crate::identity::{Hold, Identity};
use crate::join_source::{Given, JoinSourceError};
use crate::trust::TrustError;

/// For the tasks of the last session to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is looked at.
pub(crate) struct Subject {
    /// The configuration and where it is, if there is one.
    pub(crate) config: Option<(PathBuf, Result<FileConfig, String>)>,
    /// Where the state is.
    pub(crate) state: StateDir,
    /// Who logs in.
    pub(crate) join: Result<Given, JoinSourceError>,
    /// Whom to trust, once it is known who logs in.
    pub(crate) trust: Option<Result<Trust, TrustError>>,
}

/// Looks at everything.
///
/// # Errors
/// It can not even begin: the system gives no threads.
pub(crate) fn examine(subject: Subject) -> Result<Findings, Exit> {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).map_err(cannot_begin)?;
    let findings = workers.block_on(look(subject, &spawner));
    workers.shutdown(FAREWELL);
    Ok(findings)
}

async fn look(subject: Subject, spawner: &Spawner) -> Findings {
    let Subject { config, state: place, join, trust } = subject;
    let mut findings = Findings::default();
    let file = match config {
        Some((path, Ok(file))) => {
            findings.good("configuration", format_args!("{} is good", path.display()));
            Some(file)
        }
        Some((_, Err(report))) => {
            findings.bad("configuration", report, "correct what is marked; `tunnelc check FILE` looks again");
            None
        }
        None => {
            findings.skip("configuration", "none; name one with --config FILE to have its tunnels looked at");
            None
        }
    };
    state(&place, &mut findings);
    clock(SystemTime::now(), &mut findings);
    descriptors(crate::PROGRAM, &mut findings);
    let running = call(&place.file(admin::SOCKET), http::Method::GET, crate::admin::STATUS, None).await.ok();
    if let Some(running) = &running {
        local::running(running, &mut findings);
    }
    if let Some(file) = &file {
        local::services(&file.tunnels, &mut findings).await;
        local::listeners(file, running.is_some(), &mut findings);
    }
    let (join, trust) = match (join, trust) {
        (Ok(join), Some(Ok(trust))) => {
            let by = match &trust {
                Trust::Pins(_) => "its pin",
                Trust::Roots(_) => "the CA file",
                Trust::System => "the roots of the system",
            };
            let says = format!(
                "credential {} from {}; the server is known by {by}",
                join.string.credential, join.origin
            );
            findings.good("join string", says);
            (join, trust)
        }
        (Err(error), _) => {
            findings.bad("join string", error, "ask the operator of the server for one: tunneld invite NAME");
            findings.skip("server", "without a join string it is not known");
            return findings;
        }
        (Ok(_), Some(Err(error))) => {
            findings.bad(
                "join string",
                error,
                "name the right file with --ca-file, or use a join string with a pin",
            );
            return findings;
        }
        (Ok(_), None) => return findings,
    };
    let servers = match file.as_ref().map(|file| &file.servers) {
        Some(servers) if !servers.is_empty() => servers.clone(),
        _ => vec![join.string.address.clone()],
    };
    let mut reached: Vec<HostPort> = Vec::new();
    for server in servers {
        if network::reach(&server, &mut findings).await {
            reached.push(server);
        }
    }
    let named = file.as_ref().and_then(|file| file.certificate.as_ref());
    let shown = match named.map(|(cert, key)| certificate::read(cert, key)).transpose() {
        Ok(shown) => shown,
        Err(error) => {
            findings.bad("certificate", error, "correct `cert` and `key` in the configuration");
            return findings;
        }
    };
    let (tls, key) = match (client_config_as(&trust, shown), LoginKey::from_seed(join.string.secret.expose()))
    {
        (Ok(tls), Ok(key)) => (tls, key),
        (Err(error), _) => {
            findings.bad("tls", error, "give a CA file with --ca-file, or use a join string with a pin");
            return findings;
        }
        (_, Err(error)) => {
            findings.bad("join string", error, "ask the operator of the server for a new one");
            return findings;
        }
    };
    if reached.is_empty() {
        findings.skip("login", "no server could be reached");
        findings.skip("public url", "no server could be reached");
        return findings;
    }
    // Who runs already has the id, and would be cut off by another process that says it.
    let identity = Identity::claim(&place);
    let (client, held) = match &identity {
        Ok(Identity { client, hold }) => (*client, matches!(hold, Hold::Held(_))),
        Err(error) => {
            findings.bad("state", error, "see above");
            (protocol::id::ClientId(rand::random()), false)
        }
    };
    let connected = running.as_ref().is_some_and(local::is_connected);
    let who = login::Who { client, credential: join.string.credential.clone(), tls, key, connected };
    for (at, server) in reached.iter().enumerate() {
        let Some(logged_in) = login::login(server, &who, spawner, &mut findings).await else { continue };
        // One public URL is enough: it is the same whichever server it was asked of.
        if at == 0 || findings.verdict("public url") != Some(Verdict::Good) {
            let tunnels = file.as_ref().filter(|_| held).map_or(&[][..], |file| &file.tunnels);
            round_trip::round_trip(logged_in, server, tunnels, spawner, &mut findings).await;
        }
    }
    if findings.verdict("public url").is_none() {
        findings.skip("public url", "no login, so no tunnel to try");
    }
    findings
}

/// A list of a status.
fn list<'v>(status: &'v Value, key: &str) -> &'v [Value] {
    status.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text of a status.
fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
