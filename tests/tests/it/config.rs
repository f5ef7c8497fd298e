//! The configuration file of the server: what commands say of it, and what it puts in force.

use std::path::Path;

use rustix::process::Signal;
use tests::fixture::{Ending, HttpService, Scripted};
use tests::program::{Finished, Program, command};
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, empty, request};
use tests::wait::SOON;

const RULES: &str = r#"
domain = "t.example.com"
service = [{ name = "billing", servers = [{ address = "3000" }], plugins = ["own"] }]
plugin = [
  { name = "per-ip", kind = "rate-limit", rate = "20/s" },
  { name = "own", kind = "ip-allow", deny = ["192.0.2.66"] },
]
rule = [
  { name = "app", host = "app", to = "billing" },
  { name = "api", host = "app", path_prefix = "/api", headers = { x-key = true }, to = "billing", timeout = "30s", plugins = ["per-ip"] },
]
"#;

async fn tunneld(home: &Path, arguments: &[&str]) -> Finished {
    let mut tunneld = command("tunneld", home);
    tunneld.args(arguments);
    Program::start(tunneld).finished(SOON).await
}

fn write(home: &Path, text: &str) -> String {
    let path = home.join("tunneld.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn check_says_whether_a_file_is_good() {
    let home = tempfile::tempdir().unwrap();
    let good = tunneld(home.path(), &["check", &write(home.path(), RULES)]).await;
    assert_eq!(good.code, Some(0), "{}", good.text());
    assert!(good.stdout.contains("is good: 1 service, 2 rules, 2 plugins"), "{}", good.stdout);

    let secret = "bob:hunter2";
    let text =
        format!("domian = 1\nplugin = [{{ name = \"a\", kind = \"basic-auth\", users = [\"{secret}\"] }}]\n");
    let bad = tunneld(home.path(), &["check", &write(home.path(), &text)]).await;
    assert_eq!(bad.code, Some(2), "{}", bad.text());
    for part in ["tunneld.toml:1:1", "did you mean `domain`?", "tunneld.toml:2:46", "`users` wants a table"] {
        assert!(bad.stderr.contains(part), "{part}: {}", bad.stderr);
    }
    assert!(!bad.text().contains("hunter2"), "{}", bad.text());

    let lonely = tunneld(home.path(), &["check", &write(home.path(), "listen = { https = \"443\" }")]).await;
    assert_eq!(lonely.code, Some(2));
    assert!(lonely.stderr.contains("[[certificate]]"), "{}", lonely.stderr);
    let none = tunneld(home.path(), &["check", "no-such-file.toml"]).await;
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("cannot read the configuration"), "{}", none.stderr);
}

#[tokio::test]
async fn check_says_it_to_programs_too() {
    let home = tempfile::tempdir().unwrap();
    let json = |done: &Finished, code: i32| -> serde_json::Value {
        assert_eq!((done.code, done.stderr.as_str()), (Some(code), ""), "{}", done.text());
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.text()))
    };
    let check = async |text: &[u8], more: &[&str]| {
        let path = home.path().join("tunneld.toml");
        std::fs::write(&path, text).unwrap();
        tunneld(home.path(), &[&["check", path.to_str().unwrap(), "--json"], more].concat()).await
    };
    let good = json(&check(RULES.as_bytes(), &[]).await, 0);
    assert_eq!((&good["ok"], &good["counts"]["rule"]), (&true.into(), &2.into()), "{good}");
    assert_eq!((&good["errors"], &good["warnings"]), (&serde_json::json!([]), &serde_json::json!([])));

    let bad = json(&check(b"# one\ndomian = 1\nlimits = 3\n", &[]).await, 2);
    let first = &bad["errors"][0];
    assert_eq!((&bad["ok"], bad["errors"].as_array().unwrap().len()), (&false.into(), 2), "{bad}");
    assert_eq!((&first["line"], &first["column"]), (&2.into(), &1.into()), "{bad}");
    assert!(first["file"].as_str().unwrap().ends_with("tunneld.toml"), "{bad}");
    assert!(first["message"].as_str().unwrap().contains("did you mean `domain`?"), "{bad}");
    assert!(first["help"].as_str().unwrap().contains("keys here"), "{bad}");
    let bytes = json(&check(b"domain = \"\xff\"", &[]).await, 2);
    assert_eq!(
        (&bytes["errors"][0]["line"], &bytes["errors"][0]["column"]),
        (&1.into(), &11.into()),
        "{bytes}"
    );
    let lonely = json(&check(b"listen = { https = \"443\" }", &[]).await, 2);
    assert!(lonely["errors"][0]["message"].as_str().unwrap().contains("[[certificate]]"), "{lonely}");
    let none = tunneld(home.path(), &["check", "no-such-file.toml", "--json"]).await;
    assert!(json(&none, 2)["errors"][0]["message"].as_str().unwrap().contains("cannot read"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "listen = {{ tunnel = \"127.0.0.1:0\", http = \"{}\", ops = \"127.0.0.1:0\" }}\n",
        taken.local_addr().unwrap()
    );
    let state = home.path().join("state").display().to_string();
    let busy = json(&check(text.as_bytes(), &["--prove", "--state", &state]).await, 2);
    assert!(busy["errors"][0]["message"].as_str().unwrap().contains("cannot listen on"), "{busy}");

    let path = home.path().join("tunnelc.toml");
    std::fs::write(&path, "nmae = 1\n").unwrap();
    let mut tunnelc = command("tunnelc", home.path());
    tunnelc.args(["check", "--json"]).arg(&path);
    let bad = json(&Program::start(tunnelc).finished(SOON).await, 2);
    assert_eq!((&bad["ok"], &bad["errors"][0]["line"]), (&false.into(), &1.into()), "{bad}");
}

#[tokio::test]
async fn rules_take_requests_through_their_plugins() {
    let config = r#"
domain = "t.example.com"
plugin = [
  { name = "mark", kind = "headers", response = { set = { x-mark = "1" } } },
  { name = "once", kind = "rate-limit", rate = "1/h" },
]
rule = [{ name = "app", host = "app", respond = { body = "hello" }, plugins = ["mark", "once"] }]
"#;
    let server = Tunneld::configured(|_| config.to_owned(), &[]).await;
    let first = visitor::get(server.listen().http, "app.t.example.com", "/").await;
    assert_eq!((first.status, first.text().as_str(), first.field("x-mark")), (200, "hello", "1"));
    let second = visitor::get(server.listen().http, "app.t.example.com", "/").await;
    assert_eq!((second.status, second.field("x-mark")), (429, "1"));
    assert_eq!((second.field("x-tunnel-error"), second.field("retry-after")), ("over-limit", "3600"));
}

#[tokio::test]
async fn a_file_that_is_wrong_starts_nothing() {
    let home = tempfile::tempdir().unwrap();
    let file = write(home.path(), "domian = \"x\"");
    // Where the machine has a server's state, its last revision would be served.
    let state = home.path().join("state").display().to_string();
    let done = tunneld(home.path(), &["--config", &file, "--state", &state]).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    assert!(done.stderr.contains("did you mean `domain`?"), "{}", done.stderr);
}

#[tokio::test]
async fn explain_shows_every_rule_and_why_it_lost() {
    let home = tempfile::tempdir().unwrap();
    let file = write(home.path(), RULES);
    let ask =
        async |more: &[&str]| tunneld(home.path(), &[&["explain", "--config", &file], more].concat()).await;
    let plain = ask(&["GET", "https://app.t.example.com/api/x"]).await;
    assert_eq!(plain.code, Some(0), "{}", plain.text());
    assert!(plain.stdout.contains("app  wins"), "{}", plain.stdout);
    let keyed =
        ask(&["GET", "https://app.t.example.com/api/x", "--header", "X-Key=1", "--from", "192.0.2.1"]).await;
    assert!(
        keyed.stdout.contains("api  wins") && keyed.stdout.contains("app  matches, but"),
        "{}",
        keyed.stdout
    );
    for line in ["to billing", "plugins per-ip", "timeout 30s", "billing asks plugins of its own: own"] {
        assert!(keyed.stdout.contains(line), "{line}: {}", keyed.stdout);
    }
    // As the data plane sees it.
    let round = ask(&["GET", "https://app.t.example.com/x/../%61pi/x", "--header", "x-key=1"]).await;
    assert!(round.stdout.contains("api  wins"), "{}", round.stdout);
    assert!(round.stdout.contains("rules see the path as /api/x"), "{}", round.stdout);
    let lost = ask(&["GET", "https://other.t.example.com/"]).await;
    assert_eq!(lost.code, Some(1), "{}", lost.text());
    assert!(lost.stdout.contains("no rule"), "{}", lost.text());
    assert_eq!(ask(&["GET", "/x"]).await.code, Some(2));
}

#[tokio::test]
async fn explain_asks_the_running_server() {
    let server = Tunneld::configured(|_| RULES.replace("t.example.com", "localhost"), &[]).await;
    let done = server.admin(&["explain", "GET", "http://app.localhost/", "--json"]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    let answer: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&answer["rule"], &answer["host"]), (&"app".into(), &"app.localhost".into()));
    assert_eq!(answer["revision"], server.status().await["revision"]);
    let to = serde_json::json!([{ "target": "billing", "weight": 1, "plugins": ["own"] }]);
    assert_eq!((&answer["treated"]["to"], &answer["path"]), (&to, &"/".into()));
    let round = server.admin(&["explain", "GET", "app.localhost//api/./x", "--header", "x-key=1"]).await;
    assert!(
        round.stdout.contains("api  wins") && round.stdout.contains("plugins per-ip"),
        "{}",
        round.stdout
    );

    let (service, home) = (HttpService::start().await, Home::new());
    let _tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let done = server.admin(&["explain", "GET", "demo.localhost"]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(done.stdout.contains("is a tunnel of default"), "{}", done.stdout);
    assert_eq!(server.admin(&["explain", "GET", "other.localhost"]).await.code, Some(1));
}

#[tokio::test]
async fn a_flag_wins_over_the_file_which_the_first_log_line_names() {
    let server =
        Tunneld::configured(|_| "domain = \"t.example.com\"".to_owned(), &["--domain", "localhost"]).await;
    assert_eq!(server.status().await["domain"], "localhost");
    server.program.says("the configuration was read", SOON).await;
    let first = server.program.stderr().remove(0);
    assert!(first.contains("the configuration was read") && first.contains("tunneld.toml"), "{first}");
    let server = Tunneld::configured(|_| "domain = \"t.example.com\"".to_owned(), &[]).await;
    assert_eq!(server.status().await["domain"], "t.example.com");
}

#[tokio::test]
async fn a_principal_of_the_file_has_the_grants_of_the_file() {
    let config = "principal = [{ name = \"bob\", hosts = [\"wiki\"], quotas = { sessions = 9 } }]";
    let mut server = Tunneld::configured(|_| config.to_owned(), &[]).await;
    assert!(!server.state().join("join").exists(), "there is no `default` beside a configured principal");
    let join = server.invite("bob", &[]).await;
    let more = server.admin(&["invite", "bob", "--host", "docs"]).await;
    assert_eq!(more.code, Some(2), "{}", more.text());
    assert!(more.stderr.contains("stands in the configuration"), "{}", more.stderr);
    let listed = server.admin(&["principals"]).await;
    assert!(listed.stdout.contains("wiki.localhost"), "{}", listed.stdout);

    let service = HttpService::start().await;
    let target = service.addr().to_string();
    let home = Home::new();
    let refused = home.command(&["http", &target, "--join", &join, "--host", "docs"]).await;
    assert_eq!(refused.code, Some(3), "{}", refused.text());
    let tunnel = home.http(&join, &target, &["--host", "wiki"]).await;
    assert_eq!(server.visit("wiki.localhost", "/").await, 200);
    drop(tunnel);

    // Without the principal in the file its credential is worth nothing.
    server.program.signal(Signal::TERM);
    server.program.ended(SOON).await;
    std::fs::write(server.home().join("tunneld.toml"), "principal = [{ name = \"eve\" }]").unwrap();
    server.start_again().await;
    let refused = home.command(&["http", &target, "--join", &join, "--host", "wiki"]).await;
    assert_eq!(refused.code, Some(3), "{}", refused.text());
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_visitor_is_and_nobody_else() {
    for (trusted, chain, proto) in
        [("[\"127.0.0.1\"]", "192.0.2.7, 127.0.0.1", "https"), ("[\"10.0.0.0/8\"]", "127.0.0.1", "http")]
    {
        let server = Tunneld::configured(|_| format!("trusted_proxies = {trusted}"), &[]).await;
        let (service, home) = (HttpService::start().await, Home::new());
        let allow = ["--host", "demo"];
        let _tunnel = home.http(&server.join(), service.addr(), &allow).await;
        let mut asked = request("GET", "demo.localhost", "/headers", empty());
        asked.headers_mut().insert("x-forwarded-for", "192.0.2.7".parse().unwrap());
        asked.headers_mut().insert("x-forwarded-proto", "https".parse().unwrap());
        let seen = visitor::try_send(server.listen().http, asked).await.unwrap().json();
        let field = |name: &str| {
            let pairs = seen["headers"].as_array().unwrap();
            let pair = pairs.iter().find(|pair| pair[0] == name);
            pair.and_then(|pair| pair[1].as_str()).unwrap_or_default().to_owned()
        };
        assert_eq!((field("x-forwarded-for").as_str(), field("x-forwarded-proto").as_str()), (chain, proto));
    }
}

#[tokio::test]
async fn who_decides_about_a_visitor_hears_how_it_came_to_a_trusted_proxy() {
    for (trusted, proto) in [("127.0.0.1", "https"), ("10.0.0.0/8", "http")] {
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
        let decider = Scripted::http(answer, Ending::Fin).await;
        let config = format!(
            "trusted_proxies = [\"{trusted}\"]\n\
             plugin = [{{ name = \"ask\", kind = \"forward-auth\", url = \"http://{}/\" }}]\n\
             rule = [{{ name = \"app\", host = \"app\", respond = {{ body = \"in\" }}, plugins = [\"ask\"] }}]\n",
            decider.addr()
        );
        let server = Tunneld::configured(|_| config, &[]).await;
        let mut asked = request("GET", "App.localhost.:8443", "/a?b", empty());
        for (name, value) in [("for", "192.0.2.7"), ("proto", "https"), ("host", "other.localhost")] {
            asked.headers_mut().insert(
                http::HeaderName::try_from(format!("x-forwarded-{name}")).unwrap(),
                value.parse().unwrap(),
            );
        }
        assert_eq!(visitor::try_send(server.listen().http, asked).await.unwrap().status, 403);
        let heard = String::from_utf8_lossy(&decider.received(0)).into_owned();
        // Which host it is, nobody but the request says: the service may let everybody in at another one.
        let host = "x-forwarded-host: app.localhost:8443";
        for line in [host, "x-forwarded-uri: /a?b", &format!("x-forwarded-proto: {proto}")] {
            assert!(heard.contains(&format!("{line}\r\n")), "{line}: {heard}");
        }
    }
}

#[tokio::test]
async fn a_rule_of_the_file_is_in_force() {
    let rule = "rule = [{ name = \"robots\", host = \"app\", path_prefix = \"/robots.txt\", \
                respond = { body = \"none\", content_type = \"text/plain\" } }]";
    let server = Tunneld::configured(|_| rule.to_owned(), &[]).await;
    let answer = visitor::get(server.listen().http, "app.localhost", "/robots.txt").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "none"));
    assert_eq!(visitor::get(server.listen().http, "app.localhost", "/").await.status, 404);
}
