//! What is on this machine: the program, if it runs, the services of its tunnels, the ports of its listeners.

use std::net::TcpListener;
use std::time::Duration;

use ops::doctor::Findings;
use proxy::service::{DialError, dial};
use serde_json::Value;

use super::{list, text};
use crate::config::FileConfig;
use crate::tunnel::Tunnel;

const LIMIT: Duration = Duration::from_secs(2);

/// What the program that runs with this state directory says of itself.
pub(super) fn running(status: &Value, findings: &mut Findings) {
    let sessions = list(status, "sessions");
    let is_up = |session: &&Value| text(session, "state") == "connected";
    let up = sessions.iter().filter(is_up).count();
    let says = format!("{} runs here, {up} of {} sessions connected", text(status, "name"), sessions.len());
    match sessions.iter().find(|session| !is_up(session)) {
        None => findings.good("running", says),
        Some(down) => {
            let why = match text(down, "reason") {
                "" => text(down, "state"),
                reason => reason,
            };
            let says = format!("{says}: {why}");
            match up {
                0 => findings.bad("running", says, "see the checks below"),
                _ => {
                    findings.warn("running", says, "see the checks below; work goes over the other sessions")
                }
            }
        }
    }
    for tunnel in list(status, "tunnels").iter().filter(|tunnel| text(tunnel, "state") == "refused") {
        let (name, code) = (text(tunnel, "name"), text(tunnel, "code"));
        let todo = match code {
            "NAME_IN_USE" => "take another name or port, or ask the operator who has it: tunneld status NAME",
            "NOT_GRANTED" => "ask the operator of the server: tunneld invite NAME --host … --port …",
            "OVER_QUOTA" => "close another tunnel, or ask the operator of the server for more",
            _ => "the reason is the server's; its log has more",
        };
        findings.bad(
            "running",
            format_args!("tunnel {name} is refused: {code}: {}", text(tunnel, "reason")),
            todo,
        );
    }
    for group in list(status, "groups").iter().filter(|group| text(group, "state") == "behind") {
        let says =
            format!("the part of group {} is not served: {}", text(group, "name"), text(group, "reason"));
        findings.bad(
            "running",
            says,
            "add what is missing to [allow] of the configuration, or correct the server's",
        );
    }
}

/// Whether it has a session.
pub(super) fn is_connected(status: &Value) -> bool {
    list(status, "sessions").iter().any(|session| text(session, "state") == "connected")
}

/// Whether something listens where each tunnel leads.
pub(super) async fn services(tunnels: &[Tunnel], findings: &mut Findings) {
    for Tunnel { name, to, .. } in tunnels {
        match dial(&to.address, LIMIT).await {
            Ok(_) => findings.good("service", format_args!("{name}: {to} accepts connections")),
            Err(error) => {
                let todo = match error {
                    DialError::NotAllowed(_) => "give the service another address; this one is never reached",
                    DialError::Unresolved(_) => "correct the host of `to`, or its name service",
                    _ => "start the service, or correct `to` of the tunnel",
                };
                findings.bad("service", format_args!("{name}: {to}: {error}"), todo);
            }
        }
    }
}

/// Whether the listeners of the configuration could be opened; a program that `runs` has them.
pub(super) fn listeners(file: &FileConfig, runs: bool, findings: &mut Findings) {
    let forwards = file.forwards.iter().map(|forward| (format!("forward {}", forward.name), forward.listen));
    let ops = file.ops.map(|address| ("ops".to_owned(), address));
    for (what, address) in forwards.chain(ops) {
        match TcpListener::bind(address) {
            Ok(_) if runs => {
                let says = format!("{what}: nobody listens on {address}, though this program runs");
                findings.bad(
                    "listener",
                    says,
                    "restart it: it may have been started with another configuration",
                );
            }
            Ok(_) => findings.good("listener", format_args!("{what}: {address} is free")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && runs => {
                findings.good("listener", format_args!("{what}: {address} is in use, by this program"));
            }
            Err(error) => {
                let todo = match error.kind() {
                    std::io::ErrorKind::AddrInUse => format!(
                        "stop what listens there (ss -ltnp 'sport = {}'), or choose another port",
                        address.port()
                    ),
                    std::io::ErrorKind::PermissionDenied => {
                        "ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
                    }
                    _ => "choose an address of this machine: ip addr".to_owned(),
                };
                findings.bad("listener", format_args!("{what}: cannot listen on {address}: {error}"), todo);
            }
        }
    }
}
