//! Visitors that come at a steady pace while something changes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::visitor::{Visitor, empty, request};

/// How many come side by side.
const SIDE_BY_SIDE: u32 = 8;

/// Visitors that ask for `/` of a host, every other one over a connection that he keeps.
#[derive(Debug)]
pub struct Load {
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    visitors: JoinSet<Vec<String>>,
}

impl Load {
    /// So many a second, from now on.
    #[must_use]
    pub fn on(door: SocketAddr, host: &str, per_second: u32) -> Self {
        let mut load = Self { asked: Arc::default(), over: Arc::default(), visitors: JoinSet::new() };
        for visitor in 0..SIDE_BY_SIDE {
            let (asked, over, host) = (load.asked.clone(), load.over.clone(), host.to_owned());
            load.visitors.spawn(async move {
                let mut ticks = interval(Duration::from_secs(1) * SIDE_BY_SIDE / per_second);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let (mut kept, mut failures) = (None, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    if visitor % 2 == 0 || kept.is_none() {
                        kept = Visitor::connect(door).await.ok();
                    }
                    let answer = match &mut kept {
                        Some(visitor) => visitor.whole(request("GET", &host, "/", empty())).await,
                        None => continue,
                    };
                    asked.fetch_add(1, Ordering::Relaxed);
                    match answer {
                        Ok(answer) if answer.status == 200 => {}
                        other => {
                            failures.push(format!("{other:?}"));
                            kept = None;
                        }
                    }
                }
                failures
            });
        }
        load
    }

    /// How many have asked so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Lets them go home. What was answered with something else than the service's 200.
    pub async fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.visitors.join_all().await.into_iter().flatten().collect()
    }
}
