//! `tunneld doctor`: what a server needs of its machine and of the world, one after the other, and what to do about each that
//! is not there. It changes nothing, and looks from outside where that can be done from here.

mod certificates;
mod domain;
mod listeners;

pub(crate) use certificates::of_visitors;

use std::path::PathBuf;
use std::time::SystemTime;

use axum::http::Method;
use ops::admin::{AdminError, SOCKET, call};
use ops::cli::Exit;
use ops::doctor::{Findings, cannot_begin, clock, descriptors, state};
use ops::state_dir::StateDir;
use serde_json::Value;

use crate::admin::api::{Principals, Status};
use crate::config::Auth;
use crate::identity::{DEFAULT, join_path};
use crate::settings::Settings;

/// What is looked at.
pub(crate) struct Subject {
    /// The configuration.
    pub(crate) config: Source,
    /// What it says together with the flags, or what is wrong with them.
    pub(crate) settings: Result<Settings, String>,
    /// Where the state is.
    pub(crate) state: StateDir,
}

/// Where the configuration comes from.
pub(crate) enum Source {
    /// It is what a file says.
    File(PathBuf),
    /// It is what is in force, and would be at the next start: the revision, from which file.
    Revision(u64, PathBuf),
    /// There is none.
    Nowhere,
}

/// What the server says of itself, if it runs.
struct Running {
    status: Status,
    principals: Principals,
}

/// What is there in the place of a server.
enum Server {
    Answers(Box<Running>),
    /// It runs, and does not say how it is.
    Silent,
    Absent,
}

/// Looks at everything.
///
/// # Errors
/// It can not even begin: the system gives no runtime.
pub(crate) fn examine(subject: Subject) -> Result<Findings, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_begin)?;
    Ok(runtime.block_on(look(subject)))
}

async fn look(subject: Subject) -> Findings {
    let Subject { config, settings, state: place } = subject;
    let mut findings = Findings::default();
    configuration(&config, settings.as_ref(), &mut findings);
    state(&place, &mut findings);
    clock(SystemTime::now(), &mut findings);
    descriptors("tunneld", &mut findings);
    let server = server(&place, &mut findings).await;
    match (&server, &settings) {
        (Server::Answers(running), _) => {
            in_use(&running.status, &mut findings);
            listeners::of_running(&running.status, &mut findings).await;
        }
        (Server::Silent, _) => findings.skip("listener", "tunneld runs, and does not say where it listens"),
        (Server::Absent, Ok(settings)) => listeners::free(settings, &mut findings),
        (Server::Absent, Err(_)) => findings.skip("listener", "the configuration does not say where"),
    }
    let running = match server {
        Server::Answers(running) => Some(*running),
        Server::Silent | Server::Absent => None,
    };
    certificates::own(&place, SystemTime::now(), &mut findings);
    if let Ok(settings) = &settings {
        of_visitors(settings, SystemTime::now(), &mut findings);
        certificates::of_clients(settings, SystemTime::now(), &mut findings);
        domain::domain(settings, running.as_ref().map(|running| &running.status), &mut findings).await;
    }
    default_principal(&place, settings.as_ref().ok(), running.as_ref(), &mut findings);
    findings
}

const CONFIGURATION: &str = "configuration";

fn configuration(source: &Source, settings: Result<&Settings, &String>, findings: &mut Findings) {
    match (source, settings) {
        (Source::Revision(number, _), Err(error)) => findings.bad(
            CONFIGURATION,
            format_args!("revision {number}, which is in force, could not be used by a start from here:\n{error}"),
            "put back what it needs, or put another text in force: `tunneld config apply FILE`.\nA variable that is not set may only be missing here: start this as the service is started",
        ),
        (Source::File(_) | Source::Nowhere, Err(error)) => {
            findings.bad(CONFIGURATION, error, "correct what is marked; `tunneld check FILE` looks again")
        }
        (Source::File(path), Ok(_)) => findings.good(CONFIGURATION, format_args!("{} is good", path.display())),
        (Source::Revision(number, path), Ok(_)) => findings.good(
            CONFIGURATION,
            format_args!("revision {number}, from {}, is in force, and good", path.display()),
        ),
        (Source::Nowhere, Ok(_)) => findings.good(CONFIGURATION, "none: flags and defaults"),
    }
}

/// What the running server says of the configuration that it uses.
fn in_use(status: &Status, findings: &mut Findings) {
    if let Some(reason) = &status.config.pending {
        findings.bad(
            CONFIGURATION,
            format_args!(
                "revision {} is in force, and not the configuration file: {reason}",
                status.revision
            ),
            "correct the file, which is read again as soon as it changes",
        );
    }
    for line in &status.config.lacks {
        findings.bad(
            CONFIGURATION,
            line,
            "mend what it names: certificates and the CA of clients are taken at once, and so is everything after `systemctl reload` (SIGHUP);\na variable has to be set before a restart",
        );
    }
}

async fn server(place: &StateDir, findings: &mut Findings) -> Server {
    const CHECK: &str = "running";
    let socket = place.file(SOCKET);
    let ask = async |page: &str| call(&socket, Method::GET, page, None).await;
    let answers = match ask("/v1/status").await {
        Ok(status) => ask("/v1/principals").await.map(|principals| (status, principals)),
        Err(error) => Err(error),
    };
    let (status, principals): (Value, Value) = match answers {
        Ok(answers) => answers,
        Err(AdminError::NobodyAnswers(_)) => {
            findings
                .skip(CHECK, "no tunneld with this state directory; what follows is what a start would find");
            return Server::Absent;
        }
        Err(error @ AdminError::NotAllowed(_)) => {
            findings.bad(CHECK, error, "run this as the user that tunneld runs as");
            return Server::Silent;
        }
        Err(error) => {
            findings.bad(
                CHECK,
                error,
                "tunneld does not answer: look into its log, and at what its process does (top, strace)",
            );
            return Server::Silent;
        }
    };
    match (serde_json::from_value::<Status>(status), serde_json::from_value(principals)) {
        (Ok(status), Ok(principals)) => {
            let says =
                format!("tunneld {}, {}, {} sessions", status.version, status.state, status.sessions.len());
            match status.version == crate::admin::VERSION {
                true => findings.good(CHECK, says),
                false => {
                    let says = format!("{says}; this program is {}", crate::admin::VERSION);
                    findings.warn(
                        CHECK,
                        says,
                        "the program was replaced and still runs as it was: restart it",
                    );
                }
            }
            Server::Answers(Box::new(Running { status, principals }))
        }
        (Err(error), _) | (_, Err(error)) => {
            findings.bad(
                CHECK,
                format_args!("it answers as another version would: {error}"),
                "restart it with this program",
            );
            Server::Silent
        }
    }
}

/// Whoever has STATE/join may use every name: right for a try, and not for a server that is in use.
fn default_principal(
    place: &StateDir,
    settings: Option<&Settings>,
    running: Option<&Running>,
    findings: &mut Findings,
) {
    const CHECK: &str = "principals";
    let (there, local) = match (running, settings) {
        (Some(Running { status, principals }), _) => (
            principals.principals.iter().any(|principal| principal.name == DEFAULT),
            status.domain == crate::settings::LOCALHOST,
        ),
        (None, Some(settings)) => {
            (join_path(place).exists() && settings.document.principals.is_empty(), settings.is_local())
        }
        (None, None) => {
            return findings.skip(CHECK, "neither a server nor a configuration says who may log in");
        }
    };
    if there && !local {
        let says = format!(
            "whoever has {} may use every name under the domain and every port from 1024",
            join_path(place).display()
        );
        let todo = format!(
            "tunneld invite NAME --host …, have the clients use that, then: tunneld revoke {DEFAULT}"
        );
        return findings.warn(CHECK, says, todo);
    }
    // Who has a certificate needs no key.
    let by_certificate =
        settings.and_then(|settings| settings.document.listen.tunnel.as_ref()?.clients.as_ref());
    let by_certificate = by_certificate.is_some_and(|clients| clients.auth != Auth::Both);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let lost = running.into_iter().flat_map(|running| &running.principals.principals).filter(|principal| {
        let good = |expires: Option<u64>| expires.is_none_or(|expires| expires > now);
        !by_certificate && principal.credentials.iter().all(|credential| !good(credential.expires))
    });
    let lost: Vec<_> = lost.map(|principal| principal.name.as_str()).collect();
    match lost.as_slice() {
        [] => findings.good(
            CHECK,
            if there {
                "the principal default, on this machine alone"
            } else {
                "as the configuration and `invite` say"
            },
        ),
        lost => {
            let says = format!("without a credential that is good: {}", lost.join(", "));
            findings.warn(CHECK, says, "tunneld invite NAME makes one; tunneld revoke NAME removes who is not to come back, or the configuration does");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use ops::doctor::Verdict;
    use ops::state_dir::Program;

    use super::*;

    #[tokio::test]
    async fn of_a_server_that_does_not_answer_it_is_not_said_that_its_ports_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let state = || StateDir::resolve(Program::Tunneld, Some(folder.path().to_owned()), |_| None).unwrap();
        let socket = UnixListener::bind(state().file(SOCKET)).unwrap();
        let hangs_up = std::thread::spawn(move || drop(socket.accept().unwrap()));
        let settings = Err("not asked here".to_owned());
        let findings = look(Subject { config: Source::Nowhere, settings, state: state() }).await;
        hangs_up.join().unwrap();
        assert_eq!(findings.verdict("running"), Some(Verdict::Bad), "{}", findings.text());
        let text = findings.text();
        assert!(text.contains("tunneld runs, and does not say where it listens"), "{text}");
        assert!(!text.contains("is free"), "{text}");
    }
}
