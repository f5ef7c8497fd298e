//! The command lines of both programs: exit codes and what they say.

use rustix::process::Signal;
use tests::program::{Finished, Program, command};
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::wait::SOON;

use crate::stage::Web;

async fn tunneld(arguments: &[&str]) -> Finished {
    let home = tempfile::tempdir().unwrap();
    let mut tunneld = command("tunneld", home.path());
    tunneld.args(arguments);
    Program::start(tunneld).finished(SOON).await
}

async fn tunnelc(arguments: &[&str]) -> Finished {
    let home = tempfile::tempdir().unwrap();
    let mut tunnelc = command("tunnelc", home.path());
    tunnelc.args(arguments);
    Program::start(tunnelc).finished(SOON).await
}

#[tokio::test]
async fn wrong_usage_exits_2() {
    for arguments in [
        &["--no-such-flag"][..],
        &["no-such-command"],
        &["--tunnel"],
        &["--tunnel", "not an address"],
        &["--http=nowhere"],
        &["invite"],
        &["revoke"],
        &["--log", "xml"],
    ] {
        let done = tunneld(arguments).await;
        assert_eq!(done.code, Some(2), "tunneld {arguments:?}: {}", done.text());
        assert!(!done.stderr.is_empty());
    }
    for arguments in [
        &["--no-such-flag"][..],
        &["http"],
        &["http", "not a target"],
        &["http", "99999"],
        &["tcp", "127.0.0.1"],
        &["http", "3000", "--join", "nonsense"],
        &["tcp", "22", "--port", "0x16"],
        &["tcp", "22", "--allow", "everyone"],
        &["run", "--config", "/does/not/exist.toml"],
    ] {
        let done = tunnelc(arguments).await;
        assert_eq!(done.code, Some(2), "tunnelc {arguments:?}: {}", done.text());
        assert!(!done.stderr.is_empty());
    }
}

#[tokio::test]
async fn a_slip_of_the_pen_is_met_with_a_suggestion() {
    for (program, arguments, meant) in [
        ("tunneld", &["stauts"][..], "status"),
        ("tunneld", &["invte", "bob"], "invite"),
        ("tunneld", &["--tunel", "127.0.0.1:0"], "--tunnel"),
        ("tunnelc", &["htpp", "3000"], "http"),
        ("tunnelc", &["http", "3000", "--hots", "x"], "--host"),
    ] {
        let done = if program == "tunneld" { tunneld(arguments).await } else { tunnelc(arguments).await };
        assert_eq!(done.code, Some(2), "{program} {arguments:?}");
        let text = done.text();
        assert!(text.contains("did you mean") && text.contains(meant), "{program} {arguments:?}: {text}");
    }
}

#[tokio::test]
async fn what_is_not_built_yet_says_so() {
    let arguments = ["http", "3000", "--inspect", "127.0.0.1:4040"];
    let done = tunnelc(&arguments).await;
    assert_eq!(done.code, Some(2), "tunnelc {arguments:?}: {}", done.text());
    assert!(done.text().contains("not in this version"), "tunnelc {arguments:?}: {}", done.text());
}

#[tokio::test]
async fn help_shows_examples_and_version_tells() {
    for (done, name) in [(tunneld(&["--help"]).await, "tunneld"), (tunnelc(&["--help"]).await, "tunnelc")] {
        assert_eq!(done.code, Some(0), "{}", done.text());
        assert!(done.stdout.contains("xample"), "{name} --help shows examples: {}", done.stdout);
    }
    assert_eq!(tunnelc(&["http", "--help"]).await.code, Some(0));
    for (done, name) in [(tunneld(&["version"]).await, "tunneld"), (tunnelc(&["version"]).await, "tunnelc")] {
        assert_eq!(done.code, Some(0));
        assert!(done.stdout.contains(name) && done.stdout.contains("0.1.0"), "{}", done.stdout);
    }
}

#[tokio::test]
async fn nobody_to_ask_exits_1_and_says_where_it_looked() {
    let done = tunneld(&["--state", "/tmp/there-is-no-such-state-directory", "status"]).await;
    assert_eq!(done.code, Some(1), "{}", done.text());
    let text = done.text();
    assert!(text.contains("no tunneld at") && text.contains("is it running?"), "{text}");
    assert!(text.contains("--state"), "it says where the state comes from: {text}");
    let home = Home::new();
    let done = home.command(&["status"]).await;
    assert_eq!(done.code, Some(1), "{}", done.text());
    assert!(done.text().contains("no tunnelc at"), "{}", done.text());
}

#[tokio::test]
async fn both_ways_of_giving_a_value_work() {
    let server = Tunneld::with(&["--domain=t.example.com", "--public-url", "https://{host}"]).await;
    let home = Home::new();
    let program = home.start(&["http", "3000", "--host=demo", &format!("--join={}", server.join())]);
    program.says("https://demo.t.example.com", SOON).await;
}

#[tokio::test]
async fn a_state_directory_belongs_to_one_process() {
    let server = Tunneld::start().await;
    let any = "127.0.0.1:0";
    let second = server.admin(&["--tunnel", any, "--http", any, "--ops", any]).await;
    assert_eq!(second.code, Some(1), "{}", second.text());
    assert!(second.text().contains("another tunneld uses the state directory"), "{}", second.text());
    assert_eq!(server.health().await["status"], "healthy");
}

#[tokio::test]
async fn no_join_string_is_wrong_usage_and_says_how_to_get_one() {
    let home = Home::new();
    let done = home.command(&["http", "3000"]).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    assert!(done.text().contains("--join"), "{}", done.text());
}

#[tokio::test]
async fn status_tells_a_person_and_a_program() {
    let web = Web::up().await;
    let server = web.server.admin(&["status"]).await;
    assert_eq!(server.code, Some(0));
    assert!(server.stdout.contains(&web.server.listen().http.to_string()), "{}", server.stdout);
    let client = web.home.command(&["status"]).await;
    assert_eq!(client.code, Some(0), "{}", client.text());
    assert!(client.stdout.contains("demo.localhost"), "{}", client.stdout);
    let json = web.home.command(&["status", "--json"]).await;
    assert!(serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap().is_object());
    assert!(web.server.status().await.is_object());
}

#[tokio::test]
async fn a_refused_first_login_exits_3_and_one_that_is_accepted_0() {
    let mut web = Web::up().await;
    let join = web.server.join().replace("tunnel://default:", "tunnel://nobody1:");
    let refused = Home::new().command(&["http", "3000", "--join", &join]).await;
    assert_eq!(refused.code, Some(3), "{}", refused.text());
    web.tunnel.program.signal(Signal::INT);
    assert_eq!(web.tunnel.program.ended(SOON).await.0.code(), Some(0));
}
