//! D03: everybody comes back at once after the server was killed. And what many names cost.

use std::time::{Duration, Instant};

use tests::fixture::HttpService;
use tests::fleet::{Fleet, Plan, densest};
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, promised, until};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::long;

/// A name that no client serves, and which is to be answered all the time.
const FRONT: &str = "front.localhost";
/// By then everybody is back.
const BACK: Duration = Duration::from_secs(60);
/// Of those who come back, at most so many in any second: 15 % of a thousand.
const A_SECOND: usize = 150;
/// Above what an idle server holds.
const MEMORY: u64 = 300 << 20;
const P99: Duration = Duration::from_secs(1);
/// Between two visits.
const EVERY: Duration = Duration::from_millis(20);

/// The server of a service next to it, which visitors reach without any client.
async fn server(service: &HttpService) -> Tunneld {
    let config = format!(
        "service = [{{ name = \"front\", servers = [{{ address = \"http://{}\" }}] }}]\n\
         rule = [{{ name = \"front\", host = \"{FRONT}\", to = \"front\" }}]\n",
        service.addr()
    );
    Tunneld::configured(|_| config, &[]).await
}

async fn all_up(fleet: &Fleet, clients: usize) {
    let up = async || (fleet.up() == clients).then_some(());
    until(&format!("{clients} clients are up; {:?}", fleet.failures()), BACK, up).await;
}

/// One storm; `spread`: every client comes from an address of its own.
async fn storm(clients: usize, spread: bool) {
    let service = HttpService::start().await;
    let mut server = server(&service).await;
    assert_eq!(server.visit(FRONT, "/").await, 200);
    let idle = server.program.memory();
    let seed = rand::random();
    println!("D03: {clients} clients, own addresses: {spread}, seed {seed}");
    let fleet = Fleet::start(&[server.join()], Plan { clients, names: 1, spread, seed });
    let began = Instant::now();
    all_up(&fleet, clients).await;
    println!(
        "  all are up after {:?}; the server holds {} MiB",
        began.elapsed(),
        server.program.memory() >> 20
    );

    server.kill();
    let refused = fleet.attempts();
    let everybody = async || (fleet.attempts() >= refused + 2 * clients).then_some(());
    until("everybody has found the server gone", SOON, everybody).await;
    assert_eq!(fleet.up(), 0);
    let (began, before) = (Instant::now(), fleet.attempts());
    server.start_again().await;
    let door = server.listen().http;
    let visits = async {
        let (mut ticks, mut running, mut took) = (interval(EVERY), JoinSet::new(), Vec::new());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while fleet.up() < clients && began.elapsed() < BACK {
            ticks.tick().await;
            running.spawn(async move {
                let asked = Instant::now();
                let answer = visitor::try_get(door, FRONT, "/").await;
                (answer.is_ok_and(|answer| answer.status == 200), asked.elapsed())
            });
            while let Some(visit) = running.try_join_next() {
                took.push(visit.unwrap());
            }
        }
        took.extend(running.join_all().await);
        took
    };
    let (visits, ()) = tokio::join!(visits, all_up(&fleet, clients));

    let (welcomes, arrivals) = (fleet.welcomes(began), fleet.arrivals(began));
    let last = arrivals.get(clients - 1).copied().unwrap();
    let a_second = densest(&welcomes, Duration::from_secs(1));
    let failed = visits.iter().filter(|(served, _)| !served).count();
    let mut took: Vec<_> = visits.into_iter().map(|(_, took)| took).collect();
    took.sort_unstable();
    let p99 = took[(took.len() * 99).div_ceil(100) - 1];
    let peak = server.program.peak_memory();
    println!(
        "  back after {last:?}, at most {a_second} in a second, with {} attempts, of which {} were put off; memory {} MiB \
         idle, {} MiB at most; {} visits meanwhile, p99 {p99:?}",
        fleet.attempts() - before,
        fleet.put_off(),
        idle >> 20,
        peak >> 20,
        took.len(),
    );
    println!("  what failed: {:?}", fleet.failures());
    assert_eq!(failed, 0, "visits failed meanwhile");
    assert!(last <= BACK, "{last:?}");
    assert!(a_second <= A_SECOND, "{a_second} in a second");
    assert!(peak <= idle + MEMORY, "{peak} bytes");
    // In a slow build everybody's logins take what two cores have, and this process has its half of them.
    assert!(!long() || p99 < P99, "{p99:?}");
    server.has_sessions(clients as u64, SOON).await;
    assert_eq!(server.visit(FRONT, "/").await, 200);
}

#[tokio::test]
async fn d03_everybody_comes_back_at_once() {
    let clients = if long() { 1_000 } else { 300 };
    storm(clients, false).await;
    if long() {
        storm(clients, true).await;
    }
}

#[tokio::test]
async fn many_names_are_held_and_shown() {
    let (clients, names) = if long() { (10, 1_000) } else { (4, 500) };
    let service = HttpService::start().await;
    let server = server(&service).await;
    let idle = server.program.memory();
    let mut joins = Vec::new();
    for n in 0..clients {
        joins.push(server.invite(&format!("owner-{n}"), &["--host", "*.localhost"]).await);
    }
    let began = Instant::now();
    let fleet = Fleet::start(&joins, Plan { clients, names, spread: false, seed: 1 });
    all_up(&fleet, clients).await;
    let took = began.elapsed();
    let asked = Instant::now();
    let status = server.status().await;
    let status_took = asked.elapsed();
    let listed = status["names"].as_array().map_or(0, Vec::len);
    let asked = Instant::now();
    let metrics = visitor::get(server.listen().ops, "localhost", "/metrics").await;
    let metrics_took = asked.elapsed();
    println!(
        "{} names: registered in {took:?}, {} MiB more; status in {status_took:?}, metrics in {metrics_took:?} ({} KiB)",
        clients * names,
        server.program.memory().saturating_sub(idle) >> 20,
        metrics.body.len() >> 10
    );
    assert_eq!(listed, clients * names);
    assert!(
        status_took < promised(Duration::from_secs(2)) && metrics_took < promised(Duration::from_secs(1))
    );
    assert_eq!(server.visit(FRONT, "/").await, 200);
}
