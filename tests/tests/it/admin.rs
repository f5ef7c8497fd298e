//! What operators and their programs ask of the running server.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tests::fixture::HttpService;
use tests::place::nobody;
use tests::program::Finished;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, Answer, End, Raw, empty, full, request};
use tests::wait::{SOON, becomes, until};

use crate::stage::{HOST, Web};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn with_admin(home: &Path) -> String {
    let tokens = home.join("admin.tokens");
    std::fs::write(&tokens, format!("# machines\nci:{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    "listen = { admin = { address = \"127.0.0.1:0\", token_file = \"admin.tokens\", hosts = [\"ops.lan\"] } }"
        .to_owned()
}

async fn ask(
    at: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&'static str, &str)],
    body: &str,
) -> Answer {
    let mut asked =
        request(method, "localhost", path, if body.is_empty() { empty() } else { full(body.to_owned()) });
    for (name, value) in fields {
        asked.headers_mut().insert(*name, value.parse().unwrap());
    }
    visitor::try_send(at, asked).await.unwrap()
}

#[tokio::test]
async fn programs_ask_over_tcp_with_a_token_and_pages_do_not() {
    let server = Tunneld::configured(with_admin, &[]).await;
    let at: SocketAddr = server.status().await["listen"]["admin"].as_str().unwrap().parse().unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let token = ("authorization", bearer.as_str());
    let answer = ask(at, "GET", "/v1/status", &[token], "").await;
    assert_eq!((answer.status, &answer.json()["domain"]), (200, &"localhost".into()));
    for host in ["ops.lan:1", "127.0.0.1"] {
        assert_eq!(ask(at, "GET", "/v1/routes", &[token, ("host", host)], "").await.status, 200, "{host}");
    }
    let json = ("content-type", "application/json");
    let invited = ask(at, "POST", "/v1/invite", &[token, json], "{\"name\":\"bob\"}").await;
    assert!(invited.json()["join"].as_str().unwrap().starts_with("tunnel://"), "{invited:?}");
    // What is not understood is refused as everything else is.
    for (method, path, fields, body) in [
        ("POST", "/v1/invite", &[token, json][..], "{\"nam\":\"bob\"}"),
        ("POST", "/v1/config/apply", &[token, json][..], "no JSON"),
        ("POST", "/v1/kick", &[token][..], "{\"client\":\"x\"}"),
        ("GET", "/v1/config/diff?from=x", &[token][..], ""),
    ] {
        let refused = ask(at, method, path, fields, body).await;
        assert!((400..=422).contains(&refused.status), "{path}: {refused:?}");
        let error = &refused.json()["error"];
        assert_eq!(error["code"], "wrong-usage", "{path}: {refused:?}");
        assert!(error["message"].as_str().unwrap().contains("not understood"), "{path}: {refused:?}");
    }

    let wrong = format!("Bearer {}", TOKEN.replace('0', "1"));
    for (fields, status, code) in [
        (&[][..], 401, "no-token"),
        (&[("authorization", wrong.as_str())], 401, "no-token"),
        (&[("authorization", TOKEN)], 401, "no-token"),
        // A page whose name leads here, and one of this machine.
        (&[token, ("host", "evil.example")], 421, "wrong-host"),
        (&[token, ("origin", "http://localhost:3000")], 403, "no-pages"),
    ] {
        for path in ["/v1/status", "/v1/nowhere"] {
            let answer = ask(at, "GET", path, fields, "").await;
            assert_eq!(
                (answer.status, &answer.json()["error"]["code"]),
                (status, &code.into()),
                "{fields:?}"
            );
            assert_eq!(answer.field("access-control-allow-origin"), "");
        }
    }
    let preflight = [("origin", "http://localhost:3000"), ("access-control-request-method", "POST")];
    assert_eq!(ask(at, "OPTIONS", "/v1/revoke", &preflight, "").await.status, 403);
    // A form of a page can not send JSON, and what it can send is not read.
    let form = ("content-type", "text/plain");
    assert_eq!(ask(at, "POST", "/v1/revoke", &[token, form], "{\"name\":\"bob\"}").await.status, 415);
    server.counts("tunnel_auth_failures_total", &[], |count| count >= 6.0).await;
    assert!(!server.program.said().contains(TOKEN));
    server.program.says("wrong-host", SOON).await;
}

#[tokio::test]
async fn whatever_is_sent_to_the_admin_listener_nothing_but_a_page_answers() {
    let server = Tunneld::configured(with_admin, &[]).await;
    let at: SocketAddr = server.status().await["listen"]["admin"].as_str().unwrap().parse().unwrap();
    let fields = format!("host: localhost\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\n{fields}\r\n");
    let by = |method: &str| format!("{method} /v1/status HTTP/1.1\r\n{fields}\r\n");
    let long = "x".repeat(200_000);
    let cases: Vec<(String, &[u16])> = vec![
        (get("/v1/status"), &[200]),
        (get("http://localhost/v1/status"), &[200]),
        // Paths that lead elsewhere where files are served.
        (get("/v1/../v1/status"), &[404]),
        (get("/v1/%2e%2e/%2e%2e/%2e%2e/etc/passwd"), &[404]),
        (get("/v1/..%2fstatus"), &[404]),
        (get("//v1/status"), &[404]),
        (get("/v1/status/"), &[404]),
        (get("/V1/STATUS"), &[404]),
        // Another host in the target, as for a proxy: that one counts.
        (get("http://evil.example/v1/status"), &[421]),
        (by("DELETE"), &[405]),
        (by("TRACE"), &[405]),
        (by("POST"), &[405]),
        (by("OPTIONS"), &[405]),
        (by("STATUS"), &[405]),
        (format!("CONNECT evil.example:80 HTTP/1.1\r\n{fields}\r\n"), &[400, 404, 405, 421]),
        (format!("OPTIONS * HTTP/1.1\r\n{fields}\r\n"), &[400, 404, 405]),
        ("GET /v1/status HTTP/1.0\r\n\r\n".to_owned(), &[421]),
        // What two readers could take for different requests, and what is none.
        (
            format!(
                "POST /v1/revoke HTTP/1.1\r\n{fields}content-length: 3\r\ncontent-length: 4\r\n\r\n{{}} "
            ),
            &[400],
        ),
        (format!("GET /v1/status HTTP/1.1\r\n{fields}x: a\0b\r\n\r\n"), &[400]),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\r\n\r\n".to_owned(), &[400]),
        // Too much of anything.
        (get(&format!("/v1/{long}")), &[414, 431]),
        (format!("GET /v1/status HTTP/1.1\r\n{fields}x: {long}\r\n\r\n"), &[431]),
        (format!("GET /v1/status HTTP/1.1\r\n{fields}{}\r\n", "x: y\r\n".repeat(200)), &[431]),
    ];
    for (sent, expected) in cases {
        let mut peer = Raw::open(at).await;
        peer.send(&sent).await;
        let (answer, end) = peer.rest(SOON).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let what: String = sent.chars().take(80).collect();
        assert!(expected.contains(&status) && end != End::Open, "{what}: {answer}");
        assert!(status == 200 || !answer.contains("\"domain\""), "{what}: {answer}");
    }
    // A form: what it says is no JSON, and nothing comes of it.
    let form = format!(
        "POST /v1/invite HTTP/1.1\r\n{fields}content-type: application/x-www-form-urlencoded\r\ncontent-length: 8\r\n\r\nname=eve"
    );
    let mut peer = Raw::open(at).await;
    peer.send(&form).await;
    let (answer, _) = peer.rest(SOON).await;
    assert!(answer.starts_with(b"HTTP/1.1 415"), "{}", String::from_utf8_lossy(&answer));
    if std::env::var_os("TUNNEL_FULL").is_none() {
        return;
    }
    // Many that begin and do not go on; the socket has places of its own.
    let mut halves = Vec::new();
    for _ in 0..300 {
        let mut half = Raw::open(at).await;
        half.send("GET /v1/status HTTP/1.1\r\nhost: lo").await;
        halves.push(half);
    }
    assert_eq!(server.status().await["domain"], "localhost");
    // Their time is over within seconds, and the next one is heard.
    let told = ask(at, "GET", "/v1/status", &[("authorization", &format!("Bearer {TOKEN}"))], "").await;
    assert_eq!(told.status, 200);
}

#[tokio::test]
async fn an_admin_listener_for_the_world_has_to_be_asked_for() {
    let home = Home::new();
    let tokens = home.write("admin.tokens", &format!("ci:{TOKEN}\n"));
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = "[listen]\nadmin = { address = \"[::]:7482\", token_file = \"admin.tokens\" }\n";
    let file = home.write("tunneld.toml", text);
    let mut check = tests::program::command("tunneld", file.parent().unwrap());
    check.arg("check").arg(&file);
    let done = tests::program::Program::start(check).finished(SOON).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    for part in ["tunneld.toml:2:21", "can be reached from other machines", "remote = true"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
}

#[tokio::test]
async fn status_of_a_host_answers_the_question_at_two_in_the_morning() {
    let (service, gone) = (HttpService::start().await, nobody());
    let config = format!(
        r#"
principal = [{{ name = "edge-1", groups = ["web"] }}, {{ name = "edge-2", groups = ["web"] }}]
service = [{{ name = "billing", servers = [{{ address = "{gone}" }}] }}]
rule = [
  {{ name = "app", host = "app", to = "web/app" }},
  {{ name = "bills", host = "app", path_prefix = "/bills", to = "billing" }},
  {{ name = "old", host = "old", redirect = "https://new.example.com/" }},
]
group = [{{ name = "web", service = [{{ name = "app", servers = [{{ address = "{}" }}] }}] }}]
"#,
        service.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let (join, home) = (server.invite("edge-1", &[]).await, Home::new());
    let allow = format!("name = \"rack-7\"\n[allow]\ndial = [\"{}\"]\n", service.addr());
    let _member = home.run(&join, &allow);
    server.serves("app.localhost", SOON).await;
    let refused = visitor::get(server.listen().http, "app.localhost", "/bills/7").await;
    assert_eq!(refused.status, 502, "{refused:?}");

    let tell = async || server.admin(&["status", "app.localhost"]).await;
    let failed = |told: &Finished| told.stdout.contains("failures service-refused 1");
    let told = becomes("the failure is counted", SOON, tell, failed).await;
    assert_eq!(told.code, Some(0), "{}", told.text());
    for part in [
        "revision ",
        "rule app: host app.localhost; to web/app",
        "web/app: 1 of 2 members ready",
        "rack-7 (",
        "edge-2     absent",
        "rule bills: host app.localhost, path /bills; to billing",
        "last service-refused ",
        "s ago, trace ",
        "failing, carries 0",
    ] {
        assert!(told.stdout.contains(part), "{part}:\n{}", told.text());
    }
    assert!(!told.stdout.contains("rule old"), "{}", told.text());
    assert!(told.stdout.lines().all(|line| line.chars().count() <= 100), "{}", told.stdout);
    let json = server.admin(&["status", "app", "--json"]).await;
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let routes = json["routes"].as_array().unwrap();
    let bills = routes.iter().find(|route| route["name"] == "bills").unwrap();
    let last = &bills["recent"][0];
    assert_eq!(last["kind"], "service-refused");
    // The page that the visitor got has the same trace id.
    assert!(refused.text().contains(last["trace"].as_str().unwrap()), "{}", refused.text());

    for word in ["web", "rack-7", "edge-1", "bills", "billing", "web/app", "old.localhost"] {
        let told = server.admin(&["status", word]).await;
        assert_eq!(told.code, Some(0), "{word}: {}", told.text());
    }
    let told = server.admin(&["status", "ap.localhost"]).await;
    assert_eq!(told.code, Some(1));
    assert!(told.stderr.contains("did you mean `app.localhost`?"), "{}", told.text());

    let told = server.admin(&["routes"]).await;
    for part in ["rule  app ", "old ", "redirect ", "answers", "1/2", "0/1 servers"] {
        assert!(told.stdout.contains(part), "{part}:\n{}", told.text());
    }
    assert!(told.stdout.lines().all(|line| line.chars().count() <= 100), "{}", told.stdout);
}

#[tokio::test]
async fn routes_show_tunnels_and_who_has_left() {
    let mut web = Web::up().await;
    let of_demo = async |state: &str| {
        let done = web.server.admin(&["routes", "--json"]).await;
        let json: Value = serde_json::from_str(&done.stdout).unwrap();
        let route = json["routes"].as_array().unwrap().iter().find(|route| route["name"] == HOST).cloned();
        route.filter(|route| route["kind"] == "tunnel" && route["state"] == state)
    };
    let route = until("the tunnel is served", SOON, async || of_demo("served").await).await.0;
    assert_eq!(route["targets"][0]["members"][0]["member"], Value::Null, "{route}");
    assert_eq!(route["targets"][0]["members"][0]["principal"], "default");
    web.tunnel.program.kill();
    until("nobody serves it", SOON, async || of_demo("nobody").await).await;
    let told = web.server.admin(&["status", "demo"]).await;
    assert!(
        told.stdout.contains("kept for default") && told.stdout.contains("0 of 0 members ready"),
        "{}",
        told.text()
    );
}
