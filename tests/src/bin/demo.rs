//! `make demo`: both programs and a small real service, with something sent through each kind of tunnel.
//!
//! Everything lives in a temporary state directory, on free ports of the loopback, and is gone afterwards.
//! `ONCE=1` ends it after the checks, with exit code 0 or 1.
#![expect(clippy::print_stdout, reason = "showing is what a demo does")]

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, SinkExt, StreamExt};
use tests::fixture::{HttpService, TcpService};
use tests::tunnelc::{Home, Tunnelc};
use tests::tunneld::Tunneld;
use tests::visitor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let once = std::env::var("ONCE").is_ok_and(|value| value == "1");
    let mut terminate = signal(SignalKind::terminate())?;
    let code = tokio::select! {
        // What goes wrong in the setting up has said so by then.
        ended = AssertUnwindSafe(show(once)).catch_unwind() => ended.unwrap_or(ExitCode::FAILURE),
        _ = tokio::signal::ctrl_c() => ExitCode::SUCCESS,
        _ = terminate.recv() => ExitCode::SUCCESS,
    };
    println!("\nStopped: the programs and their state are gone.");
    Ok(code)
}

/// All that runs: the order is the order in which it goes down.
struct Stage {
    web: Tunnelc,
    raw: Tunnelc,
    server: Tunneld,
    service: HttpService,
    echo: TcpService,
    _homes: [Home; 2],
}

async fn show(once: bool) -> ExitCode {
    println!("Starting tunneld, a web service, a TCP echo service, and a tunnelc for each of the two.\n");
    let began = Instant::now();
    let stage = set_up().await;
    let listen = stage.server.listen();
    println!("  {:<22}{}", "web service", stage.service.addr());
    println!("  {:<22}{}", "TCP echo service", stage.echo.addr());
    println!("  {:<22}{}", "tunneld for clients", listen.tunnel);
    println!("  {:<22}{}", "tunneld for visitors", listen.http);
    println!("  {:<22}{}", "tunneld for operators", listen.ops);
    println!("\nReady after {} ms. Through the public side:\n", began.elapsed().as_millis());

    let mut failed = 0_u8;
    for (what, outcome) in [
        ("HTTP request", timed(http(&stage)).await),
        ("HTTP body of 1 MiB", timed(large(&stage)).await),
        ("WebSocket echo", timed(websocket(&stage)).await),
        ("TCP echo", timed(tcp(stage.raw.tcp())).await),
    ] {
        match outcome {
            Ok((said, took)) => println!("  ok      {what:<20}{said}  ({:.1} ms)", took.as_secs_f64() * 1e3),
            Err(error) => {
                failed += 1;
                println!("  FAILED  {what:<20}{error}");
            }
        }
    }
    if failed > 0 {
        println!("\n{failed} of 4 failed. What the programs said:\n");
        for program in [&stage.server.program, &stage.web.program, &stage.raw.program] {
            println!("{}\n", program.said());
        }
        return ExitCode::FAILURE;
    }
    let web = stage.web.public();
    println!("\nAll of it works. Try it yourself:\n");
    println!("  curl -i http://{}:{}/", web.host, web.port);
    println!("  curl -H 'Host: {}' http://{}/headers", web.host, listen.http);
    println!("  nc 127.0.0.1 {}", stage.raw.public().port);
    println!("  curl http://{}/healthz", listen.ops);
    println!("  curl http://{}/metrics", listen.ops);
    if once {
        return ExitCode::SUCCESS;
    }
    println!("\nIt stays up until Ctrl-C.");
    std::future::pending().await
}

async fn set_up() -> Stage {
    let (service, echo, server) = tokio::join!(HttpService::start(), TcpService::echo(), Tunneld::start());
    let homes = [Home::new(), Home::new()];
    let join = server.join();
    let (web, raw) = tokio::join!(
        homes[0].http(&join, service.addr(), &["--host", "demo"]),
        homes[1].tcp(&join, echo.addr(), &[]),
    );
    Stage { web, raw, server, service, echo, _homes: homes }
}

async fn timed(step: impl Future<Output = io::Result<String>>) -> io::Result<(String, Duration)> {
    let began = Instant::now();
    let said = tokio::time::timeout(PATIENCE, step).await.map_err(io::Error::other)??;
    Ok((said, began.elapsed()))
}

async fn http(stage: &Stage) -> io::Result<String> {
    let answer = visitor::try_get(stage.server.listen().http, stage.web.host(), "/").await?;
    if answer.status != 200 {
        return Err(io::Error::other(format!("status {}: {}", answer.status, answer.text())));
    }
    Ok(format!("{} {:?}", answer.status, answer.text().trim()))
}

async fn large(stage: &Stage) -> io::Result<String> {
    let sent = tests::pattern::all(1024 * 1024);
    let request = visitor::request("POST", stage.web.host(), "/echo", visitor::full(sent.clone()));
    let answer = visitor::try_send(stage.server.listen().http, request).await?;
    if answer.body != sent {
        return Err(io::Error::other(format!("{} other bytes came back", answer.body.len())));
    }
    Ok("there and back, every byte the same".into())
}

async fn websocket(stage: &Stage) -> io::Result<String> {
    let mut socket = visitor::websocket(stage.server.listen().http, stage.web.host(), "/ws").await?;
    socket.send(Message::text("is anybody there?")).await.map_err(io::Error::other)?;
    let back = socket.next().await.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other)?;
    socket.close(None).await.map_err(io::Error::other)?;
    let text = back.into_text().map_err(io::Error::other)?;
    if text.as_str() == "is anybody there?" {
        Ok(format!("{:?}", text.as_str()))
    } else {
        Err(io::Error::other(format!("{:?} came back", text.as_str())))
    }
}

async fn tcp(to: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    stream.write_all(b"plain bytes, both ways").await?;
    stream.shutdown().await?;
    let mut back = String::new();
    stream.read_to_string(&mut back).await?;
    if back == "plain bytes, both ways" {
        Ok(format!("{back:?}"))
    } else {
        Err(io::Error::other(format!("{back:?} came back")))
    }
}
