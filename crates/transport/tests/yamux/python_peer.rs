//! Ours and a peer in Python that was written from the published spec alone, and that complains about every frame that the
//! spec does not allow (`python/yamux_peer.py`).

use std::io::ErrorKind;
use std::process::Stdio;

use bytes::Bytes;
use futures_util::future::join_all;
use ops::spawn::Spawner;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};
use transport::session::{Inbound, OpenError, Role, Session, Substream};

use crate::ours::{begin, exchange, pattern, run};
use crate::raw::{ACK, FIN, GO_AWAY, PING, Raw, SYN, UPDATE, WINDOW, data, frame};

/// Of what the peer sends; it is also in its complaints.
const SEED: u32 = 7;

/// The peer's process, and what it says.
struct Python {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start(arguments: &[String]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/yamux/python/yamux_peer.py");
        let mut process = Command::new("python3")
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    /// Its last line, and that it found nothing wrong.
    async fn end(mut self) -> String {
        let said = self.line().await;
        assert!(self.process.wait().await.unwrap().success(), "{said}");
        said
    }
}

/// Starts a peer that opens `streams` with `length` bytes each, and a session with it.
async fn meet(role: Role, streams: u32, length: u32, spawner: &Spawner) -> (Python, Session, Inbound) {
    let work = [streams, length, SEED].map(|number| number.to_string());
    let (python, link) = match role {
        Role::Client => {
            let mut python = Python::start(&[&["server".to_owned()][..], &work].concat());
            let port: u16 = python.line().await.parse().unwrap();
            (python, TcpStream::connect(("127.0.0.1", port)).await.unwrap())
        }
        Role::Server => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port().to_string();
            let python = Python::start(&[&["client".to_owned(), port][..], &work].concat());
            (python, listener.accept().await.unwrap().0)
        }
    };
    link.set_nodelay(true).unwrap();
    let (session, inbound) = begin(link, role, spawner);
    (python, session, inbound)
}

async fn echo(mut substream: Substream) {
    let mut buffer = [0; 10_000];
    loop {
        let n = substream.read(&mut buffer).await.unwrap();
        if n == 0 {
            break;
        }
        substream.write_all(&buffer[..n]).await.unwrap();
    }
    substream.shutdown().await.unwrap();
}

fn in_both_roles(test: impl AsyncFn(Role, Spawner)) {
    run(|spawner| async move {
        for role in [Role::Client, Role::Server] {
            test(role, spawner.clone()).await;
        }
    });
}

#[test]
fn it_echoes_what_we_send() {
    in_both_roles(async |role, spawner| {
        let (python, session, _inbound) = meet(role, 0, 0, &spawner).await;
        let lengths = [0, 1, 100, 70_000, 300_000, 1 << 20];
        let exchanges = lengths.iter().enumerate().map(async |(n, &length)| {
            let out = pattern(n, length);
            // With and without bytes in the frame that opens it.
            let head = if n % 2 == 0 { 0 } else { length.min(50_000) };
            let mut substream = session.open(Bytes::copy_from_slice(&out[..head])).unwrap();
            assert!(exchange(&mut substream, &out[head..]).await == out, "{length} bytes");
        });
        join_all(exchanges).await;
        session.close();
        assert_eq!(python.end().await, "echoed=6 checked=0 resets=0 pongs=4");
    });
}

#[test]
fn we_echo_what_it_sends_and_what_is_open_survives_its_go_away() {
    in_both_roles(async |role, spawner| {
        let (python, session, mut inbound) = meet(role, 8, 400_000, &spawner).await;
        let mut echoes = Vec::new();
        for _ in 0..8 {
            let accepted = inbound.accept().await.unwrap();
            echoes.push(spawner.spawn(spawner.here(), "echo", echo(accepted)));
        }
        for ended in join_all(echoes).await {
            ended.unwrap();
        }
        // The end of the last one came behind the GO_AWAY.
        assert_eq!(session.open(Bytes::new()).unwrap_err(), OpenError::Lost);
        session.close();
        assert_eq!(python.end().await, "echoed=0 checked=8 resets=0 pongs=5");
    });
}

#[test]
fn both_send_at_once() {
    in_both_roles(async |role, spawner| {
        let (python, session, mut inbound) = meet(role, 4, 300_000, &spawner).await;
        let opened: Vec<_> = (0..4).map(|_| session.open(Bytes::new()).unwrap()).collect();
        let out = pattern(1, 300_000);
        let exchanges = opened.into_iter().map(async |mut substream| {
            assert!(exchange(&mut substream, &out).await == out);
        });
        let echoes = async {
            let mut echoes = Vec::new();
            for _ in 0..4 {
                echoes.push(spawner.spawn(spawner.here(), "echo", echo(inbound.accept().await.unwrap())));
            }
            join_all(echoes).await
        };
        tokio::join!(join_all(exchanges), echoes);
        session.close();
        assert_eq!(python.end().await, "echoed=4 checked=4 resets=0 pongs=5");
    });
}

#[test]
fn resets_go_both_ways() {
    in_both_roles(async |role, spawner| {
        let (python, session, _inbound) = meet(role, 0, 0, &spawner).await;
        let mut dropped = session.open(Bytes::from_static(b"ping")).unwrap();
        dropped.read_exact(&mut [0; 4]).await.unwrap();
        drop(dropped);
        let mut asked = session.open(Bytes::from_static(b"reset me")).unwrap();
        assert_eq!(asked.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        // The others notice nothing.
        let mut other = session.open(Bytes::new()).unwrap();
        assert_eq!(exchange(&mut other, b"still here").await, b"still here");
        session.close();
        assert_eq!(python.end().await, "echoed=3 checked=0 resets=1 pongs=4");
    });
}

#[test]
fn it_notices_what_the_spec_forbids() {
    let head = data(SYN, 2, b"x");
    let far = vec![7; WINDOW + 1];
    let breaches = [
        ("version 1", vec![1; 12]),
        ("kind 4", frame(4, 0, 1, 0)),
        ("flags 16", frame(UPDATE, 16, 1, 0)),
        ("id of the wrong side", data(SYN, 1, b"x")),
        ("stream 0 is the session", data(0, 0, b"x")),
        ("never opened", data(0, 4, b"x")),
        ("opened twice", [&head[..], &head].concat()),
        ("are allowed", data(SYN, 2, &far)),
        ("data behind a FIN", [data(SYN | FIN, 2, b"x"), data(0, 2, b"x")].concat()),
        ("second FIN", [data(SYN | FIN, 2, b"x"), data(FIN, 2, b"")].concat()),
        ("ACK of its own stream", [&head[..], &data(ACK, 2, b"x")].concat()),
        ("a frame that says nothing", [&head[..], &data(0, 2, b"")].concat()),
        ("more credit than 32 bits", [&head[..], &frame(UPDATE, 0, 2, u32::MAX)].concat()),
        ("an answer to no ping", frame(PING, ACK, 0, 7)),
        ("ping on stream 1", frame(PING, SYN, 1, 7)),
        ("the other end gave up", frame(GO_AWAY, 0, 0, 1)),
        ("no ping came", vec![]),
        ("did not end", [&frame(PING, SYN, 0, 7)[..], &head].concat()),
        ("within a frame", vec![0; 3]),
    ];
    run(|_spawner| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        for (complaint, bytes) in breaches {
            let arguments = ["client", &port, "0", "0", "7"].map(str::to_owned);
            let mut python = Python::start(&arguments);
            let mut raw = Raw::over(listener.accept().await.unwrap().0);
            for _ in 0..4 {
                let ping = raw.next().await.unwrap();
                raw.send(&frame(ping.kind, ACK, 0, ping.length)).await;
            }
            raw.send(&bytes).await;
            raw.link.shutdown().await.unwrap();
            let said = python.line().await;
            assert!(said.contains(complaint), "{complaint}: it said {said}");
            assert_eq!(python.process.wait().await.unwrap().code(), Some(1));
        }
    });
}
