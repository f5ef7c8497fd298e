//! `doctor` of both programs: each failure for real, and what it says to do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tests::fixture::HttpService;
use tests::place::nobody;
use tests::program::{Finished, Program, command};
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::wait::{SOON, becomes, until};

use crate::stage::Web;

/// (verdict, what it says, what to do) of the worst finding of `check`.
#[track_caller]
fn finding(done: &Finished, check: &str) -> (String, String, String) {
    let json: Value =
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.text()));
    let all = json["findings"].as_array().unwrap();
    let rank =
        |it: &&Value| ["ok", "skipped", "warning", "failed"].iter().position(|word| it["verdict"] == *word);
    let found = all.iter().filter(|it| it["check"] == check).max_by_key(rank);
    let found = found.unwrap_or_else(|| panic!("nothing of {check}: {}", done.text()));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("verdict"), text("says"), text("todo"))
}

#[track_caller]
fn failed(done: &Finished, check: &str, says: &str, todo: &str) {
    let (verdict, said, advice) = finding(done, check);
    assert_eq!((done.code, verdict.as_str()), (Some(1), "failed"), "{}", done.text());
    assert!(said.contains(says), "{says}: {said}");
    assert!(advice.contains(todo), "{todo}: {advice}");
}

async fn client(home: &Home, more: &[&str]) -> Finished {
    home.command(&[&["doctor", "--json"], more].concat()).await
}

#[tokio::test]
async fn a_client_in_order_is_told_so_and_nothing_of_it_is_left() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let config = home.write(
        "tunnelc.toml",
        &format!(
            "tunnel = [{{ name = \"web\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
            service.addr()
        ),
    );
    let done = client(&home, &["--config", config.to_str().unwrap(), "--join", &server.join()]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    for check in [
        "configuration",
        "service",
        "join string",
        "name",
        "connection",
        "tls",
        "login",
        "public url",
        "clock",
    ] {
        let (verdict, says, _) = finding(&done, check);
        assert_eq!(verdict, "ok", "{check}: {says}");
    }
    assert!(finding(&done, "public url").1.contains("leads here and back"), "{}", done.text());
    assert!(
        !done.text().contains(server.join().split(':').nth(2).unwrap().split('@').next().unwrap()),
        "the secret is shown"
    );
    until("its session and its name are gone", SOON, async || {
        let status = server.status().await;
        let empty = |key: &str| status[key].as_array().unwrap().is_empty();
        (empty("sessions") && empty("names")).then_some(())
    })
    .await;
    let text = home.command(&["doctor", "--join", &server.join()]).await;
    assert_eq!(text.code, Some(0), "{}", text.text());
    assert!(text.stdout.contains("ok       login"), "{}", text.stdout);
}

#[tokio::test]
async fn a_client_that_runs_is_left_alone() {
    let web = Web::up().await;
    let numbers = async || {
        let status = web.server.status().await;
        let all = status["sessions"].as_array().unwrap();
        all.iter()
            .filter(|it| it["name"] != "doctor")
            .map(|it| it["session"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    let all = |numbers: &Vec<u64>| numbers.len() as u64 == SESSIONS;
    let before = becomes("both sessions are there", SOON, numbers, all).await;
    let done = client(&web.home, &["--join", &web.server.join()]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(finding(&done, "running").1.contains("2 of 2 sessions connected"), "{}", done.text());
    assert_eq!(finding(&done, "public url").0, "ok", "{}", done.text());
    assert_eq!(numbers().await, before);
}

#[tokio::test]
async fn who_may_have_one_name_only_is_tried_with_that() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let join = server.invite("bob", &["--host", "wiki.localhost"]).await;
    let tunnel = |host: &str| {
        format!(
            "tunnel = [{{ name = \"w\", kind = \"http\", host = \"{host}\", to = \"{}\" }}]\n",
            service.addr()
        )
    };
    let config = home.write("tunnelc.toml", &tunnel("wiki"));
    let done = client(&home, &["--config", config.to_str().unwrap(), "--join", &join]).await;
    let (verdict, says, _) = finding(&done, "public url");
    assert!(verdict == "ok" && says.contains("wiki.localhost"), "{}", done.text());
    let config = home.write("tunnelc.toml", &tunnel("other"));
    let done = client(&home, &["--config", config.to_str().unwrap(), "--join", &join]).await;
    let (verdict, says, _) = finding(&done, "public url");
    assert!(verdict == "skipped" && says.contains("NOT_GRANTED"), "{}", done.text());
}

/// The join string with another word in the place of `from`.
fn join_with(join: &str, from: &str, to: &str) -> String {
    assert!(join.contains(from), "{from}");
    join.replace(from, to)
}

#[tokio::test]
async fn every_step_of_a_client_that_fails_says_what_to_do() {
    let (server, home) = (Tunneld::start().await, Home::new());
    let join = server.join();
    let tunnel = server.listen().tunnel.to_string();
    let look = async |join: String| client(&home, &["--join", &join]).await;

    let done = look(join_with(&join, &tunnel, "nowhere.invalid:7443")).await;
    failed(&done, "name", "nowhere.invalid", "DNS record");
    let done = look(join_with(&join, &tunnel, &nobody().to_string())).await;
    failed(&done, "connection", "refused", "start tunneld there");
    let done = look(join_with(&join, &tunnel, &server.listen().http.to_string())).await;
    failed(&done, "tls", "no tunnel server answers there", "listener for clients");
    let pin = join.split("pin=sha256-").nth(1).unwrap();
    let done = look(join_with(&join, pin, &"A".repeat(pin.len()))).await;
    failed(&done, "tls", "the join string expects", "ask the operator of the server for a new join string");
    let done = look(join.split('?').next().unwrap().to_owned()).await;
    failed(&done, "tls", "not trusted", "--ca-file");
    let done = look(join_with(&join, "tunnel://default:", "tunnel://nobody1:")).await;
    failed(&done, "login", "refused the login", "tunneld principals");
    let done = client(&home, &[]).await;
    failed(&done, "join string", "no join string", "tunneld invite");
    let done = client(&home, &["--join", &join, "--config", "no-such.toml"]).await;
    failed(&done, "configuration", "cannot read the configuration", "");

    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "tunnel = [{{ name = \"web\", kind = \"http\", to = \"{}\" }}, {{ name = \"meta\", kind = \"tcp\", to = \"169.254.169.254:80\" }}]\n\
         forward = [{{ name = \"f\", kind = \"tcp\", listen = \"{}\", to = \"billing\" }}]\nhots = 1\n",
        nobody(),
        busy.local_addr().unwrap()
    );
    let config = home.write("tunnelc.toml", &text);
    let done = client(&home, &["--join", &join, "--config", config.to_str().unwrap()]).await;
    failed(&done, "configuration", "unknown key `hots`", "correct what is marked");
    let config = home.write("tunnelc.toml", &text.replace("hots = 1\n", ""));
    let done = client(&home, &["--join", &join, "--config", config.to_str().unwrap()]).await;
    assert!(done.stdout.contains("start the service, or correct `to`"), "{}", done.text());
    assert!(done.stdout.contains("this one is never reached"), "{}", done.text());
    failed(&done, "listener", "cannot listen on", "ss -ltnp");

    let own = home.state().join("tunnelc");
    std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o777)).unwrap();
    failed(&look(join.clone()).await, "state", "mode 777", "chmod go-w");
}

#[tokio::test]
async fn a_public_url_that_does_not_lead_here_is_told_apart_from_a_tunnel_that_fails() {
    let gone = nobody().port();
    for (url, says, todo) in [
        (format!("http://{{host}}:{gone}"), "can not be reached", "`public_url`"),
        ("http://{host}.invalid".to_owned(), "has no address", "DNS record"),
    ] {
        let (server, home) = (Tunneld::with(&["--public-url", &url]).await, Home::new());
        let done = client(&home, &["--join", &server.join()]).await;
        failed(&done, "public url", says, todo);
        assert_eq!(finding(&done, "login").0, "ok");
    }
    // Another server, or a proxy that changes the name, answers there.
    let other = Tunneld::start().await;
    let url = format!("http://{{host}}:{}", other.listen().http.port());
    let (server, home) = (Tunneld::with(&["--public-url", &url]).await, Home::new());
    failed(
        &client(&home, &["--join", &server.join()]).await,
        "public url",
        "no-route",
        "lead to this server",
    );
    let somebody = HttpService::start().await;
    let url = format!("http://{{host}}:{}", somebody.addr().port());
    let server = Tunneld::with(&["--public-url", &url]).await;
    failed(&client(&home, &["--join", &server.join()]).await, "public url", "it is", "DNS");
}

async fn of_server(server: &Tunneld, more: &[&str]) -> Finished {
    server.admin(&[&["doctor", "--json"], more].concat()).await
}

#[tokio::test]
async fn a_server_in_order_is_told_so() {
    let server = Tunneld::start().await;
    let done = of_server(&server, &[]).await;
    for check in
        ["configuration", "state", "clock", "running", "listener", "certificate", "domain", "principals"]
    {
        let (verdict, says, _) = finding(&done, check);
        // How full the disk is is the machine's affair.
        assert!(verdict == "ok" || (check == "state" && says.contains("disk")), "{check}: {says}");
    }
    assert!(finding(&done, "listener").1.contains("accepts connections"), "{}", done.text());
}

#[tokio::test]
async fn a_server_that_runs_with_names_that_lead_nowhere_is_told_what_to_add() {
    let server = Tunneld::with(&["--domain", "tunnel.invalid"]).await;
    let done = of_server(&server, &["--domain", "tunnel.invalid"]).await;
    failed(&done, "domain", "lead nowhere", "*.tunnel.invalid");
    let (verdict, says, todo) = finding(&done, "principals");
    assert_eq!(verdict, "warning", "{says}");
    assert!(says.contains("every name") && todo.contains("tunneld revoke default"), "{says} {todo}");
}

/// A pair for these names, made `days` after 1970 and good until then.
fn pair(folder: &Path, name: &str, names: &[&str], until: i32) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    std::fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    let path = folder.join(format!("{name}.key"));
    std::fs::write(&path, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_server_that_is_about_to_start_is_told_what_would_be_in_the_way() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    pair(home.path(), "old", &["*.t.example.com"], 2020);
    pair(home.path(), "other", &["other.example.com"], 2099);
    let config = |pair: &str| {
        format!(
            "domain = \"localhost\"\nrule = [{{ name = \"r\", host = \"app.example.com\", respond = {{}} }}]\n\
             listen = {{ tunnel = \"127.0.0.1:0\", http = \"{}\", https = \"127.0.0.1:0\", ops = \"127.0.0.1:0\" }}\n\
             certificate = [{{ cert = \"{pair}.pem\", key = \"{pair}.key\" }}]\n",
            busy.local_addr().unwrap()
        )
    };
    let look = async |text: &str| {
        let path = home.path().join("tunneld.toml");
        std::fs::write(&path, text).unwrap();
        let mut doctor = command("tunneld", home.path());
        doctor.args(["doctor", "--json", "--config"]).arg(&path).arg("--state").arg(&state);
        Program::start(doctor).finished(SOON).await
    };
    let done = look(&config("old")).await;
    assert!(finding(&done, "running").1.contains("no tunneld with this state directory"), "{}", done.text());
    failed(&done, "listener", "listen.http: cannot listen on", "ss -ltnp");
    failed(&done, "certificate", "has expired", "renewed");
    let done = look(&config("other")).await;
    let (verdict, says, todo) = finding(&done, "certificate");
    assert_eq!(verdict, "warning", "{says}");
    assert!(
        says.contains("none is for app.example.com") && todo.contains("[[certificate]]"),
        "{says} {todo}"
    );
    failed(&look("domian = 1").await, "configuration", "did you mean `domain`?", "tunneld check");

    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(state.join("tls.key"), "no key").unwrap();
    std::fs::write(state.join("tls.crt"), "no certificate").unwrap();
    for name in ["tls.key", "tls.crt"] {
        std::fs::set_permissions(state.join(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let done = look("").await;
    failed(&done, "state", "can be read by others", "chmod 600");
    failed(&done, "certificate", "tls.crt", "put a pair that fits back");
}
