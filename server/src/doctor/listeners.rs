//! Whether what should listen can, or does.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use ops::doctor::Findings;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admin::api::Status;
use crate::settings::{Listen, Settings};

const CHECK: &str = "listener";
const LIMIT: Duration = Duration::from_secs(2);

/// Whether the addresses that a start would bind are free.
pub(super) fn free(settings: &Settings, findings: &mut Findings) {
    let document = &settings.document;
    let of_flags = [
        ("tunnel", Some(&settings.tunnel)),
        ("http", Some(&settings.http)),
        ("https", settings.https.as_ref()),
        ("ops", Some(&settings.ops)),
    ];
    let of_flags =
        of_flags.into_iter().filter_map(|(key, listen)| Some((format!("listen.{key}"), listen?.clone())));
    let admin =
        document.listen.admin.iter().map(|admin| ("listen.admin".to_owned(), Listen::at(admin.address)));
    let tcp = document.tcp.iter().map(|tcp| ("tcp.listen".to_owned(), Listen::at(tcp.listen.address)));
    let tls = document.tls.iter().filter_map(|tls| tls.listen);
    let tls = tls.map(|listen| ("tls.listen".to_owned(), Listen::at(listen.address)));
    let mut seen = Vec::new();
    for (key, listen) in of_flags.chain(admin).chain(tcp).chain(tls) {
        for ip in listen.addresses() {
            let address = SocketAddr::new(*ip, listen.port());
            if address.port() == 0 || seen.contains(&address) {
                continue;
            }
            seen.push(address);
            match TcpListener::bind(address) {
                Ok(_) => findings.good(CHECK, format_args!("{key}: {address} is free")),
                Err(error) if listen.without_ipv6(*ip).is_some() || listen.may_lack(*ip) => {
                    match error.kind() {
                        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => {
                            taken(&key, address, &error, findings)
                        }
                        _ => findings.skip(CHECK, format_args!("{key}: no IPv6 on this machine ({error})")),
                    }
                }
                Err(error) => taken(&key, address, &error, findings),
            }
        }
    }
}

fn taken(key: &str, address: SocketAddr, error: &std::io::Error, findings: &mut Findings) {
    let todo = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "see who is there: ss -ltnp 'sport = {}'; stop it, or choose another address for {key}",
            address.port()
        ),
        ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit"
                .to_owned()
        }
        ErrorKind::AddrNotAvailable => {
            format!("no interface of this machine has that address: see `ip addr`, and correct {key}")
        }
        _ => format!("correct {key}"),
    };
    findings.bad(CHECK, format_args!("{key}: cannot listen on {address}: {error}"), todo);
}

/// Whether the running server's listeners accept connections.
pub(super) async fn of_running(status: &Status, findings: &mut Findings) {
    let listen = &status.listen;
    let all = [
        ("tunnel", Some(&listen.tunnel)),
        ("http", Some(&listen.http)),
        ("https", listen.https.as_ref()),
        ("ops", Some(&listen.ops)),
        ("admin", listen.admin.as_ref()),
    ];
    let all = all.into_iter().filter_map(|(name, address)| {
        Some((name, address?.as_str(), listen.down.get(name).map(String::as_str)))
    });
    let relayed =
        status.ingresses.iter().map(|it| (it.kind.as_str(), it.listen.as_str(), it.down.as_deref()));
    for (name, text, down) in all.chain(relayed) {
        if let Some(why) = down {
            findings.bad(
                CHECK,
                format_args!("{name}: {text} is down: {why}"),
                "mend what it says, or correct the configuration: without a restart it is tried again every few seconds",
            );
            continue;
        }
        let Ok(address) = text.parse::<SocketAddr>() else { continue };
        match timeout(LIMIT, TcpStream::connect(near(address))).await {
            Ok(Ok(_)) => findings.good(CHECK, format_args!("{name}: {address} accepts connections")),
            Ok(Err(error)) => findings.bad(CHECK, format_args!("{name}: {address}: {error}"), REMEDY),
            Err(_) => {
                findings.bad(CHECK, format_args!("{name}: {address} does not accept within 2 s"), REMEDY)
            }
        }
    }
}

const REMEDY: &str = "look into the log of tunneld: it may be out of files, or busy; a packet filter of this machine may be in between";

/// An address to connect to for one that is listened on. What takes all of IPv6 takes IPv4 as well, which every machine has.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    SocketAddr::new(ip, address.port())
}
