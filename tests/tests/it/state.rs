//! The state directory when the disk misbehaves: damaged files are refused with what to do, and a disk that takes nothing
//! costs nothing that runs.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use tests::disk::Disk;
use tests::fixture::HttpService;
use tests::place::nobody;
use tests::program::{Finished, Program, command, inside};
use tests::tunnelc::{Home, SESSIONS, Tunnelc};
use tests::tunneld::Tunneld;
use tests::wait::{SOON, until};

use crate::stage::HOST;

const ANY: &str = "127.0.0.1:0";

/// `tunneld` with this state directory, on free ports unless `flags` say otherwise.
fn tunneld(state: &Path, flags: &[&str]) -> std::process::Command {
    let mut tunneld = command("tunneld", state.parent().unwrap());
    tunneld.arg("--state").arg(state);
    for flag in ["--tunnel", "--http", "--ops"].iter().filter(|flag| !flags.contains(flag)) {
        tunneld.args([flag, ANY]);
    }
    tunneld.args(flags);
    tunneld
}

async fn start(state: &Path) -> Finished {
    Program::start(tunneld(state, &[])).finished(SOON).await
}

/// What a disk or a person does to a file.
fn damages(good: &[u8]) -> [Vec<u8>; 3] {
    [Vec::new(), good[..good.len() / 2].to_vec(), b"\x00\xff what is this?\n".to_vec()]
}

fn files(state: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                // A lock says nothing by what is in it, and what the server only adds to it does not read. What begins with a
                // dot is being written.
                kind if kind.is_file() => {
                    let name = entry.file_name().into_string().unwrap();
                    if !name.starts_with('.') && name != "lock" && name != "audit.log" {
                        found.push(entry.path());
                    }
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// A copy of a state directory with one file damaged.
fn damaged(state: &Path, file: &Path, damage: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let copy = tempfile::tempdir().unwrap();
    let to = |path: &Path| copy.path().join("state").join(path.strip_prefix(state).unwrap());
    for good in files(state) {
        fs::create_dir_all(to(&good).parent().unwrap()).unwrap();
        fs::copy(&good, to(&good)).unwrap();
    }
    let place = to(file);
    fs::write(&place, damage).unwrap();
    (copy, place)
}

fn says_what_to_do(what: &Path, done: &Finished) {
    let name = what.file_name().unwrap().to_str().unwrap();
    let text = done.text();
    assert!(matches!(done.code, Some(1 | 2)), "{name}: {:?}: {text}", done.code);
    assert!(text.contains(name), "{name} is not named: {text}");
    assert!(text.contains("restore") || text.contains("remove it"), "{name}: no remedy: {text}");
    assert!(!text.contains("panicked"), "{name}: {text}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_the_remedy_and_left_as_it_is() {
    let mut server = Tunneld::configured(|_| "timeouts = { drain = \"5s\" }\n".to_owned(), &[]).await;
    let (service, home) = (HttpService::start().await, Home::new());
    let _tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    server.invite("bob", &[]).await;
    let done = server.admin(&["disable", "host:old.localhost"]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    let state = server.state();
    // Credentials, the join string, names, what is disabled, two keys, a certificate; revisions and their index.
    let complete = async || (files(&state).len() >= 9).then_some(());
    until("every file is there", SOON, complete).await;
    server.kill();
    let mut cases = Vec::new();
    for file in files(&state) {
        for damage in damages(&fs::read(&file).unwrap()) {
            cases.push((file.clone(), damage));
        }
    }
    for some in cases.chunks(4) {
        join_all(some.iter().map(async |(file, damage)| {
            let (copy, place) = damaged(&state, file, damage);
            let done = start(&copy.path().join("state")).await;
            says_what_to_do(file, &done);
            assert_eq!(fs::read(&place).unwrap(), *damage, "{} was written", file.display());
        }))
        .await;
    }
    println!("{} damaged files refused", cases.len());
    server.start_again().await;
    server.serves(HOST, SOON).await;
}

#[tokio::test]
async fn a_damaged_file_of_a_client_is_refused_with_the_remedy_and_left_as_it_is() {
    let (server, home) = (Tunneld::start().await, Home::new());
    let done = home.command(&["join", &server.join()]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    let mut client = home.http(&server.join(), nobody(), &[]).await;
    client.program.kill();
    let kept = files(&home.state());
    assert_eq!(kept.len(), 2, "{kept:?}");
    for file in kept {
        let good = fs::read(&file).unwrap();
        for damage in damages(&good) {
            fs::write(&file, &damage).unwrap();
            let done = home.command(&["http", "3000"]).await;
            assert!(matches!(done.code, Some(1 | 2)), "{:?}: {}", done.code, done.text());
            assert!(done.text().contains(file.to_str().unwrap()), "{}", done.text());
            assert_eq!(fs::read(&file).unwrap(), damage);
        }
        fs::write(&file, good).unwrap();
    }
    server.has_sessions(0, SOON).await;
    let _again = home.start(&["http", "3000"]);
    server.has_sessions(SESSIONS, SOON).await;
}

/// Somebody with a tunnel who is to be shut out.
struct Eve {
    name: &'static str,
    join: String,
    client: Tunnelc,
    _home: Home,
}

impl Eve {
    async fn comes(server: &Tunneld, name: &'static str) -> Self {
        let join = server.invite(name, &["--host", &format!("{name}.localhost")]).await;
        let home = Home::new();
        let client = home.http(&join, nobody(), &["--host", name]).await;
        server.has_sessions(2 * SESSIONS, SOON).await;
        Self { name, join, client, _home: home }
    }
}

/// Who is revoked is cut off and stays so, and the operator hears that it does not last.
async fn revoked_though_not_kept(server: &Tunneld, eve: &Eve, remedy: &str) {
    let before = server.sessions().await;
    for sessions in [SESSIONS, 0] {
        let done = server.admin(&["revoke", eve.name]).await;
        assert_eq!(done.code, Some(1), "{}", done.text());
        let ended = format!("its {sessions} sessions are ended");
        for part in [ended.as_str(), "does not last", remedy, "say the same again"] {
            assert!(done.text().contains(part), "{part}: {}", done.text());
        }
    }
    eve.client.program.says("revoked", SOON).await;
    server.has_sessions(before - SESSIONS, SOON).await;
    let back = Home::new().command(&["http", "3000", "--join", &eve.join]).await;
    assert_eq!(back.code, Some(3), "it does not come back: {}", back.text());
    let unknown = server.admin(&["revoke", "nobody"]).await;
    assert!(unknown.code == Some(1) && unknown.text().contains("nobody"), "{}", unknown.text());
}

/// What goes on while nothing can be written, in whichever way; `remedy`: what the operator is told.
async fn nothing_is_lost_while(disk: &Disk, server: &Tunneld, join: &str, eve: &Eve, remedy: &str) {
    let refused = server.admin(&["invite", "carol"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.text());
    assert!(refused.text().contains(remedy), "{}", refused.text());
    let listed = server.admin(&["principals"]).await;
    assert!(listed.code == Some(0) && !listed.text().contains("carol"), "{}", listed.text());
    assert_eq!(server.visit(HOST, "/").await, 200);
    revoked_though_not_kept(server, eve, remedy).await;
    // New clients come in, and are served.
    let (service, home) = (HttpService::start().await, Home::new());
    let mut other = home.http(join, service.addr(), &["--host", "other"]).await;
    assert_eq!(server.visit("other.localhost", "/").await, 200);
    server.program.says("names can not be kept for a restart", SOON).await;
    other.program.kill();
    server.has_sessions(SESSIONS, SOON).await;
    // Another one does not start there, and says why.
    let first = Program::start(inside(&disk.wrapper(), &tunneld(&server.home().join("fresh"), &[])));
    let first = first.finished(SOON).await;
    assert_eq!(first.code, Some(1), "{}", first.text());
    assert!(first.text().contains(remedy), "{}", first.text());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_nothing_that_runs() {
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::over(home.path()).await else { return };
    let localhost = std::net::Ipv4Addr::LOCALHOST.into();
    let mut server = Tunneld::inside(home, &disk.wrapper(), localhost, &[]).await;
    let join = server.invite("bob", &["--host", "*.localhost"]).await;
    let (service, client) = (HttpService::start().await, Home::new());
    let _tunnel = client.http(&join, service.addr(), &["--host", "demo"]).await;
    server.has_sessions(SESSIONS, SOON).await;

    let eve = Eve::comes(&server, "eve").await;
    disk.fill();
    nothing_is_lost_while(&disk, &server, &join, &eve, "make room").await;
    // Another process would let her in again; that none takes over does not let her in here.
    let upgrade = server.admin(&["upgrade"]).await;
    assert_eq!(upgrade.code, Some(1), "{}", upgrade.text());
    assert!(upgrade.text().contains("eve is revoked"), "{}", upgrade.text());
    let back = Home::new().command(&["http", "3000", "--join", &eve.join]).await;
    assert_eq!(back.code, Some(3), "{}", back.text());
    disk.clear();
    let kept = server.admin(&["revoke", "eve"]).await;
    assert!(kept.code == Some(0) && kept.stdout.contains("sessions ended: 0"), "{}", kept.text());
    server.invite("carol", &[]).await;
    server.admin(&["revoke", "carol"]).await;

    let eve = Eve::comes(&server, "mallory").await;
    disk.protect();
    nothing_is_lost_while(&disk, &server, &join, &eve, "must be writable").await;
    server.kill();
    let start = async || {
        let tunneld = tunneld(&server.state(), &[]);
        Program::start(inside(&disk.wrapper(), &tunneld)).finished(SOON).await
    };
    let refused = start().await;
    assert!(refused.code == Some(1) && refused.text().contains("must be writable"), "{}", refused.text());
    disk.release();
    server.start_again().await;
    server.serves(HOST, SOON).await;
}

#[tokio::test]
async fn what_a_dead_server_left_behind_does_not_keep_a_new_one_away() {
    let mut server = Tunneld::start().await;
    let socket = server.state().join("admin.sock");
    server.kill();
    assert!(socket.exists(), "a killed server leaves its socket");
    let half = server.state().join(".names.json.0123456789abcdef");
    fs::write(&half, "{").unwrap();
    server.start_again().await;
    assert!(!half.exists(), "what it was writing is nothing any more");
    assert_eq!(server.admin(&["status"]).await.code, Some(0));
    server.kill();

    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "mine").unwrap();
    let done = start(&server.state()).await;
    assert!(done.code == Some(1) && done.text().contains("admin.sock"), "{}", done.text());
    assert!(done.text().contains("remove it"), "{}", done.text());
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");

    fs::remove_file(&socket).unwrap();
    let somebody = UnixListener::bind(&socket).unwrap();
    let done = start(&server.state()).await;
    assert!(done.code == Some(1) && done.text().contains("another process answers"), "{}", done.text());
    drop(somebody);
    server.start_again().await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let server = Tunneld::start().await;
    let taken = server.listen().http.to_string();
    let start = |flag: &str| {
        let home = tempfile::tempdir().unwrap();
        let program = Program::start(tunneld(&home.path().join("state"), &[flag, &taken]));
        (home, program)
    };
    let (_home, tunnel) = start("--tunnel");
    let done = tunnel.finished(SOON).await;
    assert_eq!(done.code, Some(1), "{}", done.text());
    let told = |line: &str, flag: &str| {
        assert!(line.contains(flag) && line.contains(&taken), "{line}");
        assert!(line.contains("stop it, or choose another address"), "{line}");
    };
    told(&done.text(), "--tunnel");
    // Without clients there is nothing to serve; the rest waits for its port.
    join_all(["--http", "--ops"].map(async |flag| {
        let (_home, mut program) = start(flag);
        told(&program.says("a listener is down, and tried again", SOON).await, flag);
        program.says("tunneld is ready", SOON).await;
        assert!(program.is_running());
    }))
    .await;
}
