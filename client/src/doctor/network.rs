//! From the name of a server to a connection.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ops::doctor::Findings;
use protocol::join::HostPort;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(5);

/// Whether connections to `server` are accepted, at one address of its name at least.
pub(super) async fn reach(server: &HostPort, findings: &mut Findings) -> bool {
    let addresses = match timeout(LIMIT, lookup_host((server.host(), server.port()))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            findings.bad("name", format_args!("{}: {error}", server.host()), NAME);
            return false;
        }
        Err(_) => {
            findings.bad(
                "name",
                format_args!("{}: the name service does not answer within 5 s", server.host()),
                NAME,
            );
            return false;
        }
    };
    if addresses.is_empty() {
        findings.bad("name", format_args!("{} has no address", server.host()), NAME);
        return false;
    }
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    findings.good("name", format_args!("{} is {}", server.host(), shown.join(", ")));
    let mut reached = false;
    let mut lost = Vec::new();
    for address in addresses {
        let began = Instant::now();
        match timeout(LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                let took = began.elapsed().as_secs_f64() * 1000.0;
                findings.good("connection", format_args!("{address} accepts in {took:.1} ms"));
                reached = true;
            }
            Ok(Err(error)) => lost.push((address, error.to_string(), todo(error.kind(), address))),
            Err(_) => lost.push((address, "no answer within 5 s".to_owned(), FIREWALL.to_owned())),
        }
    }
    for (address, error, todo) in lost {
        match reached {
            // The other address is tried a moment later.
            true => findings.warn("connection", format_args!("{address}: {error}"), todo),
            false => findings.bad("connection", format_args!("{address}: {error}"), todo),
        }
    }
    reached
}

const NAME: &str = "correct the name in the join string or in `servers`, add its DNS record, or mend the name service of this machine";
const FIREWALL: &str =
    "open the port in the firewalls of the server and of this network; outgoing proxies do not pass it";

fn todo(kind: ErrorKind, address: SocketAddr) -> String {
    match kind {
        ErrorKind::ConnectionRefused => {
            format!("start tunneld there, or correct the port: `tunneld status` shows what it listens on ({address} refuses)")
        }
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => {
            "this machine has no way there: look at its routes (ip route), or remove the DNS record that nobody can reach".to_owned()
        }
        _ => FIREWALL.to_owned(),
    }
}
