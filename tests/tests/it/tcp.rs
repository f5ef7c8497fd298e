//! TCP through the tunnel.

use futures_util::future::join_all;
use tests::fixture::{Ending, TcpService};
use tests::pattern;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{End, Raw};
use tests::wait::{SOON, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::Wire;

#[tokio::test]
async fn bytes_pass_both_ways_and_both_ends_follow() {
    let wire = Wire::to_tcp(TcpService::echo().await).await;
    let sent = pattern::all(2_000_000);
    let (mut read, mut write) = TcpStream::connect(wire.door()).await.unwrap().into_split();
    let upload = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let download = async {
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        all
    };
    let ((), got) = within("the echo", SOON, async { tokio::join!(upload, download) }).await;
    assert!(got == sent, "{} bytes came back", got.len());
}

#[tokio::test]
async fn an_answer_can_follow_the_visitors_fin() {
    let wire = Wire::to_tcp(TcpService::after_fin().await).await;
    let mut raw = Raw::open(wire.door()).await;
    raw.send(pattern::all(500_000)).await;
    raw.finish().await;
    let (answer, end) = raw.rest(SOON).await;
    assert_eq!(String::from_utf8(answer).unwrap(), "500000 bytes, intact: true\n");
    assert_eq!(end, End::Fin);
}

#[tokio::test]
async fn a_visitor_can_go_on_after_the_services_fin() {
    let wire = Wire::scripted("that is all\n", Ending::Fin).await;
    let mut raw = Raw::open(wire.door()).await;
    let (said, end) = raw.rest(SOON).await;
    assert_eq!((said.as_slice(), end), (b"that is all\n".as_slice(), End::Fin));
    raw.send("and one more thing").await;
    raw.finish().await;
    let number = wire.service.connections() - 1;
    let heard = async || (&wire.service.received(number)[..] == b"and one more thing").then_some(());
    tests::wait::until("the service hears the visitor after its own end", SOON, heard).await;
}

#[tokio::test]
async fn a_service_that_speaks_first_is_heard() {
    let wire = Wire::scripted("220 ready\r\n", Ending::Hold).await;
    let mut raw = Raw::open(wire.door()).await;
    assert_eq!(raw.exactly(11).await, b"220 ready\r\n");
}

#[tokio::test]
async fn bytes_sent_before_the_service_is_reached_are_kept() {
    let wire = Wire::to_tcp(TcpService::echo().await).await;
    let visits = (0..20).map(|n: usize| {
        let door = wire.door();
        async move {
            let sent = pattern::all(1 + n * 6_000);
            let mut raw = Raw::open(door).await;
            raw.send(&sent).await;
            assert!(raw.exactly(sent.len()).await == sent);
        }
    });
    within("twenty echoes", SOON, join_all(visits)).await;
}

#[tokio::test]
async fn a_stuck_download_holds_nobody_up() {
    let wire = Wire::to_tcp(TcpService::source().await).await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut raw = Raw::open(wire.door()).await;
        raw.exactly(1000).await;
        stuck.push(raw);
    }
    let mut other = Raw::open(wire.door()).await;
    let got = within("4 MiB past eight stuck readers", SOON, other.exactly(4 << 20)).await;
    assert!(got == pattern::all(4 << 20));
}

#[tokio::test]
async fn a_port_can_be_asked_for_and_belongs_to_one() {
    let server = Tunneld::start().await;
    let (service, home, other) = (TcpService::echo().await, Home::new(), Home::new());
    let free = tests::place::nobody().port().to_string();
    let alice = server.invite("alice", &["--port", &free]).await;
    let bob = server.invite("bob", &["--port", &free]).await;
    let tunnel = home.tcp(&alice, service.addr(), &["--port", &free]).await;
    assert_eq!(tunnel.public().port.to_string(), free);
    let mut raw = Raw::open(tunnel.tcp()).await;
    raw.send("x").await;
    assert_eq!(raw.exactly(1).await, b"x");

    let claim = other.start(&["tcp", &service.addr().to_string(), "--join", &bob, "--port", &free]);
    claim.says("NAME_IN_USE", SOON).await;
    raw.send("y").await;
    assert_eq!(raw.exactly(1).await, b"y", "the owner is unaffected");
}

#[tokio::test]
async fn the_connections_of_a_groups_tunnel_are_shared_out_in_turns() {
    let free = tests::place::nobody().port().to_string();
    let config = format!("principal = [{{ name = \"edge\", groups = [\"web\"], ports = [\"{free}\"] }}]");
    let server = Tunneld::configured(|_| config, &[]).await;
    let join = server.invite("edge", &[]).await;
    let (services, homes) =
        ([TcpService::echo().await, TcpService::echo().await], [Home::new(), Home::new()]);
    let mut tunnels = Vec::new();
    for (service, home) in services.iter().zip(&homes) {
        tunnels.push(home.tcp(&join, service.addr(), &["--group", "web", "--port", &free]).await);
    }
    for _ in 0..4 {
        let mut raw = Raw::open(tunnels[0].tcp()).await;
        raw.send("x").await;
        assert_eq!(raw.exactly(1).await, b"x");
    }
    assert_eq!(services.map(|service| service.bytes_in()), [2, 2]);
}

#[tokio::test]
async fn only_allowed_visitors_get_in() {
    let server = Tunneld::start().await;
    let (service, home) = (TcpService::echo().await, Home::new());
    let tunnel = home.tcp(&server.join(), service.addr(), &["--allow", "203.0.113.0/24"]).await;
    assert_eq!(Raw::knock(tunnel.tcp(), SOON).await, (Vec::new(), End::Reset));
}

#[tokio::test]
async fn a_port_closes_when_its_tunnel_goes() {
    let wire = Wire::to_tcp(TcpService::echo().await).await;
    let door = wire.door();
    let Wire { mut tunnel, server, .. } = wire;
    tunnel.program.signal(rustix::process::Signal::INT);
    tunnel.program.ended(SOON).await;
    let refused = async || TcpStream::connect(door).await.is_err().then_some(());
    tests::wait::until("the port is closed", SOON, refused).await;
    server.has_sessions(0, SOON).await;
}
