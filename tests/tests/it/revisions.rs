//! `tunneld config`: revisions of the configuration, put in force, looked at and undone.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::fixture::HttpService;
use tests::program::{Finished, Program, command};
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, until};

const HOST: &str = "app.t.example.com";

/// A configuration whose visitors are answered with `version`.
fn config(version: &str) -> String {
    format!(
        r#"domain = "t.example.com"
timeouts = {{ watch = "0s" }}
rule = [{{ name = "version", host = "app", respond = {{ body = "{version}" }} }}]
"#
    )
}

async fn up(version: &str) -> Tunneld {
    let first = config(version);
    Tunneld::configured(|_| first, &[]).await
}

/// Writes a file beside the one of the server, which nobody watches.
fn copy(server: &Tunneld, name: &str, text: &str) -> String {
    let path = server.home().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

async fn version(server: &Tunneld) -> String {
    visitor::get(server.listen().http, HOST, "/").await.text()
}

async fn serves(server: &Tunneld, wanted: &str) {
    let answers = async || {
        let answer = visitor::try_get(server.listen().http, HOST, "/").await.ok()?;
        (answer.text() == wanted).then_some(())
    };
    until(&format!("version {wanted} is in force"), SOON, answers).await;
}

fn json(done: &Finished) -> Value {
    assert_eq!(done.code, Some(0), "{}", done.text());
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

#[tokio::test]
async fn a_configuration_is_applied_shown_compared_and_undone() {
    let server = up("1").await;
    let second = copy(&server, "second.toml", &config("2"));
    let done = server.admin(&["config", "apply", &second, "--note", "a second one"]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(
        done.stdout.contains("revision 2") && done.stdout.contains("rule version changed"),
        "{}",
        done.stdout
    );
    assert_eq!(version(&server).await, "2");
    let again = json(&server.admin(&["config", "apply", &second, "--json"]).await);
    assert_eq!((again["revision"].as_u64(), again["unchanged"].as_bool()), (Some(2), Some(true)));

    let shown = server.admin(&["config", "show"]).await;
    assert_eq!(shown.stdout.trim(), config("2").trim());
    let shown = json(&server.admin(&["config", "show", "1", "--json"]).await);
    assert_eq!(shown["text"].as_str(), Some(config("1").as_str()));
    let different = server.admin(&["config", "diff", "1"]).await;
    let lines = ["--- revision 1", "+++ revision 2", "-rule = ", "+rule = ", "  rule version changed"];
    assert!(lines.iter().all(|line| different.stdout.contains(line)), "{}", different.stdout);
    let different = json(&server.admin(&["config", "diff", "2", "1", "--json"]).await);
    assert_eq!(different["parts"][0]["name"].as_str(), Some("version"));

    let back = json(&server.admin(&["config", "rollback", "--json", "--note", "it was wrong"]).await);
    assert_eq!(back["revision"].as_u64(), Some(3));
    assert_eq!(version(&server).await, "1");
    let history = json(&server.admin(&["config", "history", "--json"]).await);
    let of = |number: usize, key: &str| history["revisions"][number][key].clone();
    assert_eq!(history["revisions"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        (of(0, "author")["by"].as_str(), of(1, "author")["by"].as_str()),
        (Some("file"), Some("admin"))
    );
    assert_eq!((of(1, "note").as_str(), of(2, "restores").as_u64()), (Some("a second one"), Some(1)));
    let history = server.admin(&["config", "history"]).await;
    let words = ["* 3", "revision 1 once more: it was wrong", "a second one"];
    assert!(words.iter().all(|word| history.stdout.contains(word)), "{}", history.stdout);
    assert_eq!(server.status().await["revision"].as_u64(), Some(3));
    server.counts("tunnel_config_revision", &[], |revision| revision == 3.0).await;

    for (words, what) in [
        (&["config", "rollback", "7"][..], "no revision 7"),
        (&["config", "show", "7"], "no revision 7"),
        (&["config", "confirm"], "no revision waits"),
        (&["config", "aply", "x"], "did you mean `apply`"),
        (&["config", "apply", &second, "--confirm", "soon"], "--confirm"),
        (&["config", "apply", "/does/not/exist.toml"], "/does/not/exist.toml"),
    ] {
        let done = server.admin(words).await;
        assert_eq!(done.code, Some(2), "{words:?}: {}", done.text());
        assert!(done.stderr.contains(what), "{words:?}: {}", done.stderr);
    }
}

#[tokio::test]
async fn what_is_refused_says_why_and_changes_nothing() {
    let server = up("1").await;
    let wrong = copy(&server, "wrong.toml", "domian = \"x\"\nlimits = { max_queued_requests = -1 }\n");
    let done = server.admin(&["config", "apply", &wrong]).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    for part in ["wrong.toml:1:1", "did you mean `domain`", "wrong.toml:2:", "max_queued_requests = -1"] {
        assert!(done.stderr.contains(part), "{}", done.stderr);
    }
    let holder = std::net::TcpListener::bind(tests::place::nobody()).unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let text = config("2")
        + &format!(
            "service = [{{ name = \"s\", servers = [{{ address = \"9\" }}] }}]\n[[tcp]]\nlisten = \"{taken}\"\nto = \"s\"\n"
        );
    let busy = copy(&server, "busy.toml", &text);
    for words in [&["config", "apply", &busy][..], &["check", &busy, "--prove"]] {
        let done = server.admin(words).await;
        assert_eq!(done.code, Some(2), "{words:?}: {}", done.text());
        assert!(done.stderr.contains(&taken), "{words:?}: {}", done.stderr);
    }
    let unknown = text.replace("\"9\"", "\"nobody-knows-this.invalid:80\"");
    let unknown = copy(&server, "unknown.toml", &unknown);
    let done = server.admin(&["config", "apply", &unknown]).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    assert!(done.stderr.contains("nobody-knows-this.invalid"), "{}", done.stderr);
    assert_eq!(server.health().await["revision"].as_u64(), Some(1));
    assert_eq!(version(&server).await, "1");
    server.counts("tunnel_reload_total", &[], |count| count == 3.0).await;
    drop(holder);
    let done = server.admin(&["check", &busy, "--prove"]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(done.stdout.contains("the running server could use it"), "{}", done.stdout);
    assert_eq!(server.health().await["revision"].as_u64(), Some(1), "looking at it has changed nothing");
    assert_eq!(server.admin(&["config", "apply", &busy]).await.code, Some(0));
}

#[tokio::test]
async fn check_proves_without_a_server_too() {
    let home = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let check = async |text: &str| {
        let path = home.path().join("t.toml");
        std::fs::write(&path, text).unwrap();
        let mut tunneld = command("tunneld", home.path());
        tunneld
            .args(["check", path.to_str().unwrap(), "--prove"])
            .arg("--state")
            .arg(home.path().join("state"));
        Program::start(tunneld).finished(SOON).await
    };
    let free = "[listen]\ntunnel = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\nops = \"127.0.0.1:0\"\n";
    let done = check(free).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(done.stdout.contains("its addresses are free"), "{}", done.stdout);
    let text = free.replacen("127.0.0.1:0", &taken, 1)
        + "[[service]]\nname = \"s\"\nservers = [{ address = \"nobody-knows-this.invalid:80\" }]\n";
    let done = check(&text).await;
    assert_eq!(done.code, Some(2), "{}", done.text());
    assert!(
        done.stderr.contains(&taken) && done.stderr.contains("nobody-knows-this.invalid"),
        "{}",
        done.stderr
    );
    assert!(!home.path().join("state").exists(), "a look leaves nothing behind");
}

#[tokio::test]
async fn a_rollback_survives_kill_restart_and_touch() {
    let mut server = up("1").await;
    let file = server.home().join("tunneld.toml");
    std::fs::write(&file, config("2")).unwrap();
    serves(&server, "2").await;
    assert_eq!(server.admin(&["config", "rollback"]).await.code, Some(0));
    assert_eq!(version(&server).await, "1");
    // As touch does; and then a kill, so that the file is looked at by who knows nothing of it.
    let touched = std::fs::File::options().write(true).open(&file).unwrap();
    touched.set_modified(std::time::SystemTime::now()).unwrap();
    server.kill();
    server.start_again().await;
    assert_eq!(version(&server).await, "1");
    server.counts("tunnel_config_pending", &[], |pending| pending == 0.0).await;
    server.program.signal(Signal::HUP);
    server.program.says("the configuration in force was read again", SOON).await;
    assert_eq!(version(&server).await, "1");
    std::fs::write(&file, config("3")).unwrap();
    server.program.signal(Signal::HUP);
    serves(&server, "3").await;
}

#[tokio::test]
async fn a_bad_file_at_the_start_leaves_the_last_good_revision_in_force() {
    let mut server = up("1").await;
    let file = server.home().join("tunneld.toml");
    server.kill();
    std::fs::write(&file, config("2").replace("rule", "rle")).unwrap();
    server.start_again().await;
    assert_eq!(version(&server).await, "1");
    server.counts("tunnel_config_pending", &[], |pending| pending == 1.0).await;
    server.program.says("stays in force", SOON).await;
    let said = server.program.said();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("stays in force")).collect();
    assert!(lines.len() == 1 && lines[0].contains("tunneld.toml:3:1: unknown key `rle`"), "{lines:?}");
    let status = server.status().await;
    assert_eq!(status["revision"].as_u64(), Some(1), "{status}");
    std::fs::write(&file, config("2")).unwrap();
    serves(&server, "2").await;
}

#[tokio::test]
async fn what_nobody_confirms_is_undone_also_by_the_next_process() {
    let mut server = up("1").await;
    let (second, third) = (copy(&server, "2.toml", &config("2")), copy(&server, "3.toml", &config("3")));
    let done = server.admin(&["config", "apply", &second, "--confirm", "1s"]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(done.stdout.contains("tunneld config confirm"), "{}", done.stdout);
    serves(&server, "1").await;
    let tried = server.admin(&["config", "apply", &third, "--confirm", "1h"]).await;
    assert_eq!(tried.code, Some(0), "{}", tried.text());
    let refused = server.admin(&["config", "apply", &second]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.text());
    assert!(refused.stderr.contains("config confirm"), "{}", refused.stderr);
    let confirmed = server.admin(&["config", "confirm"]).await;
    assert_eq!(confirmed.code, Some(0), "{}", confirmed.text());

    let tried = json(&server.admin(&["config", "apply", &second, "--confirm", "1s", "--json"]).await);
    assert_eq!(tried["undone_in_seconds"].as_u64(), Some(1));
    server.kill();
    let down = std::time::Instant::now();
    until("its time is over", SOON, async || (down.elapsed() > Duration::from_millis(1_100)).then_some(()))
        .await;
    server.start_again().await;
    assert_eq!(version(&server).await, "3");
    let history = json(&server.admin(&["config", "history", "--json"]).await);
    let last = history["revisions"].as_array().unwrap().last().unwrap();
    assert_eq!(last["author"]["by"].as_str(), Some("unconfirmed"), "{last}");
}

#[tokio::test]
async fn a_revision_that_fails_its_visitors_is_undone_by_itself() {
    let service = HttpService::start().await;
    let nobody = tests::place::nobody();
    let text = |address: &dyn std::fmt::Display| {
        format!(
            "domain = \"t.example.com\"\nservice = [{{ name = \"s\", servers = [{{ address = \"{address}\" }}] }}]\n\
             rule = [{{ name = \"app\", host = \"app\", to = \"s\" }}]\n"
        )
    };
    let first = text(&service.addr());
    let server = Tunneld::configured(|_| first, &[]).await;
    let visit = async || visitor::get(server.listen().http, HOST, "/").await.status;
    for _ in 0..20 {
        assert_eq!(visit().await, 200);
    }
    let bad = copy(&server, "bad.toml", &text(&nobody));
    assert_eq!(server.admin(&["config", "apply", &bad]).await.code, Some(0));
    assert_eq!(visit().await, 502);
    let undone = async || {
        let _ = visit().await;
        (server.health().await["revision"].as_u64() == Some(3)).then_some(())
    };
    until("it is undone", SOON, undone).await;
    assert_eq!(visit().await, 200);
    let line = server.program.says("the configuration is undone", SOON).await;
    assert!(line.contains("requests failed"), "{line}");
    let history = json(&server.admin(&["config", "history", "--json"]).await);
    assert_eq!(history["revisions"][2]["author"]["by"].as_str(), Some("watch"), "{history}");
    server.counts("tunnel_reload_total", &["outcome=\"rolled-back\""], |count| count == 1.0).await;
}

#[tokio::test]
async fn damaged_revisions_are_refused_with_the_remedy() {
    let mut server = up("1").await;
    server.kill();
    let revisions = server.state().join("revisions");
    let good = std::fs::read(revisions.join("index.json")).unwrap();
    type Damage<'a> = (&'static str, &'a dyn Fn(&Path));
    let damage: [Damage<'_>; 4] = [
        ("index.json", &|path| std::fs::write(path, &good[..good.len() / 2]).unwrap()),
        ("index.json", &|path| std::fs::write(path, "").unwrap()),
        ("index.json", &|path| std::fs::remove_file(path).unwrap()),
        ("1.toml", &|path| std::fs::write(path, "domain").unwrap()),
    ];
    for (file, damage) in damage {
        let path = revisions.join(file);
        let before = std::fs::read(&path).unwrap();
        damage(&path);
        let any = "127.0.0.1:0";
        let config = server.home().join("tunneld.toml").display().to_string();
        let done = server.admin(&["--config", &config, "--tunnel", any, "--http", any, "--ops", any]).await;
        assert_eq!(done.code, Some(1), "{}", done.text());
        assert!(done.stderr.contains(file) && done.stderr.contains("restore"), "{}", done.stderr);
        std::fs::write(&path, before).unwrap();
    }
    server.start_again().await;
    assert_eq!(version(&server).await, "1");
}

/// A server whose state directory is a small disk of its own, which nobody else sees.
struct OnSmallDisk {
    program: Program,
    home: tempfile::TempDir,
}

impl OnSmallDisk {
    /// None where that is not allowed.
    fn start() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let (state, config_file) = (home.path().join("state"), home.path().join("tunneld.toml"));
        std::fs::create_dir(&state).unwrap();
        std::fs::write(&config_file, config("1")).unwrap();
        let probe = std::process::Command::new("unshare").args(["--mount", "true"]).output();
        if !probe.is_ok_and(|done| done.status.success()) {
            println!("not run: this user has no mount namespaces");
            return None;
        }
        let mut tunneld = command("tunneld", home.path());
        tunneld.arg("--state").arg(&state).arg("--config").arg(&config_file);
        tunneld.args(["--tunnel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"]);
        let mut unshare = std::process::Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", "mount -t tmpfs -o size=512k tmpfs \"$0\" && exec \"$@\""]);
        unshare.arg(&state).arg(tunneld.get_program()).args(tunneld.get_args()).current_dir(home.path());
        Some(Self { program: Program::start(unshare), home })
    }

    /// The disk, by way of the process that sees it.
    fn disk(&self) -> std::path::PathBuf {
        let root = format!("/proc/{}/root", self.program.pid().as_raw_nonzero());
        Path::new(&root).join(self.home.path().join("state").strip_prefix("/").unwrap())
    }

    /// Nothing can be written among the revisions, or everything again.
    fn protect(&self, protect: bool) {
        let pid = self.program.pid().as_raw_nonzero().to_string();
        let folder = self.home.path().join("state/revisions").display().to_string();
        // A disk that somebody writes to can not be made read-only: a mount of its own can.
        let steps: &[&[&str]] = match protect {
            true => &[&["mount", "--bind", &folder, &folder], &["mount", "-o", "remount,bind,ro", &folder]],
            false => &[&["umount", &folder]],
        };
        for step in steps {
            let mut nsenter = std::process::Command::new("nsenter");
            nsenter.args(["--target", &pid, "--mount"]).args(*step);
            assert!(nsenter.status().unwrap().success(), "{step:?}");
        }
    }

    async fn admin(&self, words: &[&str]) -> Finished {
        let mut tunneld = command("tunneld", self.home.path());
        tunneld.arg("--state").arg(self.disk()).args(words);
        Program::start(tunneld).finished(SOON).await
    }
}

#[tokio::test]
async fn a_full_or_read_only_disk_changes_nothing_and_says_so() {
    let Some(server) = OnSmallDisk::start() else { return };
    server.program.says("tunneld is ready", SOON).await;
    let status = json(&server.admin(&["status", "--json"]).await);
    let door = status["listen"]["http"].as_str().unwrap().parse().unwrap();
    let (second, filler) = (server.home.path().join("2.toml"), server.disk().join("filler"));
    std::fs::write(&second, config("2")).unwrap();
    let apply = ["config", "apply", second.to_str().unwrap()];
    let refused = async |why: &str| {
        let done = server.admin(&apply).await;
        assert_eq!(done.code, Some(1), "{}", done.text());
        assert!(done.stderr.contains(why) && done.stderr.contains("can not be kept"), "{}", done.stderr);
        let status = json(&server.admin(&["status", "--json"]).await);
        assert_eq!(status["revision"].as_u64(), Some(1), "{why}");
        assert_eq!(visitor::get(door, HOST, "/").await.text(), "1", "{why}");
    };
    std::fs::write(&filler, vec![0; 1024 * 1024]).expect_err("the disk is small");
    refused("No space left").await;
    std::fs::remove_file(&filler).unwrap();
    server.protect(true);
    refused("Read-only file system").await;
    server.protect(false);
    let done = server.admin(&apply).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert_eq!(visitor::get(door, HOST, "/").await.text(), "2");
}
