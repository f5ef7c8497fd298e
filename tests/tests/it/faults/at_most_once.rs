//! D25: the path breaks behind every 64th byte of a request or its response, between the programs or before the service. A
//! POST reaches the services at most once; a GET a second time only if nothing of a response was passed on.

use std::fmt;

use futures_util::future::join_all;
use tests::fixture::Ledger;
use tests::link::{Link, Way};
use tests::pattern;
use tests::tunnelc::{Home, SESSIONS, Tunnelc};
use tests::tunneld::Tunneld;
use tests::visitor::{empty, full, request, try_send};
use tests::wait::{SOON, until, within};

use super::long;
use crate::stage::HOST;

/// Breaks are this far apart, in bytes, and there are so many places for one: more than anything has that passes.
const STEP: usize = 64;
const PLACES: usize = 24;
/// Bytes of a body, either way.
const BODY: usize = 700;

/// Where the path breaks.
#[derive(Debug, Clone, Copy)]
struct Break {
    /// Between the programs; otherwise before the service.
    session: bool,
    way: Way,
    behind: usize,
}

impl Break {
    /// The `n`-th.
    fn number(n: usize) -> Self {
        let way = if n.is_multiple_of(2) { Way::Up } else { Way::Down };
        Self { session: (n / 2).is_multiple_of(2), way, behind: n / 4 % PLACES * STEP }
    }
}

/// What happened in some runs.
#[derive(Default)]
struct Sums {
    runs: usize,
    /// The path did break, and not behind all that passed.
    breaks: usize,
    answered: usize,
    /// Requests that a service heard of twice.
    twice: usize,
    /// Sessions that have broken.
    broken: usize,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, breaks, answered, twice, .. } = self;
        write!(f, "{runs} requests, {breaks} breaks, {answered} answered, {twice} GETs sent twice")
    }
}

/// A group of two members that reach the same service; both paths are links.
struct World {
    server: Tunneld,
    ledger: Ledger,
    sessions: Link,
    service: Link,
    _members: [(Home, Tunnelc); 2],
}

impl World {
    async fn up() -> Self {
        let (server, ledger) = (Tunneld::start().await, Ledger::start(BODY).await);
        let sessions = Link::to(server.listen().tunnel).await;
        let service = Link::to(ledger.addr()).await;
        let join = sessions.join(&server.invite("edge", &["--host", HOST, "--group", "web"]).await);
        let member = async || {
            let home = Home::new();
            let tunnel = home.http(&join, service.addr(), &["--host", "demo", "--group", "web"]).await;
            (home, tunnel)
        };
        let members = [member().await, member().await];
        Self { server, ledger, sessions, service, _members: members }
    }

    /// Waits until all sessions are there, those that have come for `broken` ones too: until the server has heard that one is
    /// broken, it counts it.
    async fn has_sessions(&self, broken: usize) {
        let all = 2 * SESSIONS as usize + broken;
        let begun =
            || self.server.program.stderr().iter().filter(|line| line.contains("session began")).count();
        until("another session has begun", SOON, async || (begun() >= all).then_some(())).await;
        self.server.has_sessions(2 * SESSIONS, SOON).await;
    }

    /// One request, and what must be true of it.
    async fn run(&self, n: usize, sums: &mut Sums) {
        let at = Break::number(n);
        // The session breaks that carries the request, and none that is just being made.
        self.has_sessions(sums.broken).await;
        let link = if at.session { &self.sessions } else { &self.service };
        let post = (n / (4 * PLACES)).is_multiple_of(2);
        let (method, body) = if post { ("POST", full(pattern::all(BODY))) } else { ("GET", empty()) };
        let path = format!("/{method}/{n}");
        link.cut_behind(at.way, at.behind);
        let sent = try_send(self.server.listen().http, request(method, HOST, &path, body));
        let answer = within("an answer or an end", SOON, sent).await;
        let broke = link.spare();
        let times = self.ledger.count(&path);
        let whole = match &answer {
            Ok(answer) if answer.status == 200 => {
                assert!(answer.body == pattern::all(BODY), "{path} {at:?}: two answers in one");
                true
            }
            Ok(answer) => {
                assert_ne!(answer.field("x-tunnel-error"), "", "{path} {at:?}: {answer:?}");
                false
            }
            Err(_) => false,
        };
        assert!(whole || broke, "{path} {at:?}: {answer:?}");
        assert!(!whole || times >= 1, "{path} {at:?} was answered by nobody");
        assert!(times <= if post { 1 } else { 2 }, "{path} {at:?} was seen {times} times");
        // Something of a response had been passed on.
        assert!(
            answer.is_ok() || times <= 1,
            "{path} {at:?} was sent again behind the beginning of its answer"
        );
        sums.runs += 1;
        sums.breaks += usize::from(broke);
        sums.broken += usize::from(broke && at.session);
        sums.answered += usize::from(whole);
        sums.twice += usize::from(times == 2);
    }
}

/// The runs of one world: every `step`-th from `first` on.
async fn world(first: usize, step: usize, runs: usize) -> Sums {
    let world = World::up().await;
    let mut sums = Sums::default();
    for n in (first..runs).step_by(step) {
        world.run(n, &mut sums).await;
    }
    sums
}

#[tokio::test]
async fn d25_a_post_reaches_the_services_at_most_once() {
    // So many worlds side by side, each with a share of the runs.
    let (worlds, runs) = if long() { (8, 10_000) } else { (2, 2 * 4 * PLACES) };
    let mut all = Sums::default();
    for sums in join_all((0..worlds).map(|first| world(first, worlds, runs))).await {
        all.runs += sums.runs;
        all.breaks += sums.breaks;
        all.answered += sums.answered;
        all.twice += sums.twice;
    }
    println!("{all}");
    assert_eq!(all.runs, runs);
    assert!(all.breaks > runs / 3, "{all}");
    assert!(all.twice > 0, "no GET was sent again: {all}");
}
