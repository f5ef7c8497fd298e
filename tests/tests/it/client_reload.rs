//! `tunnelc run` while its configuration changes: D22 for the client.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tests::fixture::{HttpService, TcpService};
use tests::load::Load;
use tests::place::nobody;
use tests::program::Program;
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, Raw, empty, request};
use tests::wait::{SOON, becomes, until};

/// An HTTP tunnel.
fn tunnel(name: &str, to: SocketAddr) -> String {
    format!("[[tunnel]]\nname = \"{name}\"\nkind = \"http\"\nhost = \"{name}\"\nto = \"{to}\"\n")
}

fn requests(service: &HttpService) -> u64 {
    service.tally().get(|tally| &tally.requests)
}

/// Asks for a reload, and returns what `tunnelc reload` says.
async fn reload(home: &Home) -> Value {
    let done = home.command(&["reload", "--json"]).await;
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.text()))
}

/// Has the client use what was just written. It may have noticed it by itself before it is told.
async fn uses(home: &Home) {
    let told = reload(home).await;
    assert!(told["outcome"] == "applied" || told["outcome"] == "unchanged", "{told}");
}

async fn status(home: &Home) -> Value {
    let done = home.command(&["status", "--json"]).await;
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.text()))
}

/// The sessions of a client, by their numbers at the server.
async fn sessions(home: &Home) -> Vec<u64> {
    let status = status(home).await;
    let sessions = status["sessions"].as_array().unwrap();
    sessions.iter().filter_map(|session| session["session"].as_u64()).collect()
}

/// The same, once the client knows of all of them.
async fn has_its_sessions(home: &Home) -> Vec<u64> {
    let all = |sessions: &Vec<u64>| sessions.len() as u64 == SESSIONS;
    becomes("the client has its sessions", SOON, async || sessions(home).await, all).await
}

/// A client with one tunnel `app` and more, up and serving.
async fn up(server: &Tunneld, home: &Home, to: SocketAddr, more: &str) -> Program {
    let client = home.run(&server.join(), &format!("{more}\n{}", tunnel("app", to)));
    server.serves("app.localhost", SOON).await;
    has_its_sessions(home).await;
    client
}

#[tokio::test]
async fn a_service_that_moves_ten_times_loses_no_request() {
    let (one, other) = (HttpService::start().await, HttpService::start().await);
    let (server, home) = (Tunneld::start().await, Home::new());
    let client = up(&server, &home, one.addr(), "").await;
    let before = sessions(&home).await;
    let door = server.listen().http;
    let slow = visitor::try_send(door, request("GET", "app.localhost", "/slow?ms=2000", empty()));
    let changes = async {
        let there = async || (one.tally().get(|tally| &tally.waiting) == 1).then_some(());
        until("a slow request is at the first service", SOON, there).await;
        let load = Load::on(door, "app.localhost", 200);
        for turn in 1..=10 {
            let now = if turn % 2 == 0 { &one } else { &other };
            // Another tunnel comes and goes beside it.
            let beside = if turn % 3 == 0 { String::new() } else { tunnel("beside", now.addr()) };
            home.write("tunnelc.toml", &format!("{beside}{}", tunnel("app", now.addr())));
            client.signal(Signal::HUP);
            let seen = requests(now);
            let moved = async || (requests(now) > seen + 5).then_some(());
            until(&format!("move {turn}"), SOON, moved).await;
        }
        load.end().await
    };
    let (slow, report) = tokio::join!(slow, changes);
    println!("while the service moved ten times: {report}");
    report.is_flawless(false);
    assert_eq!(slow.unwrap().status, 200, "what was in progress was finished");
    assert_eq!(sessions(&home).await, before, "no session was needed for it");
    server.serves("beside.localhost", SOON).await;
}

#[tokio::test]
async fn a_tunnel_that_is_called_otherwise_loses_no_request() {
    let turns = if std::env::var_os("TUNNEL_FULL").is_some() { 300 } else { 40 };
    let (app, ssh) = (HttpService::start().await, TcpService::echo().await);
    let (server, home) = (Tunneld::start().await, Home::new());
    let (port, to) = (nobody().port(), app.addr());
    let http = |name: &str, host: &str| {
        format!("[[tunnel]]\nname = \"{name}\"\nkind = \"http\"\nhost = \"{host}\"\nto = \"{to}\"\n")
    };
    // One HTTP tunnel and one of TCP are called otherwise each time, and two that stay change their hosts.
    let config = |turn: usize| {
        let (left, right) = if turn.is_multiple_of(2) { ("left", "right") } else { ("right", "left") };
        let ssh = format!(
            "[[tunnel]]\nname = \"ssh-{turn}\"\nkind = \"tcp\"\nport = {port}\nto = \"{}\"\n",
            ssh.addr()
        );
        [http(&format!("app-{turn}"), "app"), http("one", left), http("two", right), ssh].concat()
    };
    let _client = home.run(&server.join(), &config(0));
    let hosts = ["app.localhost", "left.localhost"];
    for host in hosts {
        server.serves(host, SOON).await;
    }
    server.has_sessions(SESSIONS, SOON).await;
    let door = server.listen().http;
    let loads = hosts.map(|host| Load::on(door, host, 150));
    for turn in 1..=turns {
        home.write("tunnelc.toml", &config(turn));
        uses(&home).await;
        let renamed = async || {
            let names = server.status().await["names"].clone();
            let all = names.as_array().unwrap();
            let has = |name: String| all.iter().any(|it| it["service"] == *name && it["state"] == "live");
            (has(format!("app-{turn}")) && has(format!("ssh-{turn}"))).then_some(())
        };
        until(&format!("renamed {turn} times"), SOON, renamed).await;
        let mut open = Raw::open((door.ip(), port).into()).await;
        open.send("hello").await;
        assert_eq!(open.exactly(5).await, b"hello");
    }
    for load in loads {
        let report = load.end().await;
        println!("while the tunnels were renamed {turns} times: {report}");
        report.is_flawless(false);
    }
    let names = server.status().await["names"].as_array().unwrap().len();
    assert_eq!(names, 4, "what moved is there once");
}

#[tokio::test]
async fn however_the_file_is_changed_it_is_noticed() {
    let (one, other) = (HttpService::start().await, HttpService::start().await);
    let (server, home) = (Tunneld::start().await, Home::new());
    let client = up(&server, &home, one.addr(), "").await;
    let file = home.write("tunnelc.toml", &tunnel("app", one.addr()));
    let folder = file.parent().unwrap();
    let leads_to = async |service: &HttpService| {
        let seen = requests(service);
        let come = async || {
            let answer = visitor::try_get(server.listen().http, "app.localhost", "/").await.ok()?;
            (answer.status == 200 && requests(service) > seen).then_some(())
        };
        until("the change is in use", SOON, come).await;
    };
    // Saved as editors do.
    std::fs::write(folder.join("new"), tunnel("app", other.addr())).unwrap();
    std::fs::rename(folder.join("new"), &file).unwrap();
    leads_to(&other).await;
    // Deleted, which changes nothing; and then a link, as in a mounted volume.
    std::fs::remove_file(&file).unwrap();
    client.says("cannot read the configuration", SOON).await;
    let pending = async || status(&home).await["config_pending"].clone();
    becomes("the change is pending", SOON, pending, Value::is_string).await;
    volume(folder, "..1", &tunnel("app", one.addr()));
    symlink("..data/tunnelc.toml", &file).unwrap();
    leads_to(&one).await;
    volume(folder, "..2", &tunnel("app", other.addr()));
    leads_to(&other).await;
    becomes("nothing is pending", SOON, pending, Value::is_null).await;
}

/// Puts the file into a new version of a volume in `folder`, and makes that the current one in one step.
fn volume(folder: &Path, version: &str, text: &str) {
    std::fs::create_dir(folder.join(version)).unwrap();
    std::fs::write(folder.join(version).join("tunnelc.toml"), text).unwrap();
    symlink(version, folder.join("..new")).unwrap();
    std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn a_file_that_can_not_be_used_changes_nothing_and_says_all_that_is_wrong() {
    let (app, taken) = (HttpService::start().await, TcpService::echo().await);
    let (server, home, ops) = (Tunneld::start().await, Home::new(), nobody());
    let head = format!("ops = \"{ops}\"\n");
    let client = up(&server, &home, app.addr(), &head).await;
    let good = format!("{head}{}", tunnel("app", app.addr()));
    let before = sessions(&home).await;

    home.write("tunnelc.toml", &format!("conections = 3\n{good}[[tunnel]]\nname = \"x\"\n"));
    let done = home.command(&["reload"]).await;
    assert_eq!(done.code, Some(1), "{}", done.text());
    for part in
        ["nothing has changed", "tunnelc.toml:1:1", "did you mean `connections`?", "`kind` is missing"]
    {
        assert!(done.text().contains(part), "{part}: {}", done.text());
    }
    client.says("did you mean `connections`?", SOON).await;
    let shown = home.command(&["status"]).await;
    assert!(shown.stdout.contains("the configuration file is not in use"), "{}", shown.text());

    // The first of these could be had, the second can not: neither is.
    let free = nobody();
    let forward = |name: &str, listen: SocketAddr| {
        format!("[[forward]]\nname = \"{name}\"\nkind = \"tcp\"\nlisten = \"{listen}\"\nto = \"db\"\n")
    };
    let both = format!("{}{}", forward("a", free), forward("b", taken.addr()));
    home.write("tunnelc.toml", &format!("{good}{}{both}", tunnel("more", app.addr())));
    let told = reload(&home).await;
    assert_eq!(told["outcome"], "failed");
    assert!(told["error"].as_str().unwrap().contains(&taken.addr().to_string()), "{told}");
    assert!(tokio::net::TcpStream::connect(free).await.is_err(), "not even partly");
    assert_eq!(server.visit("more.localhost", "/").await, 404);

    // Whoever writes a file may empty it first, and a full disk leaves it so.
    home.write("tunnelc.toml", "\n");
    let told = reload(&home).await;
    assert_eq!(told["outcome"], "failed", "{told}");
    assert!(told["error"].as_str().unwrap().contains("tunnelc.toml is empty"), "{told}");
    assert_eq!(server.visit("app.localhost", "/").await, 200);

    // A server that is not there.
    home.write("tunnelc.toml", &format!("servers = [\"{}\"]\n{good}", nobody()));
    let told = reload(&home).await;
    assert!(told["error"].as_str().unwrap().contains("cannot reach"), "{told}");
    assert_eq!(sessions(&home).await, before);
    assert_eq!(server.visit("app.localhost", "/").await, 200);
    let counted = async || visitor::get(ops, "localhost", "/metrics").await.text();
    let three = |text: &String| visitor::metric(text, "tunnel_reload_total") >= 3.0;
    becomes("three reloads are counted", SOON, counted, three).await;

    home.write("tunnelc.toml", &good);
    assert_eq!(reload(&home).await["outcome"], "unchanged");
    assert!(status(&home).await["config_pending"].is_null());
}

#[tokio::test]
async fn tunnels_and_forwards_come_and_go_and_the_others_do_not_notice() {
    let (app, db) = (HttpService::start().await, TcpService::echo().await);
    let config = format!("service = [{{ name = \"db\", servers = [{{ address = \"{}\" }}] }}]\n", db.addr());
    let server = Tunneld::configured(|_| config, &[]).await;
    let (join, home) =
        (server.invite("edge", &["--host", "*.localhost", "--reach", "db"]).await, Home::new());
    let (stays, goes) = (nobody(), nobody());
    let forward = |name: &str, listen: SocketAddr, to: &str| {
        format!("[[forward]]\nname = \"{name}\"\nkind = \"tcp\"\nlisten = \"{listen}\"\nto = \"{to}\"\n")
    };
    let client = home.run(
        &join,
        &[
            tunnel("app", app.addr()),
            tunnel("old", app.addr()),
            forward("stays", stays, "db"),
            forward("goes", goes, "db"),
        ]
        .concat(),
    );
    server.serves("old.localhost", SOON).await;
    let mut open = Raw::open(stays).await;
    open.send("before").await;
    assert_eq!(open.exactly(6).await, b"before");

    home.write(
        "tunnelc.toml",
        &[tunnel("app", app.addr()), tunnel("new", app.addr()), forward("stays", stays, "db")].concat(),
    );
    uses(&home).await;
    client.says(": tunnel old removed, tunnel new added, forward goes removed", SOON).await;
    server.serves("new.localhost", SOON).await;
    let gone = async || (server.visit("old.localhost", "/").await == 404).then_some(());
    until("the old name is free", SOON, gone).await;
    let closed = async || tokio::net::TcpStream::connect(goes).await.is_err().then_some(());
    until("the old forward is closed", SOON, closed).await;
    open.send("after").await;
    assert_eq!(open.exactly(5).await, b"after", "the connection has lived on");

    // It leads elsewhere and keeps its socket: nobody is refused meanwhile.
    home.write("tunnelc.toml", &[tunnel("app", app.addr()), forward("stays", stays, "nothing")].concat());
    uses(&home).await;
    assert!(tokio::net::TcpStream::connect(stays).await.is_ok());
}

#[tokio::test]
async fn what_the_user_allows_may_change() {
    let app = HttpService::start().await;
    let config = format!(
        "principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
         group = [{{ name = \"web\", service = [{{ name = \"app\", servers = [{{ address = \"http://{}\" }}] }}] }}]\n\
         rule = [{{ name = \"app\", host = \"app.localhost\", to = \"web/app\" }}]\n",
        app.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let client = home.run(&join, "name = \"one\"\n");
    client.says("add to [allow]: dial", SOON).await;
    let member = async |wanted: &str| {
        let look = async || {
            let status = server.status().await;
            (status["groups"][0]["members"][0]["state"] == wanted).then_some(())
        };
        until(&format!("the member is {wanted}"), SOON, look).await;
    };
    member("behind").await;
    home.write("tunnelc.toml", &format!("name = \"one\"\n[allow]\ndial = [\"{}\"]\n", app.addr()));
    uses(&home).await;
    member("ready").await;
    server.serves("app.localhost", SOON).await;
    home.write("tunnelc.toml", "name = \"one\"\n");
    uses(&home).await;
    member("behind").await;
    assert_eq!(server.visit("app.localhost", "/").await, 503);
}

#[tokio::test]
async fn sessions_are_replaced_before_they_end() {
    let app = HttpService::start().await;
    let (server, home) = (Tunneld::start().await, Home::new());
    let (first, second) =
        (server.invite("bob", &["--host", "app"]).await, server.invite("bob", &["--host", "app"]).await);
    let join = home.write("join", &first);
    let config =
        |more: &str| format!("join_file = \"{}\"\n{more}{}", join.display(), tunnel("app", app.addr()));
    let file = home.write("tunnelc.toml", &config(""));
    let client = home.start(&["run", "--config", file.to_str().unwrap()]);
    server.serves("app.localhost", SOON).await;
    let before = has_its_sessions(&home).await;
    let load = Load::on(server.listen().http, "app.localhost", 100);

    // The same principal with another credential; the file itself has not changed.
    home.write("join", &second);
    let told = reload(&home).await;
    assert_eq!(told["changes"][0], "the join string changed", "{told} {}", client.said());
    let renewed = async || {
        let now = sessions(&home).await;
        let all = now.len() == before.len() && now.iter().all(|session| !before.contains(session));
        all.then_some(())
    };
    until("both sessions are new", SOON, renewed).await;
    let credentials = async || {
        let listed = server.admin(&["sessions", "--json"]).await;
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let id = second.split("//").nth(1).and_then(|rest| rest.split(':').next()).unwrap().to_owned();
        let all = listed["sessions"].as_array().unwrap();
        (all.len() == 2 && all.iter().all(|session| session["credential"] == id.as_str())).then_some(())
    };
    until("the old sessions have ended", SOON, credentials).await;

    // More of them, and fewer.
    home.write("tunnelc.toml", &config("connections = 4\n"));
    uses(&home).await;
    client.says(": connections changed", SOON).await;
    server.has_sessions(4, SOON).await;
    home.write("tunnelc.toml", &config("connections = 1\nname = \"other\"\n"));
    uses(&home).await;
    server.has_sessions(1, SOON).await;
    assert_eq!(status(&home).await["name"], "other");
    load.end().await.is_flawless(false);
}

#[tokio::test]
async fn a_file_is_checked_without_being_used() {
    let home = Home::new();
    let good = home.write("good.toml", &tunnel("app", nobody()));
    let done = home.command(&["check", good.to_str().unwrap()]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(done.stdout.contains("good.toml is good: 1 tunnel"), "{}", done.text());
    let bad = home.write("bad.toml", "[[tunnel]]\nname = \"app\"\nkind = \"udp\"\n");
    let done = home.command(&["check", bad.to_str().unwrap()]).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    assert!(
        done.text().contains("bad.toml:3:8") && done.text().contains("`to` is missing"),
        "{}",
        done.text()
    );
    let done = home.command(&["reload"]).await;
    assert_eq!(done.code, Some(1), "{}", done.text());
    assert!(done.text().contains("is it running?"), "{}", done.text());
}
