//! D18: requests that parsers disagree about. The verdicts are those of the vectors, and the service sees as many requests
//! as they say.

#[path = "../../../../crates/proxy/src/tests/answers.rs"]
mod answers;
#[path = "../../../../crates/proxy/src/tests/vectors/rows.rs"]
mod rows;

use tests::fixture::Witness;
use tests::frames::{DATA, END_HEADERS, END_STREAM, Framer, GOAWAY, HEADERS, RST_STREAM, block, frame};
use tests::leak::Baseline;
use tests::program::{Program, command};
use tests::tunnelc::{Home, Tunnelc};
use tests::tunneld::Tunneld;
use tests::visitor::{End, Raw};
use tests::wait::{SOON, until};
use tokio::io::AsyncWriteExt;

use answers::answers;
use rows::{PROBE, Row, rows};

/// The host of the vectors.
const HOST: &str = "app.test";

struct Front {
    server: Tunneld,
    tunnel: Tunnelc,
    service: Witness,
    _home: Home,
}

impl Front {
    async fn up() -> Self {
        let (server, service, home) =
            (Tunneld::with(&["--domain", "test"]).await, Witness::start().await, Home::new());
        let tunnel = home.http(&server.join(), service.addr(), &["--host", "app"]).await;
        Self { server, tunnel, service, _home: home }
    }

    /// What is wrong with what became of a row.
    async fn check(&self, row: &Row) -> Result<(), String> {
        let mut visitor = Raw::open(self.server.listen().http).await;
        // A connection that was closed takes no more.
        let _ = visitor.stream.write_all(&[&row.bytes, PROBE].concat()).await;
        let (heard, end) = visitor.rest(SOON).await;
        let got = answers(&heard)?;
        let statuses: Vec<_> = got.iter().map(|answer| answer.status).collect();
        if end != End::Fin {
            return Err(format!("{end:?} behind {statuses:?}"));
        }
        let mut expected = row.answers.clone();
        expected.extend(row.open.then_some(200));
        if statuses != expected {
            return Err(format!("answered {statuses:?}, not {expected:?}"));
        }
        let seen = self.service.take();
        if seen.len() != row.requests + usize::from(row.open) || seen.iter().any(|path| path == "/smuggled") {
            return Err(format!("the service has seen {seen:?}"));
        }
        let last = &got.last().ok_or("no answer")?.head;
        let told = last.contains("connection: close\r\n") || last.starts_with("http/1.0");
        told.then_some(()).ok_or_else(|| format!("the visitor is not told of the end: {last}"))
    }

    async fn leaves_nothing(self, baseline: &Baseline) {
        let Self { server, tunnel, service, _home } = self;
        drop(service);
        baseline.holds(&server, &tunnel.program).await;
    }
}

#[tokio::test]
async fn d18_every_vector_gets_its_verdict() {
    let front = Front::up().await;
    let vectors = rows();
    let get = vectors.iter().find(|row| row.name == "get").unwrap();
    assert_eq!(front.check(get).await, Ok(()));
    let baseline = Baseline::of(&front.server, &front.tunnel.program).await;
    let mut wrong = Vec::new();
    for row in &vectors {
        if let Err(why) = front.check(row).await {
            wrong.push(format!("{}: {why}", row.name));
        }
    }
    println!("{} vectors", vectors.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
    front.leaves_nothing(&baseline).await;
}

const PSEUDO: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/")];

#[tokio::test]
async fn d18_nothing_is_smuggled_in_http2() {
    let front = Front::up().await;
    let door = front.server.listen().http;
    let hidden = "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let with = |field: (&'static str, &'static str)| block(&[&PSEUDO[..], &[field]].concat());
    // What ends the stream, and what ends the connection.
    let spaced =
        [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/ HTTP/1.1\r\nX: y")];
    let split =
        [(":method", "GET / HTTP/1.1\r\nX: y"), (":scheme", "http"), (":authority", HOST), (":path", "/")];
    let heads = [
        ("a coding", with(("transfer-encoding", "chunked"))),
        ("a connection", with(("connection", "x-forwarded-for"))),
        ("an upgrade", with(("upgrade", "h2c"))),
        ("another te", with(("te", "chunked"))),
        ("two lengths", block(&[&PSEUDO[..], &[("content-length", "1"), ("content-length", "2")]].concat())),
        ("no length", with(("content-length", "1, 2"))),
        ("another host", with(("host", "evil.test"))),
        ("a path with a space", block(&[&PSEUDO[..3], &[(":path", "/a b")]].concat())),
        ("a path with lines", block(&spaced)),
        ("a method with lines", block(&split)),
        (
            "an authority with lines",
            block(&[PSEUDO[0], PSEUDO[1], (":authority", "app.test\r\nX: y"), PSEUDO[3]]),
        ),
        ("a value with lines", with(("x-a", hidden))),
        ("a value with a bare lf", with(("x-a", "a\nTransfer-Encoding: chunked"))),
        ("a value with nul", with(("x-a", "a\0b"))),
        ("a name with lines", with(("x-a: b\r\nx-b", "c"))),
        ("a name with a colon", with(("x-a:", "c"))),
        ("a name in capitals", with(("X-A", "c"))),
    ];
    for (what, head) in heads {
        let mut visitor = Framer::connect(door).await;
        visitor.0.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head)).await;
        let (kind, flags, _) = visitor.hear(1).await;
        // Refused as a request, as a stream, or as a connection.
        let refused = kind == HEADERS && flags & END_STREAM == 0;
        assert!(kind == RST_STREAM || kind == GOAWAY || refused, "{what}: {kind} {flags}");
        if refused {
            let (kind, _, page) = visitor.hear(1).await;
            assert!(kind == DATA && String::from_utf8_lossy(&page).contains("400"), "{what}");
        }
        assert_eq!(front.service.take(), Vec::<String>::new(), "{what}");
    }
    // Lengths that are not those of the body: the service never sees a whole request.
    for (stated, sent) in [("50", hidden), ("3", hidden), ("0", hidden), ("3", "")] {
        let mut visitor = Framer::connect(door).await;
        visitor.0.send(frame(HEADERS, END_HEADERS, 1, &with(("content-length", stated)))).await;
        visitor.0.send(frame(DATA, END_STREAM, 1, sent.as_bytes())).await;
        let (kind, ..) = visitor.hear(1).await;
        assert!(kind == RST_STREAM || kind == GOAWAY, "{stated} {sent:?}: {kind}");
        assert_eq!(front.service.take(), Vec::<String>::new(), "{stated} {sent:?}");
    }
    // A request within a body is the body's.
    let mut visitor = Framer::connect(door).await;
    visitor.0.send(frame(HEADERS, END_HEADERS, 1, &block(&PSEUDO))).await;
    visitor.0.send(frame(DATA, END_STREAM, 1, hidden.as_bytes())).await;
    assert_eq!(visitor.hear(1).await.0, HEADERS);
    assert_eq!(front.service.take(), ["/"]);
}

/// Row 40 of the threats: what ends up in a head goes through one gate, wherever it comes from.
#[tokio::test]
async fn d18_heads_of_our_own_are_not_split() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("tunneld.toml");
    let rule = |action: &str| format!("rule = [{{ name = \"r\", host = \"r.localhost\", {action} }}]\n");
    let service = "service = [{ name = \"s\", servers = [{ address = \"3000\" }] }]\n";
    for action in [
        r#"to = "s", set_headers = { x-a = "a\r\nx-b: c" }"#,
        r#"to = "s", set_headers = { "x-a\r\nx-b" = "c" }"#,
        r#"to = "s", set_host = "a\r\nx-b: c""#,
        r#"redirect = "https://a.test/\r\nx-b: c""#,
        r#"respond = { status = 200, content_type = "text/plain\r\nx-b: c" }"#,
    ] {
        std::fs::write(&file, format!("{service}{}", rule(action))).unwrap();
        let mut tunneld = command("tunneld", home.path());
        tunneld.arg("check").arg(&file);
        let done = Program::start(tunneld).finished(SOON).await;
        assert_eq!(done.code, Some(2), "{action}: {}", done.text());
    }
    let config = rule("redirect = \"https://a.test{path}\"");
    let server = Tunneld::configured(|_| config, &[]).await;
    let mut visitor = Raw::open(server.listen().http).await;
    visitor.send("GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: r.localhost\r\n\r\n").await;
    let head = visitor.head().await.to_lowercase();
    assert!(head.contains("location: https://a.test/%0d%0aset-cookie:%20a=b\r\n"), "{head}");
    assert!(!head.contains("\nset-cookie"), "{head}");
    let door = server.listen().http;
    until("it serves on", SOON, async || Some(Raw::open(door).await)).await;
}
