//! A service that answers no SYN: its member is passed over, as one is whose service refuses.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::fixture::{HttpService, Stuck, TcpService};
use tests::place::nobody;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{End, Raw, full, get, request, try_send};
use tests::wait::{SOON, promised, until};

use crate::stage::HOST;

/// What connecting to a service may take, and the longest that it takes to be elsewhere after that.
const DIAL: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(8);

/// A body comes to the next member whole, and to a service once.
async fn requests(server: &Tunneld, service: &HttpService) {
    let post = async |number: u8| {
        let request = request("POST", HOST, "/echo", full(vec![number; 1000]));
        let began = Instant::now();
        let answer = try_send(server.listen().http, request).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &vec![number; 1000][..]), "{answer:?}");
        began.elapsed()
    };
    // They take turns: one of two comes to the first member.
    let (one, other) = tokio::join!(post(1), post(2));
    let (quick, slow) = (one.min(other), one.max(other));
    assert!(quick < DIAL && slow >= DIAL && slow < promised(MOST), "{quick:?}, {slow:?}");
    assert_eq!(service.tally().get(|tally| &tally.requests), 2);
}

async fn connections(port: SocketAddr) {
    let visit = async || {
        let (mut raw, began) = (Raw::open(port).await, Instant::now());
        raw.send("ping").await;
        raw.finish().await;
        assert_eq!(raw.rest(SOON).await, (b"ping".to_vec(), End::Fin));
        began.elapsed()
    };
    let (one, other) = tokio::join!(visit(), visit());
    assert!(one.min(other) < DIAL && one.max(other) >= DIAL, "{one:?}, {other:?}");
}

#[tokio::test]
async fn a_service_that_answers_no_syn_is_passed_over() {
    let (stuck, web, echo) = (Stuck::start().await, HttpService::start().await, TcpService::echo().await);
    let port = nobody();
    let grants = format!(
        "principal = [{{ name = \"edge\", groups = [\"web\"], hosts = [\"*.localhost\"], ports = [\"{}\"] }}]",
        port.port()
    );
    let server = Tunneld::configured(|_| grants, &[]).await;
    let join = server.invite("edge", &[]).await;
    let tunnels = |to: [SocketAddr; 2], more: &str| {
        format!(
            "tunnel = [\n\
             {{ name = \"demo\", kind = \"http\", host = \"demo\", group = \"web\", to = \"{}\" }},\n\
             {{ name = \"port\", kind = \"tcp\", port = {}, group = \"web\", to = \"{}\" }},\n{more}]\n",
            to[0],
            port.port(),
            to[1]
        )
    };
    let homes = [Home::new(), Home::new()];
    let alone =
        format!("{{ name = \"alone\", kind = \"http\", host = \"alone\", to = \"{}\" }},\n", stuck.addr());
    let _first = homes[0].run(&join, &tunnels([stuck.addr(); 2], &alone));
    let _second = homes[1].run(&join, &tunnels([web.addr(), echo.addr()], ""));
    let all = async || {
        let routes = server.admin(&["routes", "--json"]).await.stdout;
        let ready = routes.matches("\"ready\"").count();
        (ready == 5).then_some(())
    };
    until("both members of both, and the one that is alone", SOON, all).await;

    let alone = async {
        let answer = get(server.listen().http, "alone.localhost", "/").await;
        assert_eq!((answer.status, answer.field("x-tunnel-error")), (504, "service-timeout"), "{answer:?}");
    };
    tokio::join!(requests(&server, &web), connections(port), alone);
    server.counts("tunnel_retries_total", &["outcome=\"succeeded\""], |count| count == 2.0).await;
}
