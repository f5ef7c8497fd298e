//! How the programs end when they are asked to.

use std::time::Duration;

use rustix::process::Signal;
use tests::fixture::{Ending, TcpService};
use tests::program::Program;
use tests::visitor::{self, End, Raw, empty, request};
use tests::wait::{SOON, promised, throughout, until, within};
use tokio::net::TcpStream;

use crate::stage::{HOST, Web, Wire};

/// Asks for something slow, sends `signal` when the service has it, and returns the answer's status.
async fn signal_during(web: &Web, ms: u64, program: &Program) -> u16 {
    let path = format!("/slow?ms={ms}");
    let ask = visitor::try_send(web.door(), request("GET", HOST, &path, empty()));
    let signal = async {
        let there = async || (web.service.tally().get(|tally| &tally.waiting) == 1).then_some(());
        until("the request is at the service", SOON, there).await;
        program.signal(Signal::TERM);
    };
    let (answer, ()) = within("the answer", SOON, async { tokio::join!(ask, signal) }).await;
    answer.map_or(0, |answer| answer.status)
}

#[tokio::test]
async fn the_server_finishes_what_is_in_flight_and_exits_0() {
    let mut web = Web::up().await;
    assert_eq!(signal_during(&web, 1_500, &web.server.program).await, 200);
    let (status, _) = web.server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", web.server.program.said());
    assert!(TcpStream::connect(web.door()).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn the_client_finishes_what_is_in_flight_and_exits_0() {
    let mut web = Web::up().await;
    assert_eq!(signal_during(&web, 1_000, &web.tunnel.program).await, 200);
    let (status, _) = web.tunnel.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", web.tunnel.program.said());
}

#[tokio::test]
async fn a_draining_server_is_not_ready_and_takes_nobody_new() {
    let web = Web::up().await;
    let mut slow = Raw::open(web.door()).await;
    slow.send(format!("GET /slow?ms=4000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let there = async || (web.service.tally().get(|tally| &tally.waiting) == 1).then_some(());
    until("the request is at the service", SOON, there).await;
    web.server.program.signal(Signal::TERM);
    let ops = web.server.listen().ops;
    let not_ready = async || {
        visitor::try_get(ops, "localhost", "/readyz").await.is_ok_and(|it| it.status == 503).then_some(())
    };
    until("/readyz answers 503", SOON, not_ready).await;
    let refused = async || match visitor::try_get(web.door(), HOST, "/").await {
        Err(_) => true,
        Ok(answer) => answer.status == 503,
    };
    throughout("new visitors are refused", Duration::from_millis(500), refused).await;
    assert!(slow.head().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_second_signal_ends_either_program_at_once() {
    for which in ["server", "client"] {
        let mut web = Web::up().await;
        let mut slow = Raw::open(web.door()).await;
        slow.send(format!("GET /slow?ms=60000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let there = async || (web.service.tally().get(|tally| &tally.waiting) == 1).then_some(());
        until("the request is at the service", SOON, there).await;
        let program = if which == "server" { &mut web.server.program } else { &mut web.tunnel.program };
        program.signal(Signal::TERM);
        throughout("it drains", Duration::from_millis(500), async || program.is_running()).await;
        program.signal(Signal::TERM);
        let (_, took) = program.ended(SOON).await;
        assert!(took < promised(Duration::from_secs(1)), "the {which} took {took:?}");
        let (answer, end) = slow.rest(SOON).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let told = answer.starts_with("HTTP/1.1 502") || answer.starts_with("HTTP/1.1 503");
        assert!(told || (answer.is_empty() && end != End::Open), "after the end of the {which}: {answer}");
    }
}

#[tokio::test]
async fn an_interactive_client_waits_two_seconds_for_requests_and_not_for_tcp() {
    let web = Web::up().await;
    let mut slow = Raw::open(web.door()).await;
    slow.send(format!("GET /slow?ms=60000 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let there = async || (web.service.tally().get(|tally| &tally.waiting) == 1).then_some(());
    until("the request is at the service", SOON, there).await;
    let Web { mut tunnel, .. } = web;
    tunnel.program.signal(Signal::INT);
    let (status, took) = tunnel.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0));
    assert!(took > Duration::from_secs(1) && took < promised(Duration::from_secs(4)), "{took:?}");

    let wire = Wire::to_tcp(TcpService::echo().await).await;
    let mut raw = Raw::open(wire.door()).await;
    raw.send("x").await;
    raw.exactly(1).await;
    let Wire { mut tunnel, .. } = wire;
    tunnel.program.signal(Signal::INT);
    let (_, took) = tunnel.program.ended(SOON).await;
    assert!(took < promised(Duration::from_secs(2)), "{took:?}");
    assert_eq!(raw.rest(SOON).await.1, End::Reset);
}

#[tokio::test]
async fn an_idle_server_stops_at_once_although_clients_and_visitors_are_connected() {
    let wire = Wire::scripted("hello", Ending::Fin).await;
    let mut idle = Raw::open(wire.server.listen().http).await;
    let Wire { mut server, tunnel, .. } = wire;
    server.program.signal(Signal::TERM);
    let (status, took) = server.program.ended(SOON).await;
    assert_eq!(status.code(), Some(0), "{}", server.program.said());
    assert!(took < promised(Duration::from_secs(5)), "{took:?}");
    assert_ne!(idle.rest(SOON).await.1, End::Open);
    drop(tunnel);
}
