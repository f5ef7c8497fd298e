//! The handle by which the rest of the program knows a session, reads how it is, and tells it what to do.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use policy::principal::Principal;
use protocol::control::{Close, CloseReason, Notice};
use protocol::id::{ClientId, Generation, InstanceId, SessionId, Slot};
use protocol::text::Text;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport::session::Session;

use crate::identity::Means;

/// The longest drain: not every clock and timer goes as far as a [`Duration`].
const DRAIN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Notices that wait for a session's task; further ones are dropped: they inform, nothing depends on them.
const NOTICES: usize = 64;

/// Who is at the other end of a session, as its login proved or said.
#[derive(Debug, Clone)]
pub struct Login {
    /// Proved.
    pub principal: Principal,
    /// By this.
    pub means: Means,
    /// When the first of it ends.
    pub expires: Option<SystemTime>,
    /// The installation.
    pub client: ClientId,
    /// The process.
    pub instance: InstanceId,
    /// Which of its sessions.
    pub slot: Slot,
    /// The session that this one stands in for.
    pub replaces: Option<SessionId>,
    /// What the client calls itself.
    pub name: String,
    /// Program and version.
    pub agent: String,
    /// Where the connection comes from.
    pub peer: SocketAddr,
    /// Whether it can be handed parts of the configuration.
    pub takes_parts: bool,
}

/// A session that was let in. It lives until its task ends, which is at most a second after [`Live::cut`].
#[derive(Debug)]
pub struct Live {
    /// Its number.
    pub id: SessionId,
    /// Newer is greater.
    pub generation: Generation,
    /// Who is at the other end.
    pub login: Login,
    /// Since when.
    pub since: Instant,
    link: Session,
    rtt_us: AtomicU64,
    cut: CancellationToken,
    farewell: OnceLock<Close>,
    drain: watch::Sender<Option<DrainOrder>>,
    /// Asked for every visitor, so it takes no lock.
    draining: AtomicBool,
    notices: mpsc::Sender<Notice>,
    parts: watch::Sender<()>,
}

/// That a session comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOrder {
    /// By when.
    pub until: Instant,
    /// Why.
    pub cause: DrainCause,
}

/// Why a session drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainCause {
    /// A newer session has its slot: no new work, and it ends when the old work is done.
    Replaced,
    /// The client asked for it: the same, and the client need not be told.
    Asked,
    /// The server stops: the client is told and may look for another one; work goes on until the server ends the session.
    Shutdown,
}

/// What a session's task listens to.
#[derive(Debug)]
pub struct Orders {
    /// By when and why the session comes to its end.
    pub drain: watch::Receiver<Option<DrainOrder>>,
    /// What to tell the person at the other end.
    pub notices: mpsc::Receiver<Notice>,
    /// Changes when its instance may have other parts of the configuration to hold.
    pub parts: watch::Receiver<()>,
}

/// No round trip measured yet.
const UNKNOWN: u64 = u64::MAX;

impl Live {
    /// The handle to `link`, and what its task needs.
    #[must_use]
    pub fn new(id: SessionId, generation: Generation, login: Login, link: Session) -> (Self, Orders) {
        let (drain, drain_orders) = watch::channel(None);
        let (notices, notice_orders) = mpsc::channel(NOTICES);
        let (parts, part_orders) = watch::channel(());
        let live = Self {
            id,
            generation,
            login,
            since: Instant::now(),
            link,
            rtt_us: AtomicU64::new(UNKNOWN),
            cut: CancellationToken::new(),
            farewell: OnceLock::new(),
            drain,
            draining: AtomicBool::new(false),
            notices,
            parts,
        };
        (live, Orders { drain: drain_orders, notices: notice_orders, parts: part_orders })
    }

    /// Opens and accepts substreams.
    #[must_use]
    pub fn link(&self) -> &Session {
        &self.link
    }

    /// Ends the session; the first reason is the one that the client hears. Returns at once.
    pub fn cut(&self, reason: CloseReason, text: impl Into<Text>) {
        if self.farewell.set(Close { reason, text: text.into() }).is_ok() {
            self.cut.cancel();
        }
    }

    /// Waits until somebody cuts the session, and says with which words.
    pub async fn was_cut(&self) -> Close {
        self.cut.cancelled().await;
        // Set before the token is cancelled.
        let shutdown = || Close { reason: CloseReason::SHUTDOWN, text: Text::default() };
        self.farewell.get().cloned().unwrap_or_else(shutdown)
    }

    /// Lets the session come to its end within `within`. A session that drains already does so at the earlier moment.
    pub fn drain(&self, within: Duration, cause: DrainCause) {
        if cause != DrainCause::Shutdown {
            self.draining.store(true, Ordering::Relaxed);
        }
        let now = Instant::now();
        let until = now.checked_add(within.min(DRAIN_MAX)).unwrap_or(now);
        let order = DrainOrder { until, cause };
        self.drain.send_if_modified(|current| {
            let first = current.is_none_or(|it| it.cause == DrainCause::Shutdown || order.until < it.until);
            if first {
                *current = Some(order);
            }
            first
        });
    }

    /// Tells the person at the other end something.
    pub fn notify(&self, notice: Notice) {
        // A full queue: the client does not read, and will not read this either.
        drop(self.notices.try_send(notice));
    }

    /// Its instance may have other parts of the configuration to hold.
    pub fn look_at_parts(&self) {
        self.parts.send_replace(());
    }

    /// Whether it takes no new work because it comes to its end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether its client was told that the server stops, and nothing else since.
    #[must_use]
    pub fn is_told_to_go(&self) -> bool {
        self.drain.borrow().is_some_and(|order| order.cause == DrainCause::Shutdown)
    }

    /// Whether it is over or about to be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.farewell.get().is_some() || self.link.is_closed()
    }

    /// Whether new substreams may be opened on it.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        !self.is_over() && !self.is_draining()
    }

    /// The round-trip time of the last heartbeat.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        Some(self.rtt_us.load(Ordering::Relaxed)).filter(|us| *us != UNKNOWN).map(Duration::from_micros)
    }

    /// Notes a round trip.
    pub fn measured(&self, rtt: Duration) {
        let us = u64::try_from(rtt.as_micros()).unwrap_or(UNKNOWN - 1);
        self.rtt_us.store(us, Ordering::Relaxed);
    }

    /// Requests and connections on it: its substreams without the control substream.
    #[must_use]
    pub fn load(&self) -> usize {
        self.link.substreams_open().saturating_sub(1)
    }
}
