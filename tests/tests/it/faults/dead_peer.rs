//! D01: the path between the programs goes silent: both notice within 10 to 16 s, and what was in flight is cut.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tests::fixture::HttpService;
use tests::leak::Baseline;
use tests::link::Link;
use tests::netns::Wire;
use tests::place::nobody;
use tests::program::{Program, inside};
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor::{self, End, Raw};
use tests::wait::{SOON, promised, until, within};
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinSet;

use crate::stage::HOST;

/// When a death may be declared.
const EARLY: Duration = Duration::from_secs(10);
const LATE: Duration = Duration::from_secs(16);
/// For waiting for it.
const LIMIT: Duration = SOON;
/// What has no end.
const ENDLESS: &str = "/chunked?n=400000000000";
const TRICKLE: &str = "/sse?n=1000000&ms=20";
const DEATHS: &str = r#"tunnel_session_replaced_total{reason="silent"}"#;
const SILENT: &str = "the other end fell silent";

fn in_time(what: &str, took: Duration) {
    assert!((EARLY..=promised(LATE)).contains(&took), "{what} after {took:?}");
}

fn silences(program: &Program) -> u64 {
    program.stderr().iter().filter(|line| line.contains(SILENT)).count() as u64
}

/// Each end has one line and one count for each session that has died.
async fn is_told_once(server: &Tunneld, client: &Program, ops: SocketAddr) {
    let told = async || {
        let counted = visitor::metric(&visitor::get(ops, "localhost", "/metrics").await.text(), DEATHS);
        let counts = [server.metric(DEATHS).await as u64, counted as u64];
        let lines = [silences(&server.program), silences(client)];
        ([counts, lines] == [[SESSIONS; 2]; 2]).then_some(())
    };
    until("each end tells of each death once", SOON, told).await;
}

/// Over a relay that swallows everything, with so many downloads.
async fn over_a_relay(downloads: usize) {
    let (server, service, home) = (Tunneld::start().await, HttpService::start().await, Home::new());
    let (link, ops) = (Link::to(server.listen().tunnel).await, nobody());
    let config = format!(
        "ops = \"{ops}\"\ntunnel = [{{ name = \"demo\", kind = \"http\", host = \"demo\", to = \"{}\" }}]\n",
        service.addr()
    );
    let client = home.run(&link.join(&server.join()), &config);
    server.serves(HOST, SOON).await;
    server.has_sessions(SESSIONS, SOON).await;
    let baseline = Baseline::of(&server, &client).await;

    let mut visitors = JoinSet::new();
    for n in 0..downloads {
        let mut raw = Raw::open(server.listen().http).await;
        // Some as fast as they can, and the others a little at a time.
        let path = if n % 10 == 0 { ENDLESS } else { TRICKLE };
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert!(raw.head().await.contains(" 200"));
        raw.exactly(1).await;
        visitors.spawn(async move {
            let (last, end) = read_away(&mut raw).await;
            assert_ne!(end, End::Open);
            assert!(!last.ends_with(b"0\r\n\r\n"), "a cut, not an end");
            Instant::now()
        });
    }
    let connections = link.connections();
    link.freeze();
    let frozen = Instant::now();
    let server_notices = async { server.has_sessions(0, LIMIT).await };
    let client_notices = async {
        let dial_again = async || (link.connections() >= connections + SESSIONS as usize).then_some(());
        until("all slots of the client dial again", LIMIT, dial_again).await.1
    };
    let (there, here, cut) = tokio::join!(server_notices, client_notices, visitors.join_all());
    in_time("the server noticed", there);
    in_time("the client noticed", here);
    for cut in cut {
        in_time("a download was cut", cut.duration_since(frozen));
    }

    link.thaw();
    let back = server.serves(HOST, SOON).await;
    assert!(back <= promised(Duration::from_secs(3)), "{back:?} after the path was back");
    server.has_sessions(SESSIONS, SOON).await;
    is_told_once(&server, &client, ops).await;
    drop(service);
    baseline.holds(&server, &client).await;
}

/// The last bytes of an endless body, and how it ended.
async fn read_away(raw: &mut Raw) -> (Vec<u8>, End) {
    let mut last = Vec::new();
    let read = async {
        loop {
            match raw.some().await {
                Ok(bytes) => last = bytes,
                Err(end) => return end,
            }
        }
    };
    let end = tokio::time::timeout(2 * LIMIT, read).await.unwrap_or(End::Open);
    (last, end)
}

/// Leads from a path in a home to a service: a namespace has no other way to it.
fn at_a_path(home: &Home, service: SocketAddr) -> (String, JoinSet<()>) {
    let path = home.state().with_file_name("service.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut accept = JoinSet::new();
    accept.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut service = TcpStream::connect(service).await.unwrap();
                // However it ends is for the ends to say.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut service).await;
            });
        }
    });
    (format!("unix:{}", path.display()), accept)
}

/// Over a wire on which packets get lost: nobody acknowledges what either end still sends.
async fn over_a_wire(downloads: usize) {
    let Some(wire) = Wire::new().await else { return };
    let server = Tunneld::inside(tempfile::tempdir().unwrap(), &wire.near(), Wire::NEAR, &[]).await;
    let (service, home) = (HttpService::start().await, Home::new());
    let (target, _way) = at_a_path(&home, service.addr());
    let join = server.join();
    assert!(join.contains("@10.7.0.1:"), "the join string leads to where the server listens");
    let tunnelc = home.prepare(&["http", &target, "--host", "demo", "--log", "json", "--join", &join]);
    let client = Program::start(inside(&wire.far(), &tunnelc));
    let sessions = async || server.status().await["sessions"].as_array().map_or(0, Vec::len) as u64;
    until("both sessions", SOON, async || (sessions().await == SESSIONS).then_some(())).await;

    let curl = |options: &str, to: &str, path: &str| {
        let url = format!("http://{}{path}", server.listen().http);
        let mut curl = tests::peer::command("curl");
        curl.args(options.split_whitespace()).args(["-sS", "-N", "-H", &format!("Host: {HOST}"), "-o", to]);
        curl.args(["-w", "%{exitcode} %{http_code}\\n", &url]);
        Program::start(inside(&wire.near(), &curl))
    };
    let all = format!("-Z --parallel-immediate --parallel-max {downloads}");
    let kept = tempfile::tempdir().unwrap();
    let to = kept.path().join("#1").display().to_string();
    let visitors = curl(&all, &to, &format!("{TRICKLE}&visitor=[1-{downloads}]"));
    // And one with as much as there is room for on the way.
    let bulk = curl("", kept.path().join("bulk").to_str().unwrap(), ENDLESS);
    let flow = async || {
        let begun = std::fs::read_dir(kept.path()).unwrap().map(Result::unwrap);
        let flows = |file: &std::fs::DirEntry| file.metadata().is_ok_and(|file| file.len() > 0);
        (begun.filter(flows).count() == downloads + 1).then_some(())
    };
    until("all downloads flow", SOON, flow).await;

    wire.dies();
    let died = Instant::now();
    let server_notices = until("the server notices", LIMIT, async || (sessions().await == 0).then_some(()));
    let client_notices =
        until("the client notices", LIMIT, async || (silences(&client) == SESSIONS).then_some(()));
    let cut = async {
        let done = visitors.finished(LIMIT).await;
        in_time("the downloads were cut", died.elapsed());
        done
    };
    let (there, here, done, bulk) = tokio::join!(server_notices, client_notices, cut, bulk.finished(LIMIT));
    in_time("the server noticed", there.1);
    in_time("the client noticed", here.1);
    let ends: Vec<&str> = done.stdout.lines().chain(bulk.stdout.lines()).collect();
    assert_eq!(ends.len(), downloads + 1, "{}", done.text());
    // The body broke off (18), or the connection did (56).
    assert!(ends.iter().all(|end| ["18 200", "56 200"].contains(end)), "{ends:?}");

    wire.is_back();
    let back = until("it serves again", SOON, async || {
        let done = curl("--max-time 5", "/dev/null", "/").finished(SOON).await;
        done.stdout.contains("0 200").then_some(())
    });
    let (_, took) = within("the way back", SOON, back).await;
    assert!(took <= promised(Duration::from_secs(3)), "{took:?} after the wire was back");
}

#[tokio::test]
async fn d01_a_dead_peer_is_noticed_by_both_ends() {
    tokio::join!(over_a_relay(0), over_a_relay(50), over_a_wire(50));
}
