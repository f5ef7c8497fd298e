//! D05: one of two members of a group is killed under load.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tests::fixture::Ledger;
use tests::leak::Baseline;
use tests::pattern;
use tests::tunnelc::{Home, SESSIONS, Tunnelc};
use tests::tunneld::Tunneld;
use tests::visitor::{empty, full, request, try_send};
use tests::wait::{SOON, until};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::long;
use crate::stage::HOST;

/// Requests begin this far apart: 200 a second.
const EVERY: Duration = Duration::from_millis(5);
/// By then nobody asks the dead one any more; on a busy machine its server hears of its death only when it gets its turn.
const SHIFTED: Duration = Duration::from_millis(100);
const SHIFTED_BUSY: Duration = Duration::from_millis(400);
const ANSWER: usize = 100;
/// So long a service works on a request: some are in progress when its member dies.
const TAKES: Duration = Duration::from_millis(40);

/// One request of the load.
struct Asked {
    path: String,
    begun: Instant,
    served: bool,
}

/// How far a load has come.
#[derive(Default)]
struct Load {
    begun: AtomicUsize,
    done: AtomicUsize,
    /// No more begin from this one on.
    most: AtomicUsize,
}

impl Load {
    /// Sends GET and POST in turn, until there are enough; what became of them.
    async fn run(&self, door: SocketAddr, round: usize) -> Vec<Asked> {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = JoinSet::new();
        let mut asked = Vec::new();
        loop {
            let number = self.begun.load(Ordering::Relaxed);
            if number >= self.most.load(Ordering::Relaxed) {
                break;
            }
            ticks.tick().await;
            self.begun.fetch_add(1, Ordering::Relaxed);
            running.spawn(ask(door, round, number));
            while let Some(done) = running.try_join_next() {
                asked.push(done.unwrap());
                self.done.fetch_add(1, Ordering::Relaxed);
            }
        }
        asked.extend(running.join_all().await);
        asked
    }
}

async fn ask(door: SocketAddr, round: usize, number: usize) -> Asked {
    // Members take turns: each shall get both.
    let (method, body) = if number % 4 < 2 { ("GET", empty()) } else { ("POST", full("once")) };
    let path = format!("/{method}/{round}/{number}");
    let begun = Instant::now();
    let answer = try_send(door, request(method, HOST, &path, body)).await;
    let served = answer.is_ok_and(|it| it.status == 200 && it.body == pattern::all(ANSWER));
    Asked { path, begun, served }
}

struct Member {
    home: Home,
    ledger: Ledger,
    tunnel: Tunnelc,
}

impl Member {
    async fn join(join: &str) -> Self {
        let (home, ledger) = (Home::new(), Ledger::slow(ANSWER, TAKES).await);
        let tunnel = Self::start(&home, &ledger, join).await;
        Self { home, ledger, tunnel }
    }

    async fn start(home: &Home, ledger: &Ledger, join: &str) -> Tunnelc {
        home.http(join, ledger.addr(), &["--host", "demo", "--group", "web"]).await
    }

    async fn come_back(&mut self, join: &str) {
        self.tunnel = Self::start(&self.home, &self.ledger, join).await;
    }
}

/// One round; how many requests the death of the member has hit.
async fn round(number: usize, server: &Tunneld, join: &str, members: &mut [Member; 2]) -> u32 {
    let shifted_by = if long() { SHIFTED } else { SHIFTED_BUSY };
    let load = Load { most: AtomicUsize::new(usize::MAX), ..Load::default() };
    let before = [members[0].ledger.requests(), members[1].ledger.requests()];
    let dead = number % 2;
    let kill = async {
        let busy = async || {
            let both = members.iter().zip(before).all(|(member, before)| member.ledger.requests() > before);
            let in_progress = members[dead].ledger.unanswered() >= 2;
            (both && in_progress && load.done.load(Ordering::Relaxed) >= 60).then_some(())
        };
        until("both members are under load", SOON, busy).await;
        members[dead].tunnel.program.kill();
        let killed = Instant::now();
        let shifted = async || (killed.elapsed() > shifted_by).then_some(());
        until("the load has shifted", SOON, shifted).await;
        load.most.store(load.begun.load(Ordering::Relaxed) + 80, Ordering::Relaxed);
        killed
    };
    let (asked, killed) = tokio::join!(load.run(server.listen().http, number), kill);
    let [live, dead] = [&members[1 - dead].ledger, &members[dead].ledger];
    let (mut lost, mut sent_again) = (0, 0);
    for Asked { path, begun, served } in &asked {
        let times = live.count(path) + dead.count(path);
        if path.starts_with("/GET") {
            assert!(served, "{path} failed");
            sent_again += u32::from(times > 1);
        } else {
            assert!(times <= 1, "{path} was seen {times} times");
            lost += u32::from(!served);
        }
        if *begun > killed + shifted_by {
            assert!(*served && live.count(path) == 1, "{path} began after the load had shifted");
        }
    }
    println!("round {number}: {} requests, {sent_again} GETs sent again, {lost} POSTs lost", asked.len());
    members[number % 2].come_back(join).await;
    server.has_sessions(2 * SESSIONS, SOON).await;
    lost + sent_again
}

#[tokio::test]
async fn d05_a_member_dies_under_load() {
    let server = Tunneld::start().await;
    let join = server.invite("edge", &["--host", HOST, "--group", "web"]).await;
    let mut members = [Member::join(&join).await, Member::join(&join).await];
    server.has_sessions(2 * SESSIONS, SOON).await;
    assert_eq!(server.visit(HOST, "/").await, 200);
    let baseline = Baseline::of(&server, &members[0].tunnel.program).await;
    let mut hit = 0;
    for number in 0..if long() { 10 } else { 2 } {
        hit += round(number, &server, &join, &mut members).await;
    }
    assert!(hit > 0, "nothing was in progress when a member died");
    let [first, second] = members.map(|Member { tunnel, .. }| tunnel);
    baseline.holds(&server, &first.program).await;
    drop(second);
}
