//! Configured TCP ports: `[[tcp]]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use tests::fixture::TcpService;
use tests::pattern;
use tests::place::nobody;
use tests::program::{Program, command};
use tests::tls;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{End, Raw};
use tests::wait::{SOON, becomes, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::live::apply;

/// A server whose port leads to `service` of the group `web`; `more` are further keys of the port.
async fn server(service: &TcpService, balance: &str, more: &str) -> Tunneld {
    let config = format!(
        "timeouts = {{ member = \"300ms\" }}\n\
         trusted_proxies = [\"127.0.0.1\"]\n\
         principal = [{{ name = \"edge\", groups = [\"web\"], ports = [\"1024-65535\"] }}]\n\
         tcp = [{{ listen = \"127.0.0.1:0\", to = \"web/db\", {more} }}]\n\
         [[group]]\n\
         name = \"web\"\n\
         balance = \"{balance}\"\n\
         service = [{{ name = \"db\", servers = [{{ address = \"{}\" }}] }}]\n",
        service.addr()
    );
    Tunneld::configured(|_| config, &[]).await
}

/// A member of the group, that is there.
async fn member(server: &Tunneld, home: &Home, join: &str, name: &str, service: &TcpService) -> Program {
    let config = format!("name = \"{name}\"\n[allow]\ndial = [\"{}\"]\n", service.addr());
    let member = home.run(join, &config);
    let ready = async || {
        let status = server.status().await;
        let members = status["ingresses"][0]["members"].as_array()?;
        members.iter().any(|member| member["name"] == name && member["state"] == "ready").then_some(())
    };
    until(&format!("{name} is ready"), SOON, ready).await;
    member
}

/// The members of the access lines of the server so far, in order.
fn carried_by(server: &Tunneld) -> Vec<String> {
    let lines = server.program.stderr();
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter_map(|line| line["member"].as_str().map(str::to_owned)).collect()
}

/// Who has carried visitors, after as many have come as it takes for `count` of them. The line of each may be written when the
/// next one is there already, so it is waited for.
async fn carried(server: &Tunneld, count: usize) -> Vec<String> {
    let mut members = carried_by(server);
    while members.len() < count {
        is_served(server).await;
        let next = members.len() + 1;
        let look = async || carried_by(server);
        members = becomes("one more access line", SOON, look, |members| members.len() == next).await;
    }
    members
}

/// Sends bytes both ways to both ends.
async fn is_served(server: &Tunneld) {
    let mut raw = Raw::open(server.ingress(0).await).await;
    raw.send("ping").await;
    raw.finish().await;
    assert_eq!(raw.rest(SOON).await, (b"ping".to_vec(), End::Fin));
}

#[tokio::test]
async fn a_configured_port_leads_to_a_groups_service_and_keeps_half_close() {
    let service = TcpService::after_fin().await;
    let server = server(&service, "round-robin", "").await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let _member = member(&server, &home, &join, "edge-1", &service).await;
    let mut raw = Raw::open(server.ingress(0).await).await;
    raw.send(pattern::all(500_000)).await;
    raw.finish().await;
    let (answer, end) = raw.rest(SOON).await;
    assert_eq!(String::from_utf8(answer).unwrap(), "500000 bytes, intact: true\n");
    assert_eq!(end, End::Fin);
    let told = server.admin(&["status", "db"]).await;
    for part in ["; to web/db\n", "web/db: 1 of 1 members ready", "    edge-1 ("] {
        assert!(told.stdout.contains(part), "{part}: {}", told.text());
    }
    let route = format!("\"route\":\"tcp:{}\"", server.ingress(0).await.port());
    server.program.says(&route, SOON).await;
}

#[tokio::test]
async fn connections_are_shared_out_and_go_to_the_others_when_a_member_is_lost() {
    for balance in ["round-robin", "least-connections", "hash"] {
        let service = TcpService::echo().await;
        let server = server(&service, balance, "").await;
        let (join, homes) = (server.invite("edge", &[]).await, [Home::new(), Home::new()]);
        let _first = member(&server, &homes[0], &join, "edge-1", &service).await;
        let mut second = member(&server, &homes[1], &join, "edge-2", &service).await;
        let members = carried(&server, 8).await;
        let different: BTreeSet<_> = members.iter().collect();
        match balance {
            // One visitor's address.
            "hash" => assert_eq!(different.len(), 1, "{members:?}"),
            "round-robin" => {
                assert!(members.windows(2).all(|pair| pair[0] != pair[1]), "{members:?}");
            }
            _ => assert_eq!(different.len(), 2, "{members:?}"),
        }

        second.kill();
        server.has_sessions(SESSIONS, SOON).await;
        let members = carried(&server, 12).await;
        assert!(members[8..].iter().all(|member| member == "edge-1"), "{members:?}");
    }
}

#[tokio::test]
async fn without_a_member_there_is_a_reset_after_the_wait_and_with_one_within_it_none() {
    let service = TcpService::echo().await;
    let server = server(&service, "round-robin", "").await;
    let began = std::time::Instant::now();
    assert_eq!(Raw::knock(server.ingress(0).await, SOON).await, (Vec::new(), End::Reset));
    assert!(began.elapsed().as_millis() >= 300, "{:?}", began.elapsed());
    let route = format!("route=\"tcp:{}\"", server.ingress(0).await.port());
    server.counts("tunnel_errors_total", &["kind=\"no-member\"", &route], |count| count == 1.0).await;

    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let mut only = member(&server, &home, &join, "edge-1", &service).await;
    let mut raw = Raw::open(server.ingress(0).await).await;
    raw.send("ping").await;
    assert_eq!(raw.exactly(4).await, b"ping");
    only.kill();
    assert_eq!(raw.rest(SOON).await, (Vec::new(), End::Reset), "its member is dead");
}

#[tokio::test]
async fn only_allowed_visitors_get_in_and_silent_ones_do_not_stay() {
    let service = TcpService::echo().await;
    let shut = server(&service, "round-robin", "allow = [\"203.0.113.0/24\"]").await;
    let (join, home) = (shut.invite("edge", &[]).await, Home::new());
    let _member = member(&shut, &home, &join, "edge-1", &service).await;
    assert_eq!(Raw::knock(shut.ingress(0).await, SOON).await, (Vec::new(), End::Reset));
    shut.program.says("\"error\":\"not-allowed\"", SOON).await;
    assert_eq!(service.bytes_in(), 0);

    let short = server(&service, "round-robin", "idle_timeout = \"1s\"").await;
    let (join, home) = (short.invite("edge", &[]).await, Home::new());
    let _member = member(&short, &home, &join, "edge-1", &service).await;
    let mut raw = Raw::open(short.ingress(0).await).await;
    raw.send("ping").await;
    assert_eq!(raw.exactly(4).await, b"ping");
    assert_eq!(raw.rest(SOON).await, (Vec::new(), End::Reset));
}

#[tokio::test]
async fn proxy_headers_come_in_and_go_out() {
    let service = TcpService::echo().await;
    let config = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n\
         service = [{{ name = \"db\", servers = [{{ address = \"{}\", send_proxy = \"v1\" }}] }}]\n\
         tcp = [{{ listen = {{ address = \"127.0.0.1:0\", proxy_protocol = true }}, to = \"db\", allow = [\"192.0.2.0/24\"] }}]\n",
        service.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let mut raw = Raw::open(server.ingress(0).await).await;
    for piece in ["PROXY TCP4 192.0.2.7 198.51", ".100.1 5000 5432\r\nhel", "lo"] {
        raw.send(piece).await;
    }
    let header = "PROXY TCP4 192.0.2.7 ";
    assert_eq!(raw.exactly(header.len()).await, header.as_bytes());
    raw.finish().await;
    let (rest, end) = raw.rest(SOON).await;
    assert!(rest.ends_with(b"\r\nhello") && end == End::Fin, "{}", String::from_utf8_lossy(&rest));
    // One that is no header is no visitor.
    let mut raw = Raw::open(server.ingress(0).await).await;
    raw.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.rest(SOON).await, (Vec::new(), End::Reset));
}

#[tokio::test]
async fn its_port_is_nobodys_to_claim() {
    let service = TcpService::echo().await;
    let server = server(&service, "round-robin", "").await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let port = server.ingress(0).await.port().to_string();
    let done = home.command(&["tcp", "22", "--port", &port, "--join", &join]).await;
    assert_eq!(done.code, Some(3), "{}", done.text());
    assert!(done.text().contains("NAME_IN_USE"), "{}", done.text());
}

#[tokio::test]
async fn a_port_in_use_keeps_nothing_else_from_starting_and_opens_when_it_is_free() {
    let service = TcpService::echo().await;
    let taken = std::net::TcpListener::bind(nobody()).unwrap();
    let address = taken.local_addr().unwrap();
    let config = format!(
        "service = [{{ name = \"db\", servers = [{{ address = \"{}\" }}] }}]\n\
         tcp = [{{ listen = \"{address}\", to = \"db\" }}]",
        service.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let told = server.admin(&["status"]).await;
    assert!(told.stdout.contains(&format!("cannot listen on {address}")), "{}", told.text());
    server.program.says("a listener is down, and tried again", SOON).await;
    drop(taken);
    server.program.says("a listener that was down is up", SOON).await;
    is_served(&server).await;
    let told = server.admin(&["status"]).await;
    assert!(!told.stdout.contains("cannot listen"), "{}", told.text());
}

/// Connections to `door` one after another, each with an echo, until `over`; what went wrong with them.
async fn echoes(door: SocketAddr, asked: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Vec<String> {
    let mut failed = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let echo = async {
            let mut stream = TcpStream::connect(door).await?;
            stream.write_all(b"x").await?;
            let mut answer = [0];
            stream.read_exact(&mut answer).await.map(drop)
        };
        match timeout(SOON, echo).await {
            Ok(Ok(())) => {}
            other => failed.push(format!("{other:?}")),
        }
        asked.fetch_add(1, Ordering::Relaxed);
    }
    failed
}

/// The operator takes a port from a client while visitors come to it: none is refused.
#[tokio::test]
async fn a_port_is_taken_with_its_socket() {
    let (theirs, ours) = (TcpService::echo().await, TcpService::echo().await);
    let base = "principal = [{ name = \"edge\", ports = [\"1024-65535\"] }]\n".to_owned();
    let first = base.clone();
    let server = Tunneld::configured(|_| first, &[]).await;
    let join = server.invite("edge", &[]).await;
    let door = nobody();
    let taking = format!(
        "{base}service = [{{ name = \"db\", servers = [{{ address = \"{}\" }}] }}]\n\
         tcp = [{{ listen = \"{door}\", to = \"db\" }}]\n",
        ours.addr()
    );
    let mut total = 0;
    for turn in 1..=3 {
        let home = Home::new();
        let tunnel = format!(
            "[[tunnel]]\nname = \"db\"\nkind = \"tcp\"\nport = {}\nto = \"{}\"\n",
            door.port(),
            theirs.addr()
        );
        let mut client = home.run(&join, &tunnel);
        let open = async || TcpStream::connect(door).await.is_ok().then_some(());
        until("the client has the port", SOON, open).await;
        let (asked, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let mut visitors = JoinSet::new();
        (0..4).for_each(|_| drop(visitors.spawn(echoes(door, asked.clone(), over.clone()))));
        until("visitors come", SOON, async || (asked.load(Ordering::Relaxed) > 20).then_some(())).await;
        let before = ours.bytes_in();
        let applied = apply(&server, &taking, &["--take"]).await;
        assert_eq!(applied.code, Some(0), "{}", applied.text());
        assert!(!applied.text().contains("down"), "{}", applied.text());
        until("they are the operator's", SOON, async || (ours.bytes_in() > before + 20).then_some(())).await;
        over.store(true, Ordering::Relaxed);
        let failed = visitors.join_all().await.concat();
        assert!(failed.is_empty(), "turn {turn}: {failed:?} of {}", asked.load(Ordering::Relaxed));
        total += asked.load(Ordering::Relaxed);
        client.kill();
        let given_back = apply(&server, &base, &[]).await;
        assert_eq!(given_back.code, Some(0), "{}", given_back.text());
        // Who accepted there lets go of it a moment later; the next turn must not take it for the next client's.
        let closed = async || TcpStream::connect(door).await.is_err().then_some(());
        until("the port is closed", SOON, closed).await;
    }
    println!("{total} connections while the port was taken three times");
}

#[tokio::test]
async fn the_reference_example_is_good() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("tls")).unwrap();
    tls::certificate(&home.path().join("tls"), "wildcard", &["*.t.example.com"]);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/tunneld.toml");
    let file = home.path().join("tunneld.toml");
    std::fs::copy(example, &file).unwrap();
    let mut tunneld = command("tunneld", home.path());
    tunneld.args(["check", file.to_str().unwrap()]);
    let done = Program::start(tunneld).finished(SOON).await;
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{}", done.text());
    assert!(done.stdout.contains("1 tcp ingress"), "{}", done.stdout);
}

#[tokio::test]
async fn it_drains() {
    let service = TcpService::echo().await;
    let mut server = server(&service, "round-robin", "").await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let _member = member(&server, &home, &join, "edge-1", &service).await;
    let door = server.ingress(0).await;
    let mut raw = Raw::open(door).await;
    raw.send("ping").await;
    assert_eq!(raw.exactly(4).await, b"ping");
    server.program.signal(Signal::TERM);
    let closed = async || TcpStream::connect(door).await.is_err().then_some(());
    until("the port is closed", SOON, closed).await;
    raw.send("more").await;
    assert_eq!(raw.exactly(4).await, b"more", "what is there goes on");
    raw.finish().await;
    assert_eq!(raw.rest(SOON).await, (Vec::new(), End::Fin));
    server.program.ended(SOON).await;
}
