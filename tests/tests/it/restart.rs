//! A start with less than there was the last time: a certificate, a variable, a file of tokens or of a CA is gone. What needs it
//! is down and says why, and everything else is served.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tests::authority::Authority;
use tests::fixture::HttpService;
use tests::program::{Finished, Program, command};
use tests::tls;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, becomes, until};

const CONFIG: &str = r#"
domain = "t.localhost"
certificate = [{ cert = "wild.pem", key = "wild.key" }, { cert = "app.pem", key = "app.key" }]
rule = [{ name = "hello", host = "hello", respond = { body = "hello" } }]
"#;
const HELLO: &str = "hello.t.localhost";

fn two_certificates(home: &Path) {
    tls::certificate(home, "wild", &["*.t.localhost"]);
    tls::certificate(home, "app", &["app.t.localhost"]);
}

async fn https(server: &Tunneld) -> SocketAddr {
    server.status().await["listen"]["https"].as_str().unwrap().parse().unwrap()
}

async fn lacks(server: &Tunneld) -> Vec<String> {
    let status = server.status().await;
    let all = status["config"]["lacks"].as_array().cloned().unwrap_or_default();
    all.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// Whether a visitor for `name` is shown the certificate in `file`.
async fn shows(server: &Tunneld, name: &str, file: &str) -> bool {
    tls::connect(https(server).await, name, &tls::read(server.home(), file)).await.is_ok()
}

async fn says_hello(server: &Tunneld) {
    let answer = visitor::get(server.listen().http, HELLO, "/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
}

#[track_caller]
fn refused(done: &Finished, code: i32, words: &[&str]) {
    assert_eq!(done.code, Some(code), "{}", done.text());
    for word in words {
        assert!(done.stderr.contains(word), "{word}: {}", done.text());
    }
}

#[tokio::test]
async fn a_bad_certificate_keeps_https_down_and_nothing_else_until_it_is_mended() {
    let write = |home: &Path| {
        two_certificates(home);
        CONFIG.to_owned()
    };
    let mut server = Tunneld::configured(write, &["--https", "127.0.0.1:0"]).await;
    assert!(shows(&server, "app.t.localhost", "app").await);
    let file = server.home().join("tunneld.toml").display().to_string();

    // While it runs the one before stays, and everybody who looks is told.
    let folder = server.home().to_owned();
    let key = |name: &str| folder.join(name);
    let good = std::fs::read(key("app.key")).unwrap();
    std::fs::write(key("app.key"), std::fs::read(key("wild.key")).unwrap()).unwrap();
    until("status says that it can not be used", SOON, async || {
        let lacks = lacks(&server).await;
        let [line] = &lacks[..] else { return None };
        // It may be looked at while it is written.
        let parts = ["app.pem", "the one before is shown", "does not belong"];
        parts.iter().all(|part| line.contains(part)).then_some(())
    })
    .await;
    assert!(shows(&server, "app.t.localhost", "app").await);
    let same = server.admin(&["config", "apply", &file]).await;
    assert_eq!(same.code, Some(0), "{}", same.text());
    assert!(same.text().contains("the one before is shown"), "{}", same.text());
    let text = server.admin(&["status"]).await.stdout;
    assert!(text.contains("the one before is shown"), "{text}");
    // Where somebody is there to mend it, it is refused: what runs has more than what would come.
    refused(&server.admin(&["upgrade"]).await, 1, &["app.key"]);
    std::fs::write(server.home().join("other.toml"), format!("{CONFIG}# another\n")).unwrap();
    let other = server.home().join("other.toml").display().to_string();
    let apply = server.admin(&["config", "apply", &other, "--note", "for once"]).await;
    refused(&apply, 2, &["other.toml:3", "app.key"]);
    let audit = server.admin(&["audit", "--json"]).await;
    let audit: Value = serde_json::from_str(&audit.stdout).unwrap();
    let last = audit.as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["words"]["note"], &last["result"]),
        (&"for once".into(), &"wrong-usage".into()),
        "{last}"
    );
    assert_eq!(last["words"]["path"].as_str(), Some(other.as_str()), "{last}");
    assert!(last["reason"].as_str().unwrap().contains("other.toml:3"), "{last}");
    assert!(shows(&server, "app.t.localhost", "app").await);

    std::fs::write(key("wild.pem"), "broken").unwrap();
    server.kill();
    server.start_again().await;
    says_hello(&server).await;
    let status = server.status().await;
    let why = status["listen"]["down"]["https"].as_str().unwrap();
    assert!(why.contains("wild.pem"), "{why}");
    assert_eq!(lacks(&server).await.len(), 2);
    assert!(
        tls::connect(https(&server).await, "app.t.localhost", &tls::read(server.home(), "app"))
            .await
            .is_err()
    );
    for part in ["wild.pem", "app.key", "\"down\":\"https\""] {
        server.program.says(part, SOON).await;
    }
    let doctor = server.admin(&["doctor"]).await;
    assert_eq!(doctor.code, Some(1), "{}", doctor.text());
    for word in ["revision 1", "https: ", "is down", "wild.pem", "app.key"] {
        assert!(doctor.stdout.contains(word), "{word}: {}", doctor.text());
    }
    // Clients that come to the https port have nothing to do with it.
    let tunnel = format!(":{}?", server.listen().tunnel.port());
    let join = server.join().replace(&tunnel, &format!(":{}?", https(&server).await.port()));
    let (service, home) = (HttpService::start().await, Home::new());
    let _tunnel = home.http(&join, service.addr(), &["--host", "wiki"]).await;

    // One is good again, and the other is named.
    tls::certificate(server.home(), "wild", &["*.t.localhost"]);
    until("https is up", SOON, async || shows(&server, HELLO, "wild").await.then_some(())).await;
    let down = async || server.status().await["listen"]["down"].clone();
    becomes("nothing is down", SOON, down, Value::is_null).await;
    let one = |lines: &Vec<String>| lines.len() == 1;
    let line = becomes("one is wrong yet", SOON, async || lacks(&server).await, one).await.remove(0);
    assert!(line.contains("app.pem") && line.contains("is not shown"), "{line}");
    std::fs::write(key("app.key"), good).unwrap();
    until("both are good", SOON, async || shows(&server, "app.t.localhost", "app").await.then_some(())).await;
    becomes("nothing is lacking", SOON, async || lacks(&server).await, Vec::is_empty).await;

    // The first start has somebody in front of it.
    let home = tempfile::tempdir().unwrap();
    two_certificates(home.path());
    std::fs::write(home.path().join("app.key"), "broken").unwrap();
    std::fs::write(home.path().join("tunneld.toml"), CONFIG).unwrap();
    for arguments in [&["--config", "tunneld.toml", "--state", "state"][..], &["check", "tunneld.toml"]] {
        let mut tunneld = command("tunneld", home.path());
        tunneld.current_dir(home.path()).args(arguments);
        refused(&Program::start(tunneld).finished(SOON).await, 2, &["tunneld.toml:3", "app.key"]);
    }
}

const LACKING: &str = r#"
domain = "t.localhost"
listen = { https = "127.0.0.1:0", tunnel = { address = "127.0.0.1:1", client_ca = "client-ca.pem", auth = "either" }, admin = { address = "127.0.0.1:0", token_file = "tokens" } }
certificate = [{ cert = "${FILES}/app.pem", key = "${FILES}/app.key" }]
plugin = [{ name = "own", kind = "headers", request = { set = { x-key = "${SECRET}" } } }]
principal = [{ name = "edge-1", hosts = ["demo"] }]
rule = [
  { name = "hello", host = "hello", respond = { body = "hello" } },
  { name = "guarded", host = "guarded", respond = { body = "open" }, plugins = ["own"] },
]
"#;

#[tokio::test]
async fn what_lacks_a_variable_or_a_file_is_down_by_name_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let environment = || vec![("FILES", home.path().into()), ("SECRET", "s3cret".into())];
    let mut server = Tunneld::within(environment()).await;
    tls::certificate(home.path(), "app", &["app.t.localhost"]);
    let authority = Authority::at(&server.home().join("client-ca.pem"));
    let folder = server.home().to_owned();
    let path = |name: &str| folder.join(name);
    std::fs::write(path("tokens"), format!("ops:{}\n", "x".repeat(32))).unwrap();
    std::fs::write(path("tunneld.toml"), LACKING).unwrap();
    let file = path("tunneld.toml").display().to_string();
    let applied = server.admin(&["config", "apply", &file]).await;
    assert_eq!(applied.code, Some(0), "{}", applied.text());
    let guarded =
        async |server: &Tunneld| visitor::get(server.listen().http, "guarded.t.localhost", "/").await;
    assert_eq!(guarded(&server).await.status, 200);
    let invited = server.invite("bob", &["--host", "wiki"]).await;

    server.kill();
    server.set_environment(Vec::new());
    let (ca, tokens) =
        (std::fs::read(path("client-ca.pem")).unwrap(), std::fs::read(path("tokens")).unwrap());
    std::fs::remove_file(path("tokens")).unwrap();
    std::fs::write(path("client-ca.pem"), "none").unwrap();
    server.start_again().await;
    says_hello(&server).await;
    let answer = guarded(&server).await;
    assert_eq!((answer.status, answer.text().contains("out of order")), (503, true), "{}", answer.text());
    let all = lacks(&server).await;
    for (line, words) in all.iter().zip([
        ["FILES}/app.pem", "FILES is not set"],
        ["client_ca", "come back later"],
        ["listen.admin", "tokens"],
        ["plugin own", "SECRET is not set"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
    }
    assert_eq!(all.len(), 4, "{all:?}");
    let status = server.status().await;
    let down: Vec<_> = status["listen"]["down"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(down, ["admin", "https"]);
    // Who has a key comes in, who has only a certificate is told that it is not its fault.
    let (service, client) = (HttpService::start().await, Home::new());
    let _tunnel = client.http(&invited, service.addr(), &["--host", "wiki"]).await;
    let files = authority.makes(server.home(), "edge-1", 2099);
    let text = format!(
        "cert = {:?}\nkey = {:?}\nca_file = {:?}\nservers = [\"{}\"]\n\
         tunnel = [{{ name = \"web\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        files.cert,
        files.key,
        server.state().join("tls.crt"),
        server.listen().tunnel,
        service.addr(),
    );
    let by_certificate = Home::new();
    let config = by_certificate.write("tunnelc.toml", &text);
    let program = by_certificate.start(&["run", "--config", config.to_str().unwrap()]);
    program.says("can not check certificates at the moment", SOON).await;
    std::fs::write(path("client-ca.pem"), ca).unwrap();
    drop(program);
    let read = async || {
        let lacks = lacks(&server).await;
        (!lacks.iter().any(|line| line.contains("client_ca"))).then_some(())
    };
    until("the CA is read", SOON, read).await;
    let program = by_certificate.start(&["run", "--config", config.to_str().unwrap()]);
    server.has_sessions(2 * SESSIONS, SOON).await;

    server.kill();
    drop(program);
    std::fs::write(path("tokens"), tokens).unwrap();
    server.set_environment(environment());
    server.start_again().await;
    let status = server.status().await;
    assert_eq!((&status["listen"]["down"], &status["config"]["lacks"]), (&Value::Null, &Value::Null));
    assert_eq!(guarded(&server).await.status, 200);
    let shown = tls::connect(https(&server).await, "app.t.localhost", &tls::read(home.path(), "app")).await;
    assert!(shown.is_ok());
}
