//! D28: the secrets of clients: wrong, old, cut off, too long, recorded, guessed; and where they must not be seen.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::handshake::{Reject, RejectCode, ServerReply};
use tests::fixture::HttpService;
use tests::link::Link;
use tests::program::{Finished, Program};
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw};
use tests::wait::{SOON, until};
use tests::wire::{HandMade, Reply, encoded, frame};

use crate::stage::HOST;

/// The secret of a join string.
fn secret(join: &str) -> &str {
    join.split([':', '@']).nth(2).unwrap()
}

/// The same join string with another secret.
fn wrong(join: &str) -> String {
    join.replace(secret(join), &URL_SAFE_NO_PAD.encode([7; 32]))
}

async fn try_to_join(join: &str) -> Finished {
    Home::new().command(&["http", "3000", "--host", "demo", "--join", join]).await
}

/// What the server says to one login; none if it lets it in.
async fn refused(join: &str) -> Option<Reject> {
    let mut peer = HandMade::dial(join).await;
    peer.say(&peer.hello()).await;
    match peer.reply(SOON).await {
        Reply::Said(ServerReply::Reject(reject)) => Some(reject),
        Reply::Said(ServerReply::Welcome(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn d28_what_is_wrong_old_or_revoked_is_refused() {
    let server = Tunneld::start().await;
    let (alice, mallory) = (server.invite("alice", &[]).await, server.invite("mallory", &[]).await);
    let brief = server.invite("bob", &["--expires", "2s"]).await;
    let session = HandMade::log_in(&brief).await;

    let wrong_secret = refused(&wrong(&alice)).await.unwrap();
    let id = alice.split(['/', ':']).nth(3).unwrap();
    let unknown_id = refused(&wrong(&alice).replace(id, "nobodyhere")).await.unwrap();
    assert_eq!(wrong_secret.code, RejectCode::DENIED);
    assert_eq!(
        (wrong_secret.code, wrong_secret.text),
        (unknown_id.code, unknown_id.text),
        "nobody can tell them apart"
    );
    // The key of somebody else whom the server knows.
    let swapped = alice.replace(secret(&alice), secret(&mallory));
    assert_eq!(refused(&swapped).await.unwrap().code, RejectCode::DENIED);

    let expired = async || refused(&brief).await.filter(|reject| reject.code == RejectCode::EXPIRED);
    let (reject, _) = until("the credential expires", SOON, expired).await;
    assert!(reject.text.contains("new join string"), "{}", reject.text);
    let mut session = session;
    session.end(SOON).await;
    server.has_sessions(0, SOON).await;
    // Whoever does not hold the key does not hear that it has expired.
    assert_eq!(refused(&wrong(&brief)).await.unwrap().code, RejectCode::DENIED);

    assert_eq!(refused(&alice).await, None);
    assert_eq!(server.admin(&["revoke", "alice"]).await.code, Some(0));
    assert_eq!(refused(&alice).await.unwrap().code, RejectCode::DENIED);
    server.counts("tunnel_auth_failures_total", &[], |count| count >= 6.0).await;
}

#[tokio::test]
async fn d28_what_is_cut_off_or_too_long_is_refused() {
    let server = Tunneld::start().await;
    let join = server.join();
    let whole = join.find('?').unwrap();
    for length in (0..whole).step_by(7) {
        let cut = try_to_join(&join[..length]).await;
        assert_eq!(cut.code, Some(2), "{length}: {}", cut.text());
        assert!(!cut.text().contains(secret(&join)), "{length}: {}", cut.text());
    }
    for (what, long) in [
        ("id", join.replace("default:", &format!("{}:", "a".repeat(33)))),
        ("secret", join.replace(secret(&join), &format!("{}A", secret(&join)))),
        ("all", format!("{join}{}", ",sha256-A".repeat(10_000))),
    ] {
        let refused = try_to_join(&long).await;
        assert_eq!(refused.code, Some(2), "{what}: {}", refused.text());
        assert!(!refused.text().contains(secret(&join)), "{what}: {}", refused.text());
    }
    // By hand: a hello that says it is longer than any may be, and one whose proof ends early.
    let mut peer = HandMade::dial(&join).await;
    let hello = encoded(&peer.hello());
    peer.send(frame(hello[0], 16 * 1024 + 1, &hello[4..])).await;
    assert!(is_malformed(&peer.reply(SOON).await));
    let mut peer = HandMade::dial(&join).await;
    let hello = encoded(&peer.hello());
    let cut = &hello[4..hello.len() - 40];
    peer.send(frame(hello[0], u32::try_from(cut.len()).unwrap(), cut)).await;
    assert!(is_malformed(&peer.reply(SOON).await));
    assert_eq!(refused(&join).await, None, "others come in");
}

fn is_malformed(reply: &Reply) -> bool {
    match reply {
        Reply::Said(ServerReply::Reject(reject)) => reject.code == RejectCode::MALFORMED,
        Reply::Ended(end) => *end != End::Open,
        Reply::Said(_) => false,
    }
}

#[tokio::test]
async fn d28_what_was_recorded_is_worthless() {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let link = Link::to(server.listen().tunnel).await;
    let _tunnel = home.http(&link.join(&server.join()), service.addr(), &["--host", "demo"]).await;
    server.has_sessions(SESSIONS, SOON).await;
    for n in 0..link.connections() {
        let mut replay = Raw::open(server.listen().tunnel).await;
        replay.send(link.recorded(n)).await;
        assert_ne!(replay.rest(SOON).await.1, End::Open);
    }
    // Its plain text, as whoever broke TLS would have it.
    let mut first = HandMade::dial(&server.join()).await;
    let hello = first.hello();
    first.say(&hello).await;
    assert!(matches!(first.reply(SOON).await, Reply::Said(ServerReply::Welcome(_))));
    let mut second = HandMade::dial(&server.join()).await;
    second.say(&hello).await;
    let Reply::Said(ServerReply::Reject(reject)) = second.reply(SOON).await else { panic!("let in") };
    assert_eq!(reject.code, RejectCode::DENIED);
    assert_eq!(server.visit(HOST, "/").await, 200, "nobody else is disturbed");
}

#[tokio::test]
async fn d28_who_guesses_waits_and_nobody_else_does() {
    let server = Tunneld::start().await;
    let (alice, bob) = (server.invite("alice", &[]).await, server.invite("bob", &[]).await);
    let unknown = wrong(&alice).replace(alice.split(['/', ':']).nth(3).unwrap(), "nobodyhere");
    for guess in [wrong(&alice), unknown] {
        let mut codes = Vec::new();
        for _ in 0..11 {
            codes.push(refused(&guess).await.unwrap().code);
        }
        assert_eq!(codes[..10], [RejectCode::DENIED; 10], "{codes:?}");
        let throttled = refused(&guess).await.unwrap();
        assert_eq!(throttled.code, RejectCode::THROTTLED);
        let wait = throttled.retry_after.unwrap();
        assert!((50..=60).contains(&wait.as_secs()), "{wait:?}");
    }
    assert_eq!(
        refused(&alice).await.unwrap().code,
        RejectCode::THROTTLED,
        "the right secret from there waits as well"
    );
    assert_eq!(refused(&bob).await, None);
    assert_eq!(refused(&server.join()).await, None);
    assert_eq!(server.admin(&["unban", "127.0.0.1"]).await.code, Some(0));
    assert_eq!(refused(&alice).await, None);
}

/// All files of a folder, with what is in them.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            found.push((entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
        }
    }
    found
}

#[tokio::test]
async fn d28_secrets_are_seen_nowhere() {
    let (server, service, home) = (Tunneld::traced().await, HttpService::start().await, Home::new());
    let join = server.invite("alice", &["--host", "demo"]).await;
    let config = format!(
        "ops = \"127.0.0.1:0\"\njoin_file = \"join\"\ntunnel = [{{ name = \"web\", kind = \"http\", host = \"demo\", to = \"{}\" }}]",
        service.addr()
    );
    let file = home.write("tunnelc.toml", &config);
    home.write("join", &join);
    let mut tunnelc = home.prepare(&["run", "--config", file.to_str().unwrap()]);
    tunnelc.env("RUST_LOG", "trace");
    let client = Program::start(tunnelc);
    server.has_sessions(SESSIONS, SOON).await;
    server.serves(HOST, SOON).await;
    let stranger = Home::new();
    let mut other = stranger.prepare(&["http", "3000", "--host", "demo"]);
    other.env("RUST_LOG", "trace").env("TUNNEL_JOIN", wrong(&join));
    let failed = Program::start(other).finished(SOON).await;
    assert_eq!(failed.code, Some(3), "{}", failed.text());

    let page = visitor::get(server.listen().http, "nowhere.localhost", "/").await;
    let metrics = visitor::get(server.listen().ops, "localhost", "/metrics").await;
    let mut seen: Vec<(String, Vec<u8>)> = vec![
        // The line to copy is on its standard output, as it has to be.
        ("the log of the server".into(), server.program.stderr().join("\n").into()),
        ("the log of the client".into(), client.said().into()),
        ("what a failed login says".into(), failed.text().into()),
        ("an error page".into(), page.body.to_vec()),
        ("metrics".into(), metrics.body.to_vec()),
    ];
    for words in
        [&["status", "--json"][..], &["principals", "--json"], &["sessions", "--json"], &["audit", "--json"]]
    {
        seen.push((words.join(" "), server.admin(words).await.text().into()));
    }
    seen.push(("status of the client".into(), home.command(&["status", "--json"]).await.text().into()));
    for pid in [server.program.pid(), client.pid()] {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap();
        seen.push((format!("the command line of {pid:?}"), line));
    }
    seen.extend(files(&server.state()).into_iter().filter(|(name, _)| name != "join"));
    seen.extend(files(&home.state()));
    assert!(
        server.program.stderr().iter().any(|line| line.contains("TRACE")),
        "it was as talkative as it can be"
    );
    for join in [&join, &server.join(), &wrong(&join)] {
        let text = secret(join);
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        for (place, content) in &seen {
            let has = |needle: &[u8]| content.windows(needle.len()).any(|window| window == needle);
            assert!(!has(text.as_bytes()) && !has(&bytes) && !has(hex.as_bytes()), "{place}");
        }
    }
}
