//! `service`: something that can be reached by name, next to the server or at the members of a group.

use std::path::Path;
use std::time::Duration;

use ops::config::{Placed, Problems, Section};
use policy::part::{HealthCheck, HealthKind, ProxyVersion, ServerBalance, ServerPart, ServicePart, TlsPart};
use protocol::join::Pin;
use proxy::service::{ServiceTarget, Speech};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::names::{ForRequests, Names};

const BALANCES: [(&str, ServerBalance); 4] = [
    ("round-robin", ServerBalance::RoundRobin),
    ("weighted", ServerBalance::Weighted),
    ("least-connections", ServerBalance::LeastConnections),
    ("ip-hash", ServerBalance::IpHash),
];
const PROBES: [(&str, HealthKind); 3] =
    [("http", HealthKind::Http), ("tcp", HealthKind::Tcp), ("grpc", HealthKind::Grpc)];
const PROXY_VERSIONS: [(&str, ProxyVersion); 2] = [("v1", ProxyVersion::V1), ("v2", ProxyVersion::V2)];
/// Times of a probe.
const PROBE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3600));
/// Defaults of a probe: between two of them, and how long one may take.
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);

/// The services of `group`; of "" those next to the server.
pub(super) fn services(
    sections: Vec<Section<'_>>,
    group: &str,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<ServicePart> {
    sections.into_iter().filter_map(|section| service(section, group, names, problems)).collect()
}

fn service(
    mut section: Section<'_>,
    group: &str,
    names: &mut Names,
    problems: &mut Problems,
) -> Option<ServicePart> {
    let name = section.text("name", problems);
    let servers = section.sections("servers", problems);
    let balance = section.word("balance", &BALANCES, problems);
    let health = section.section("health", problems).and_then(|it| health(it, problems));
    let plugins = section.texts("plugins", problems);
    let plugins: Vec<String> = plugins.iter().map(|text| names.plugin(text)).collect();
    section.require("name", "\"NAME\"", problems);
    section.require("servers", "[{ address = \"http://127.0.0.1:3000\" }]", problems);
    if section.has("servers") && servers.is_empty() {
        problems.add(section.span.clone(), "a service has at least one server");
    }
    let span = section.span.clone();
    section.finish(&[], problems);
    let servers: Vec<ServerPart> = servers.into_iter().filter_map(|it| server(it, problems)).collect();
    if !servers.is_empty() && servers.iter().all(|server| server.weight == 0) {
        problems.add(span, "the weight of every server is 0: nothing would get there");
    }
    let name = names.add_service(group, &name?, problems)?;
    if servers.iter().any(has_scheme) {
        names.takes_requests_only(group, &name, ForRequests::Scheme);
    } else if !plugins.is_empty() {
        names.takes_requests_only(group, &name, ForRequests::Plugins);
    }
    let balance = balance.map_or_else(ServerBalance::default, |balance| balance.value);
    Some(ServicePart { name, servers, balance, health, plugins })
}

fn has_scheme(server: &ServerPart) -> bool {
    ServiceTarget::parse_http(&server.address).is_ok_and(|target| target.speech != Speech::Plain)
}

fn server(mut section: Section<'_>, problems: &mut Problems) -> Option<ServerPart> {
    let address = section.text("address", problems);
    let weight = section.number("weight", 0..=u32::from(u16::MAX), problems).map_or(1, |weight| weight.value);
    let tls = section.section("tls", problems).and_then(|it| tls(it, problems));
    let send_proxy = section.word("send_proxy", &PROXY_VERSIONS, problems).map(|version| version.value);
    section.require("address", "\"http://127.0.0.1:3000\"", problems);
    section.finish(&[], problems);
    let address = address?;
    address.parse(ServiceTarget::parse_http, problems)?;
    Some(ServerPart { address: address.value, weight, tls, send_proxy })
}

/// Whom the end that dials trusts. The authorities are read here: the members of a group have other files.
fn tls(mut section: Section<'_>, problems: &mut Problems) -> Option<TlsPart> {
    let ca = section.path("ca", problems).and_then(|path| authorities(&path, problems));
    let pin = section.text("pin", problems).and_then(|text| text.parse(pin, problems));
    let server_name = section.text("server_name", problems).map(|name| name.value);
    section.finish(&[], problems);
    Some(TlsPart { ca, pin, server_name })
}

fn authorities(path: &Placed<std::path::PathBuf>, problems: &mut Problems) -> Option<String> {
    problems.check(path.span.clone(), read_authorities(&path.value))
}

fn read_authorities(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(text),
        _ => Err(format!("{} holds no certificate in PEM form", path.display())),
    }
}

fn pin(text: &str) -> Result<String, String> {
    match text.parse::<Pin>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a pin is sha256-… of the public key, as in a join string".to_owned()),
    }
}

fn health(mut section: Section<'_>, problems: &mut Problems) -> Option<HealthCheck> {
    let kind = section.word("kind", &PROBES, problems);
    let path = section.text("path", problems);
    let interval = section.duration("interval", PROBE.0..=PROBE.1, problems).map_or(INTERVAL, |it| it.value);
    let timeout = section.duration("timeout", PROBE.0..=PROBE.1, problems).map_or(TIMEOUT, |it| it.value);
    let rise = section.number("rise", 1..=100, problems).map_or(2, |rise| rise.value);
    let fall = section.number("fall", 1..=100, problems).map_or(3, |fall| fall.value);
    section.require("kind", "\"http\", \"tcp\" or \"grpc\"", problems);
    section.finish(&[], problems);
    let kind = kind?.value;
    let path = match (kind, path) {
        (HealthKind::Http, Some(path)) if !path.value.starts_with('/') => {
            path.wrong("a path begins with /", problems);
            None
        }
        (HealthKind::Tcp, Some(path)) => {
            path.wrong("a probe by TCP has no path", problems);
            None
        }
        (_, path) => path.map(|path| path.value),
    };
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Some(HealthCheck { kind, path, interval_ms: millis(interval), timeout_ms: millis(timeout), rise, fall })
}
