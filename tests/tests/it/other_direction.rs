//! Services next to the server, reached by name: from listeners next to a client, and by rules without one. And what a
//! group's members are handed.

use std::net::SocketAddr;

use tests::fixture::{HttpService, TcpService};
use tests::pattern;
use tests::place::nobody;
use tests::program::Program;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, Answer, End, Raw};
use tests::wait::{SOON, until};

/// A server with the configuration `text`, and the home that the file lives in.
async fn configured(text: &str) -> (Tunneld, Home) {
    let home = Home::new();
    let file = home.write("tunneld.toml", text);
    let server = Tunneld::with(&["--config", file.to_str().unwrap()]).await;
    (server, home)
}

/// A server with the service `billing` for HTTP and `db` for bytes.
async fn with_services(web: SocketAddr, db: SocketAddr) -> (Tunneld, Home) {
    let service =
        |name, address| format!("{{ name = \"{name}\", servers = [{{ address = \"{address}\" }}] }}");
    let (billing, db) = (service("billing", format!("http://{web}")), service("db", db.to_string()));
    configured(&format!("service = [{billing}, {db}]\n")).await
}

/// Starts `tunnelc forward` from a free port, and waits until it has its sessions.
async fn forward(server: &Tunneld, join: &str, home: &Home, more: &[&str]) -> (Program, SocketAddr) {
    let listen = nobody();
    let before = server.sessions().await;
    let text = listen.to_string();
    let client = home.start(&[&["forward", &text], more, &["--join", join]].concat());
    server.has_sessions(before + SESSIONS, SOON).await;
    (client, listen)
}

async fn get(listen: SocketAddr, path: &str) -> Answer {
    visitor::get(listen, &listen.to_string(), path).await
}

#[tokio::test]
async fn requests_from_a_client_come_out_at_a_service_next_to_the_server() {
    let (web, db) = (HttpService::start().await, TcpService::echo().await);
    let (server, _config) = with_services(web.addr(), db.addr()).await;
    let (join, home) = (server.invite("bob", &["--reach", "billing"]).await, Home::new());
    let (_client, listen) = forward(&server, &join, &home, &["billing"]).await;
    let answer = get(listen, "/headers").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().to_lowercase().contains("x-forwarded-for"), "{}", answer.text());
    assert_eq!(get(listen, "/").await.status, 200);
}

#[tokio::test]
async fn connections_from_a_client_come_out_at_a_service_next_to_the_server() {
    let (web, db) = (HttpService::start().await, TcpService::echo().await);
    let (server, _config) = with_services(web.addr(), db.addr()).await;
    let (join, home) = (server.invite("bob", &["--reach", "db"]).await, Home::new());
    let (_client, listen) = forward(&server, &join, &home, &["db", "--kind", "tcp"]).await;
    let mut raw = Raw::open(listen).await;
    raw.send("hello").await;
    assert_eq!(raw.exactly(5).await, b"hello");
}

#[tokio::test]
async fn what_is_not_granted_is_not_reached() {
    let (web, db) = (HttpService::start().await, TcpService::echo().await);
    let (server, _config) = with_services(web.addr(), db.addr()).await;
    let (join, home) = (server.invite("bob", &["--reach", "db", "--reach", "gone"]).await, Home::new());
    let (_client, listen) = forward(&server, &join, &home, &["billing"]).await;
    let (_other, unknown) = forward(&server, &join, &Home::new(), &["gone"]).await;
    let refused = get(listen, "/").await;
    assert_eq!((refused.status, refused.field("x-tunnel-error")), (403, "not-allowed"));
    let nobody = get(unknown, "/").await;
    assert_eq!((nobody.status, nobody.field("x-tunnel-error")), (503, "no-member"));
    // The principal of the quick start reaches nothing.
    let (_third, listen) = forward(&server, &server.join(), &Home::new(), &["billing"]).await;
    assert_eq!(get(listen, "/").await.field("x-tunnel-error"), "not-allowed");
    assert_eq!(web.tally().get(|tally| &tally.requests), 0);
    let (_fourth, listen) = forward(&server, &server.join(), &Home::new(), &["db", "--kind", "tcp"]).await;
    assert_eq!(Raw::knock(listen, SOON).await, (Vec::new(), End::Reset));
    assert_eq!(db.bytes_in(), 0);
}

#[tokio::test]
async fn an_address_is_no_service() {
    let (server, home) = (Tunneld::start().await, Home::new());
    for service in ["10.0.0.5:8080", "http://127.0.0.1:80", "web/app", "~/0", "unix:/run/x"] {
        let done = home.command(&["forward", "9000", service, "--join", &server.join()]).await;
        assert_eq!(done.code, Some(2), "{service}: {}", done.text());
        assert!(done.text().contains("not the name of a service"), "{service}: {}", done.text());
    }
}

#[tokio::test]
async fn a_forward_of_the_configuration_file_works_beside_tunnels() {
    let (web, db) = (HttpService::start().await, TcpService::echo().await);
    let (server, _config) = with_services(web.addr(), db.addr()).await;
    let (join, home, listen) = (server.invite("bob", &["--reach", "billing"]).await, Home::new(), nobody());
    let _client = home.run(
        &join,
        &format!(
            "forward = [{{ name = \"b\", kind = \"http\", listen = \"{listen}\", to = \"billing\" }}]\n"
        ),
    );
    server.has_sessions(SESSIONS, SOON).await;
    assert_eq!(get(listen, "/").await.status, 200);
}

#[tokio::test]
async fn a_rule_leads_to_a_service_next_to_the_server() {
    let web = HttpService::start().await;
    let (server, _config) = configured(&format!(
        "service = [{{ name = \"billing\", servers = [{{ address = \"http://{}\" }}] }}]\n\
         rule = [{{ name = \"b\", host = \"billing.localhost\", to = \"billing\" }}]\n",
        web.addr()
    ))
    .await;
    let answer = visitor::get(server.listen().http, "billing.localhost", "/headers").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    server.counts("tunnel_requests_total", &[], |count| count >= 1.0).await;
}

/// A server with the group `web`, whose members dial `app` and listen at `door` for the service `billing`.
async fn with_group(app: SocketAddr, billing: SocketAddr, door: SocketAddr) -> (Tunneld, Home) {
    configured(&format!(
        "principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
         service = [{{ name = \"billing\", servers = [{{ address = \"http://{billing}\" }}] }}]\n\
         rule = [{{ name = \"app\", host = \"app.localhost\", to = \"web/app\" }}]\n\
         [[group]]\n\
         name = \"web\"\n\
         service = [{{ name = \"app\", servers = [{{ address = \"http://{app}\" }}] }}]\n\
         ingress = [{{ listen = \"{door}\", kind = \"http\", to = \"billing\" }}]\n"
    ))
    .await
}

/// Waits until the only member of the group has this state; with the reason that it gives.
async fn member_is(server: &Tunneld, state: &str) -> Option<String> {
    let look = async || {
        let status = server.status().await;
        let member = &status["groups"][0]["members"][0];
        (member["state"] == state).then(|| member["reason"].as_str().map(str::to_owned))
    };
    until(&format!("the member is {state}"), SOON, look).await.0
}

#[tokio::test]
async fn a_member_that_allows_it_is_handed_its_part_and_serves_it() {
    let (app, billing, door) = (HttpService::start().await, HttpService::start().await, nobody());
    let (server, _config) = with_group(app.addr(), billing.addr(), door).await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let allow = format!("[allow]\ndial = [\"{}\"]\nlisten = [\"{door}\"]\n", app.addr());
    let _client = home.run(&join, &allow);
    assert_eq!(member_is(&server, "ready").await, None);
    server.serves("app.localhost", SOON).await;
    assert!(app.tally().get(|tally| &tally.requests) > 0);
    // Its ingress grants what it leads to.
    let open = async || visitor::try_get(door, "x", "/").await.ok().filter(|answer| answer.status == 200);
    drop(until("the ingress leads to billing", SOON, open).await);
    assert!(billing.tally().get(|tally| &tally.requests) > 0);
    let status = home.command(&["status"]).await;
    assert!(status.stdout.contains("group web  ready; app; listening on"), "{}", status.text());
    let told = server.admin(&["status", "web"]).await;
    assert!(told.stdout.contains("group web, revision 1: app"), "{}", told.text());
}

#[tokio::test]
async fn a_group_has_a_port_for_connections_at_its_members() {
    let (db, door) = (TcpService::after_fin().await, nobody());
    let (server, _config) = configured(&format!(
        "principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
         service = [{{ name = \"db\", servers = [{{ address = \"{}\" }}] }}]\n\
         group = [{{ name = \"web\", ingress = [{{ listen = \"{door}\", kind = \"tcp\", to = \"db\" }}] }}]\n",
        db.addr()
    ))
    .await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let _client = home.run(&join, &format!("[allow]\nlisten = [\"{door}\"]\n"));
    assert_eq!(member_is(&server, "ready").await, None);
    let mut raw = Raw::open(door).await;
    raw.send(pattern::all(100_000)).await;
    raw.finish().await;
    let (answer, end) = raw.rest(SOON).await;
    assert_eq!(
        (String::from_utf8(answer).unwrap().as_str(), end),
        ("100000 bytes, intact: true\n", End::Fin)
    );
}

#[tokio::test]
async fn a_member_that_does_not_allow_it_says_what_to_paste_and_serves_nothing() {
    let (app, door) = (HttpService::start().await, nobody());
    let (server, _config) = with_group(app.addr(), app.addr(), door).await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let client = home.run(&join, &format!("[allow]\nlisten = [\"{door}\"]\n"));
    let reason = member_is(&server, "behind").await;
    let line = format!("add to [allow]: dial = [\"{}\"]", app.addr());
    let reason = match reason {
        // It was behind because it had not answered yet.
        None => {
            let look = async || member_is(&server, "behind").await;
            until("the member says why", SOON, look).await.0
        }
        Some(reason) => reason,
    };
    assert_eq!(reason, line);
    client.says(&format!("dial = [\\\"{}\\\"]", app.addr()), SOON).await;
    assert_eq!(server.visit("app.localhost", "/").await, 503);
    assert!(tokio::net::TcpStream::connect(door).await.is_err(), "nothing of a refused part is opened");
    assert_eq!(app.tally().get(|tally| &tally.requests), 0);
    server.counts("tunnel_group_members", &[], |count| count >= 1.0).await;
}

#[tokio::test]
async fn a_host_of_a_rule_is_nobodys_to_claim() {
    let app = HttpService::start().await;
    let (server, _config) = configured(&format!(
        "service = [{{ name = \"s\", servers = [{{ address = \"http://{}\" }}] }}]\n\
         rule = [{{ name = \"app\", host = \"app.localhost\", to = \"s\" }}]\n",
        app.addr()
    ))
    .await;
    let done = Home::new().command(&["http", "3000", "--host", "app", "--join", &server.join()]).await;
    assert_eq!(done.code, Some(3), "{}", done.text());
    assert!(done.text().contains("NAME_IN_USE"), "{}", done.text());
}
