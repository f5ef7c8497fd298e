//! What to do about things that commonly go wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::control::RegisterCode;
use protocol::handshake::RejectCode;
use proxy::access::{AccessKind, AccessLine};
use proxy::service::Address;
use transport::handshake::LoginError;

use crate::settings::Mode;
use crate::tunnel::{Tunnel, TunnelKind};

/// What to add to the text of a failed login; the server's own text does not say it.
pub(crate) fn after_login(error: &LoginError) -> &'static str {
    match error {
        LoginError::Untrusted(_) => "; give its CA with --ca-file, or use a join string with a pin",
        LoginError::Tls(_) => "; is it the address of the join string?",
        LoginError::Rejected(reject) => match reject.code {
            RejectCode::VERSION => "; update tunnelc and tunneld to the same version",
            RejectCode::SUPERSEDED => "; use --state for a second tunnelc",
            _ => "",
        },
        _ => "",
    }
}

/// What to add to the text of a refused registration.
pub(crate) fn after_refusal(code: RegisterCode, mode: Mode) -> &'static str {
    match (code, mode) {
        (RegisterCode::NAME_IN_USE, Mode::AdHoc) => "; take another with --host NAME or --port PORT",
        (RegisterCode::PORT_UNAVAILABLE, Mode::AdHoc) => {
            "; take another with --port PORT, or leave it out to get one"
        }
        (RegisterCode::NOT_GRANTED, _) => {
            "; the operator of the server can grant it: tunneld invite NAME --host … --port …"
        }
        _ => "",
    }
}

/// Notices services that refuse requests for a host they do not know, as development servers do.
#[derive(Debug)]
pub(crate) struct HostHints(HashMap<String, HostHint>);

#[derive(Debug)]
struct HostHint {
    advice: String,
    settled: AtomicBool,
}

impl HostHints {
    /// For those of `tunnels` that send the visitor's `Host` to a service at an address.
    pub(crate) fn new<'a>(tunnels: impl Iterator<Item = &'a Tunnel>, mode: Mode) -> Self {
        let hint = |tunnel: &Tunnel| {
            let (TunnelKind::Http { set_host: None, .. }, address @ Address::Tcp { .. }) =
                (&tunnel.kind, &tunnel.to.address)
            else {
                return None;
            };
            let advice = match mode {
                Mode::AdHoc => format!("try --set-host {address}"),
                Mode::Service { .. } => format!("try set_host = \"{address}\""),
            };
            Some((tunnel.name.clone(), HostHint { advice, settled: AtomicBool::new(false) }))
        };
        Self(tunnels.filter_map(hint).collect())
    }

    /// What to tell about `line`: once per tunnel, and only if the service has answered nothing better before.
    pub(crate) fn on(&self, line: &AccessLine) -> Option<String> {
        let hint = self.0.get(line.route.as_deref()?)?;
        let status = line.status.filter(|_| line.kind == AccessKind::Http && line.error.is_none())?;
        if hint.settled.swap(true, Ordering::Relaxed) || !matches!(status, 400 | 403) {
            return None;
        }
        Some(format!("the service answered {status}; if it only knows its own host name, {}", hint.advice))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tunnel(to: &str, set_host: Option<&str>) -> Tunnel {
        let set_host = set_host.map(|host| host.parse().unwrap());
        let kind = TunnelKind::Http { host: None, set_host };
        Tunnel {
            name: "web".to_owned(),
            kind,
            group: None,
            allow: Vec::new(),
            to: to.parse().unwrap(),
            plugins: Vec::new(),
        }
    }

    fn line(status: u16) -> AccessLine {
        AccessLine {
            trace: [0; 16],
            kind: AccessKind::Http,
            visitor: None,
            method: None,
            path: None,
            host: None,
            route: Some("web".into()),
            service: None,
            member: None,
            status: Some(status),
            bytes_up: 0,
            bytes_down: 0,
            duration: Duration::ZERO,
            error: None,
        }
    }

    fn hints(to: &str, set_host: Option<&str>) -> HostHints {
        HostHints::new([tunnel(to, set_host)].iter(), Mode::AdHoc)
    }

    #[test]
    fn the_first_answer_may_bring_a_hint() {
        let hints_for_vite = hints("5173", None);
        let hint = hints_for_vite.on(&line(403)).unwrap();
        assert!(hint.ends_with("try --set-host localhost:5173"), "{hint}");
        assert_eq!(hints_for_vite.on(&line(403)), None);
    }

    #[test]
    fn a_service_that_answered_well_is_left_alone() {
        let hints_after_success = hints("3000", None);
        assert_eq!(hints_after_success.on(&line(200)), None);
        assert_eq!(hints_after_success.on(&line(400)), None);
        assert_eq!(hints("3000", Some("x")).on(&line(403)), None);
        assert_eq!(hints("unix:/x", None).on(&line(403)), None);
    }
}
