//! Whether the certificates are good, for long enough, and for the names that visitors ask for.

use std::time::{Duration, SystemTime};

use ops::doctor::Findings;
use ops::state_dir::StateDir;
use policy::host::Host;

use crate::admission;
use crate::certificates::{self, CertificateError};
use crate::identity::NEAR;
use crate::settings::Settings;

const CHECK: &str = "certificate";
const DAY: u64 = 24 * 3600;
/// Days that nobody counts.
const MANY: u64 = 3650;

/// The server's own, by which clients know it, if the state directory has one.
pub(super) fn own(state: &StateDir, now: SystemTime, findings: &mut Findings) {
    let files = crate::config::CertificateFiles::new(state.file("tls.crt"), state.file("tls.key"));
    if !files.cert.exists() && !files.key.exists() {
        return findings.good(CHECK, "the server's own is made at the first start");
    }
    match certificates::load(&files) {
        Ok(pair) => ends("the server's own (tls.crt)", pair.expires, now, "clients that know it by a pin do not mind; for the others put a new pair into the state directory and restart", findings),
        Err(error) => findings.bad(CHECK, error, "put a pair that fits back into the state directory; without both a new one is made, and every join string with it"),
    }
}

/// Those of the configuration.
pub(crate) fn of_visitors(settings: &Settings, now: SystemTime, findings: &mut Findings) {
    let mut names = Vec::new();
    for files in &settings.document.certificates {
        match certificates::load(files) {
            Ok(pair) => {
                let shown = files.cert.display().to_string();
                ends(
                    &shown,
                    pair.expires,
                    now,
                    "have it renewed; tunneld takes the new files by itself",
                    findings,
                );
                names.extend(pair.names);
            }
            Err(error @ CertificateError::Lacks { .. }) => findings.warn(
                CHECK,
                error,
                "set it for the service; or, if it is missing only here, start this as the service is started",
            ),
            Err(error) => findings.bad(CHECK, error, "correct `cert` or `key`, or what is in the files"),
        }
    }
    if settings.https.is_none() {
        return;
    }
    // What a tunnel without a name of its own would get.
    let example = Host::parse(&format!("any-name.{}", settings.domain));
    let covered = example.is_ok_and(|example| names.iter().any(|name| name.matches(&example)));
    if !covered {
        let says = format!(
            "none is for names under {0}: visitors of tunnels there are warned by their browsers",
            settings.domain
        );
        findings.warn(CHECK, says, format_args!("get one for *.{0} (and {0})", settings.domain));
    }
    let hosts = settings.document.rules.iter().filter_map(|rule| rule.matcher.host.as_ref());
    for host in hosts {
        let text = host.to_string();
        let example = Host::parse(&text.replace('*', "any-name"));
        if example.is_ok_and(|example| !names.iter().any(|name| name.matches(&example))) {
            let todo = format!("get one that is for {text}, and add it as a [[certificate]]");
            findings.warn(CHECK, format_args!("none is for {text}, which a rule is for"), todo);
        }
    }
}

/// What certificates of clients are checked by.
pub(super) fn of_clients(settings: &Settings, now: SystemTime, findings: &mut Findings) {
    let Some(clients) = &settings.document.listen.tunnel.as_ref().and_then(|tunnel| tunnel.clients.as_ref())
    else {
        return;
    };
    match admission::lists(clients) {
        Ok(lists) => {
            lists.iter().for_each(|(file, next)| list(&file.display().to_string(), *next, now, findings))
        }
        Err(error) => findings.bad(CHECK, error, "correct the file, or its name in `listen.tunnel`"),
    }
}

/// A list of revoked certificates, which is to be followed by the next one in time.
fn list(file: &str, next: Option<SystemTime>, now: SystemTime, findings: &mut Findings) {
    match next {
        Some(next) if next <= now => findings.warn(
            CHECK,
            format_args!(
                "{file}, a list of revoked certificates, is out of date: what was revoked since comes in"
            ),
            "put the newest list of the CA there; tunneld takes it by itself",
        ),
        _ => findings.good(CHECK, format_args!("{file}, a list of revoked certificates, is up to date")),
    }
}

fn ends(what: &str, expires: SystemTime, now: SystemTime, todo: &str, findings: &mut Findings) {
    let left = expires.duration_since(now).unwrap_or_default();
    let days = left.as_secs() / DAY;
    match left {
        Duration::ZERO => findings.bad(CHECK, format_args!("{what} has expired"), todo),
        left if left < NEAR => findings.warn(CHECK, format_args!("{what} ends in {days} days"), todo),
        _ if days > MANY => findings.good(CHECK, format_args!("{what} is good for years")),
        _ => findings.good(CHECK, format_args!("{what} is good for {days} days")),
    }
}

#[cfg(test)]
mod tests {
    use ops::doctor::Verdict;

    use super::*;

    #[test]
    fn a_list_that_is_out_of_date_is_said() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let in_a_day = now + Duration::from_secs(DAY);
        for (next, verdict) in
            [(None, Verdict::Good), (Some(in_a_day), Verdict::Good), (Some(now), Verdict::Warning)]
        {
            let mut findings = Findings::default();
            list("ca.crl", next, now, &mut findings);
            assert_eq!(findings.verdict(CHECK), Some(verdict), "{}", findings.text());
        }
    }

    #[test]
    fn the_end_of_a_certificate_is_said_in_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (seconds, verdict) in [(0, Verdict::Bad), (DAY, Verdict::Warning), (90 * DAY, Verdict::Good)] {
            let mut findings = Findings::default();
            ends("x", now + Duration::from_secs(seconds), now, "renew it", &mut findings);
            assert_eq!(findings.verdict(CHECK), Some(verdict), "{}", findings.text());
        }
    }
}
