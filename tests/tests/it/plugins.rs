//! Plugins where they run: at the end that dials, at listeners of a client, and before anybody waits for a member.

use std::net::SocketAddr;

use tests::fixture::HttpService;
use tests::place::nobody;
use tests::program::Program;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, Answer, empty, request};
use tests::wait::{SOON, until};

/// The user is `alice`, the password `open sesame`.
const AUTH: &str = r#"{ name = "auth", kind = "basic-auth", user_header = "x-user", users = { alice = "$2y$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy" } }"#;
const ALICE: &str = "Basic YWxpY2U6b3BlbiBzZXNhbWU=";

/// The answer to alice.
async fn as_alice(door: SocketAddr, host: &str, path: &str) -> Answer {
    let mut asked = request("GET", host, path, empty());
    asked.headers_mut().insert("authorization", ALICE.parse().unwrap());
    visitor::try_send(door, asked).await.unwrap()
}

/// A configuration with the group `web`, which dials `app` with the plugins of that name.
fn group(app: SocketAddr, plugin: &str, named: &str) -> String {
    format!(
        "principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
         rule = [{{ name = \"app\", host = \"app.localhost\", to = \"web/app\" }}]\n\
         plugin = [{plugin}]\n\
         [[group]]\n\
         name = \"web\"\n\
         service = [{{ name = \"app\", servers = [{{ address = \"http://{app}\" }}], plugins = [\"{named}\"] }}]\n"
    )
}

fn allowing(dial: &[SocketAddr], listen: &[SocketAddr]) -> String {
    let list = |places: &[SocketAddr]| {
        places.iter().map(|place| format!("\"{place}\"")).collect::<Vec<_>>().join(", ")
    };
    format!("[allow]\ndial = [{}]\nlisten = [{}]\n", list(dial), list(listen))
}

/// Waits until the only member of the group has this state, for a reason that holds these words.
async fn member_is(server: &Tunneld, state: &str, reason: &str) {
    let look = async || {
        let status = server.status().await;
        let member = &status["groups"][0]["members"][0];
        let given = member["reason"].as_str().unwrap_or_default();
        (member["state"] == state && given.contains(reason)).then_some(())
    };
    until(&format!("the member is {state} {reason}"), SOON, look).await;
}

#[tokio::test]
async fn a_groups_service_asks_for_a_password_at_the_client() {
    let app = HttpService::start().await;
    let server = Tunneld::configured(|_| group(app.addr(), AUTH, "auth"), &[]).await;
    let home = Home::new();
    let client = home.run(&server.invite("edge", &[]).await, &allowing(&[app.addr()], &[]));
    member_is(&server, "ready", "").await;
    let door = server.listen().http;
    let stranger = visitor::get(door, "app.localhost", "/headers").await;
    assert_eq!((stranger.status, stranger.field("x-tunnel-error")), (401, "denied"), "{}", stranger.text());
    assert!(stranger.field("www-authenticate").starts_with("Basic "), "{stranger:?}");
    assert_eq!(app.tally().get(|tally| &tally.requests), 0);
    let alice = as_alice(door, "app.localhost", "/headers").await;
    assert_eq!(alice.status, 200, "{}", alice.text());
    assert!(
        alice.text().contains("\"x-user\",\"alice\"") && !alice.text().contains("authorization"),
        "{}",
        alice.text()
    );
    // It was the client that asked.
    client.says("\"error\":\"denied\"", SOON).await;
    assert_eq!(server.metric("tunnel_errors_total").await, 0.0);
}

#[tokio::test]
async fn a_member_without_the_kind_refuses_its_part_and_status_says_why() {
    let app = HttpService::start().await;
    let refuse = r#"{ name = "no-robots", kind = "refuse-agents", words = ["robot"] }"#;
    let config = group(app.addr(), refuse, "no-robots");
    let server = Tunneld::other("tunneld-agents", &config).await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let allow = allowing(&[app.addr()], &[]);
    let client = home.run(&join, &allow);
    let reason = "service \"app\": plugin \"no-robots\": \"refuse-agents\" is no kind of plugin (kinds are: ";
    member_is(&server, "behind", reason).await;
    let told = server.admin(&["status", "web"]).await;
    assert!(told.stdout.contains(reason), "{}", told.text());
    let told = home.command(&["status"]).await;
    assert!(told.stdout.contains(reason), "{}", told.text());
    assert_eq!(server.visit("app.localhost", "/").await, 503);
    drop(client);
    assert_eq!(app.tally().get(|tally| &tally.requests), 0, "nobody passes a plugin by");

    // A client that has the kind serves it.
    let file = home.write("tunnelc.toml", &allow);
    let mut other = tests::program::command("tunnelc-agents", file.parent().unwrap());
    other.args(["run", "--config"]).arg(&file).args(["--join", &join]).arg("--state").arg(home.state());
    let _client = Program::start(other);
    server.serves("app.localhost", SOON).await;
    let mut asked = request("GET", "app.localhost", "/", empty());
    asked.headers_mut().insert("user-agent", "A Robot/1.0".parse().unwrap());
    assert_eq!(visitor::try_send(server.listen().http, asked).await.unwrap().status, 403);
}

#[tokio::test]
async fn a_plugin_that_is_too_slow_at_the_client_is_contained() {
    let app = HttpService::start().await;
    // It is connected to, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let asked = silent.local_addr().unwrap();
    for (on_failure, status, error) in [("closed", 500, "internal"), ("open", 200, "")] {
        let ask = format!(
            "{{ name = \"ask\", kind = \"forward-auth\", url = \"http://{asked}/\", timeout = \"50ms\", on_failure = \"{on_failure}\" }}"
        );
        let server = Tunneld::configured(|_| group(app.addr(), &ask, "ask"), &[]).await;
        let (join, home) = (server.invite("edge", &[]).await, Home::new());
        let doubtful = home.run(&join, &allowing(&[app.addr()], &[]));
        member_is(&server, "behind", &format!("add to [allow]: dial = [\"{asked}\"]")).await;
        drop(doubtful);
        let _client = home.run(&join, &allowing(&[app.addr(), asked], &[]));
        member_is(&server, "ready", "").await;
        let answer = visitor::get(server.listen().http, "app.localhost", "/").await;
        assert_eq!((answer.status, answer.field("x-tunnel-error")), (status, error), "{on_failure}");
    }
}

#[tokio::test]
async fn a_listener_of_a_client_has_rules_and_plugins() {
    let (billing, payroll, door) = (HttpService::start().await, HttpService::start().await, nobody());
    let config = format!(
        "principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
         service = [{{ name = \"billing\", servers = [{{ address = \"http://{}\" }}] }},\n\
                    {{ name = \"payroll\", servers = [{{ address = \"http://{}\" }}] }}]\n\
         plugin = [{AUTH}, {{ name = \"once\", kind = \"rate-limit\", rate = \"1/h\" }}]\n\
         [[group]]\n\
         name = \"web\"\n\
         [[group.ingress]]\n\
         listen = \"{door}\"\n\
         kind = \"http\"\n\
         to = \"billing\"\n\
         plugins = [\"once\"]\n\
         rule = [{{ name = \"pay\", path_prefix = \"/pay\", to = \"payroll\", strip_prefix = \"/pay\", plugins = [\"auth\"] }},\n\
                 {{ name = \"old\", path_prefix = \"/old\", redirect = \"/new\" }}]\n",
        billing.addr(),
        payroll.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let home = Home::new();
    let _client = home.run(&server.invite("edge", &[]).await, &allowing(&[], &[door]));
    let open = async || {
        let answer = visitor::try_get(door, "x", "/old").await.ok()?;
        (answer.status == 302).then_some(answer)
    };
    let (moved, _) = until("the listener is open", SOON, open).await;
    assert_eq!(moved.field("location"), "/new");
    // A way round does not pass a rule by.
    for path in ["/pay/slip", "/x/../pay/slip", "/%70ay/slip"] {
        assert_eq!(visitor::get(door, "x", path).await.status, 401, "{path}");
    }
    assert_eq!(payroll.tally().get(|tally| &tally.requests), 0);
    assert_eq!(as_alice(door, "x", "/pay/headers").await.status, 200);
    assert_eq!(payroll.tally().get(|tally| &tally.requests), 1);
    assert_eq!(visitor::get(door, "x", "/").await.status, 200);
    let second = visitor::get(door, "x", "/").await;
    assert_eq!((second.status, second.field("x-tunnel-error")), (429, "over-limit"));
    assert_eq!(billing.tally().get(|tally| &tally.requests), 1);
}

#[tokio::test]
async fn a_service_next_to_the_server_has_plugins_whoever_asks() {
    let billing = HttpService::start().await;
    let config = format!(
        "service = [{{ name = \"billing\", servers = [{{ address = \"http://{}\" }}], plugins = [\"auth\"] }}]\n\
         rule = [{{ name = \"b\", host = \"billing.localhost\", to = \"billing\" }}]\n\
         plugin = [{AUTH}]\n",
        billing.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let door = server.listen().http;
    assert_eq!(visitor::get(door, "billing.localhost", "/").await.status, 401);
    assert_eq!(as_alice(door, "billing.localhost", "/").await.status, 200);
    let (join, home, listen) = (server.invite("bob", &["--reach", "billing"]).await, Home::new(), nobody());
    let _client = home.start(&["forward", &listen.to_string(), "billing", "--join", &join]);
    server.has_sessions(SESSIONS, SOON).await;
    assert_eq!(visitor::get(listen, &listen.to_string(), "/").await.status, 401);
    assert_eq!(as_alice(listen, &listen.to_string(), "/").await.status, 200);
    assert_eq!(billing.tally().get(|tally| &tally.requests), 2);
}

#[tokio::test]
async fn a_forward_of_the_clients_own_file_has_plugins() {
    let billing = HttpService::start().await;
    let config = format!(
        "principal = [{{ name = \"bob\", reach = [\"billing\"] }}]\n\
         service = [{{ name = \"billing\", servers = [{{ address = \"http://{}\" }}] }}]\n",
        billing.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let (home, listen) = (Home::new(), nobody());
    let _client = home.run(
        &server.invite("bob", &[]).await,
        &format!(
            "plugin = [{{ name = \"once\", kind = \"rate-limit\", rate = \"1/h\" }}]\n\
             forward = [{{ name = \"b\", kind = \"http\", listen = \"{listen}\", to = \"billing\", plugins = [\"once\"] }}]\n"
        ),
    );
    server.has_sessions(SESSIONS, SOON).await;
    assert_eq!(visitor::get(listen, "x", "/").await.status, 200);
    let second = visitor::get(listen, "x", "/").await;
    assert_eq!((second.status, second.field("x-tunnel-error")), (429, "over-limit"));
    assert_eq!(billing.tally().get(|tally| &tally.requests), 1);
}

#[tokio::test]
async fn who_may_not_come_in_hears_401_before_503() {
    let config = format!(
        "timeouts = {{ member = \"100ms\" }}\n\
         rule = [{{ name = \"app\", host = \"app.localhost\", to = \"web/app\", plugins = [\"mark\", \"auth\", \"few\"] }}]\n\
         plugin = [{AUTH}, {{ name = \"few\", kind = \"rate-limit\", key = \"principal\", rate = \"2/h\" }},\n\
                   {{ name = \"mark\", kind = \"headers\", response = {{ set = {{ x-mark = \"1\" }} }} }}]\n\
         [[group]]\n\
         name = \"web\"\n\
         service = [{{ name = \"app\", servers = [{{ address = \"3000\" }}] }}]\n"
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let door = server.listen().http;
    let stranger = visitor::get(door, "app.localhost", "/").await;
    assert_eq!((stranger.status, stranger.field("x-tunnel-error")), (401, "denied"));
    for _ in 0..2 {
        let alice = as_alice(door, "app.localhost", "/").await;
        assert_eq!((alice.status, alice.field("x-tunnel-error")), (503, "no-member"));
        assert_eq!(alice.field("x-mark"), "1", "its plugins see the page");
    }
    assert_eq!(as_alice(door, "app.localhost", "/").await.status, 429, "rates hold");
}
