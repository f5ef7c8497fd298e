//! Visitors that come at a steady pace while something changes. What they were to do and what they did is both reported: who
//! waits for an answer is late with the next request, but makes it nevertheless, and its time counts from when it was due.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::visitor::{Visitor, empty, request};

/// How many come side by side.
const SIDE_BY_SIDE: u32 = 20;
/// Of what has failed, so much is told of each.
const TOLD: usize = 10;

/// Visitors that ask for `/` of a host, every other one over a connection that he keeps as long as the server does.
#[derive(Debug)]
pub struct Load {
    per_second: u32,
    began: Instant,
    asked: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    visitors: JoinSet<Seen>,
}

/// What one visitor has seen.
#[derive(Debug, Default)]
struct Seen {
    took: Vec<Duration>,
    failures: Vec<String>,
}

/// What all of them have seen.
#[derive(Debug)]
pub struct Report {
    /// So many requests were to be made each second.
    pub wanted: u32,
    /// For so long.
    pub lasted: Duration,
    /// So many were made.
    pub asked: usize,
    /// So many were not answered by the service: refused, reset, or answered by somebody else.
    pub failed: usize,
    /// Some of these.
    pub failures: Vec<String>,
    /// How long those that were answered took from when they were due, in order.
    took: Vec<Duration>,
}

impl Load {
    /// So many a second, from now on.
    #[must_use]
    pub fn on(door: SocketAddr, host: &str, per_second: u32) -> Self {
        let began = Instant::now();
        let (asked, failed, over) = (Arc::default(), Arc::default(), Arc::default());
        let mut load = Self { per_second, began, asked, failed, over, visitors: JoinSet::new() };
        let each = Duration::from_secs(1) * SIDE_BY_SIDE / per_second;
        for number in 0..SIDE_BY_SIDE {
            let (asked, failed, over) = (load.asked.clone(), load.failed.clone(), load.over.clone());
            let host = host.to_owned();
            load.visitors.spawn(async move {
                let mut ticks = interval_at(began + each * number / SIDE_BY_SIDE, each);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let (mut kept, mut seen) = (None, Seen::default());
                loop {
                    let due = ticks.tick().await;
                    if over.load(Ordering::Relaxed) {
                        return seen;
                    }
                    let end = ask(door, &host, &mut kept, number % 2 == 0).await;
                    asked.fetch_add(1, Ordering::Relaxed);
                    match end {
                        Ok(()) => seen.took.push(due.elapsed()),
                        Err(failure) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            if seen.failures.len() < TOLD {
                                seen.failures.push(failure);
                            }
                        }
                    }
                }
            });
        }
        load
    }

    /// How many have asked so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many were not answered by the service so far.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Lets them go home.
    pub async fn end(self) -> Report {
        self.over.store(true, Ordering::Relaxed);
        let lasted = self.began.elapsed();
        let (mut took, mut failures) = (Vec::new(), Vec::new());
        for seen in self.visitors.join_all().await {
            took.extend(seen.took);
            failures.extend(seen.failures);
        }
        took.sort_unstable();
        let (asked, failed) = (self.asked.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        Report { wanted: self.per_second, lasted, asked, failed, failures, took }
    }
}

/// One request, over the connection that was kept or a new one.
async fn ask(door: SocketAddr, host: &str, kept: &mut Option<Visitor>, keeps: bool) -> Result<(), String> {
    let mut visitor = match kept.take() {
        Some(visitor) => visitor,
        None => Visitor::connect(door).await.map_err(|error| format!("refused: {error}"))?,
    };
    match visitor.whole(request("GET", host, "/", empty())).await {
        Ok(answer) if answer.status == 200 => {
            if keeps && answer.field("connection") != "close" {
                *kept = Some(visitor);
            }
            Ok(())
        }
        Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
        Err(error) => Err(format!("reset: {error:?}")),
    }
}

impl Report {
    /// How many were made each second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let asked = u32::try_from(self.asked).unwrap_or(u32::MAX);
        f64::from(asked) / self.lasted.as_secs_f64()
    }

    /// How long the answer took at most, of so many of a thousand.
    #[must_use]
    pub fn took(&self, of_thousand: usize) -> Duration {
        let at = (self.took.len() * of_thousand).div_ceil(1000).saturating_sub(1);
        self.took.get(at).copied().unwrap_or_default()
    }

    /// That this was the load that was promised, and that everybody was answered.
    ///
    /// # Panics
    ///
    /// When somebody was not, or `strict`ly speaking it was less of a load.
    pub fn is_flawless(&self, strict: bool) {
        assert_eq!(self.failed, 0, "{self}: {:#?}", self.failures);
        assert!(!strict || self.rate() >= f64::from(self.wanted) * 0.95, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, failed, wanted, .. } = self;
        write!(f, "{asked} requests, {failed} failed; offered {:.1}/s of {wanted}/s, ", self.rate())?;
        let [half, most, longest] = [500, 990, 1000].map(|of| self.took(of));
        write!(f, "answered within {half:.1?} (p50), {most:.1?} (p99), {longest:.1?} at most")
    }
}
