//! What the handles, the substreams and the driver of a session share: the multiplexer, and who waits for what.
//!
//! The lock is held for as long as it takes to move a few pointers; never across an await, a system call or a wake-up.

use std::sync::Arc;
use std::task::{Context, Waker};

use parking_lot::Mutex;
use protocol::mux::{Key, Mux, Notice};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Liveness, SessionEnd};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) liveness: Arc<Liveness>,
    pub(super) end: watch::Sender<Option<SessionEnd>>,
    pub(super) close: CancellationToken,
    state: Mutex<State>,
}

/// The multiplexer, and the tasks that wait for it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) mux: Mux,
    /// By [`Key::slot`].
    waiting: Vec<Waiting>,
    acceptor: Option<Waker>,
    /// Set while the driver has nothing to send.
    driver: Option<Waker>,
    pub(super) is_over: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    pub(super) fn new(mux: Mux, liveness: Arc<Liveness>) -> Self {
        let state = State { mux, waiting: Vec::new(), acceptor: None, driver: None, is_over: false };
        Self {
            liveness,
            end: watch::Sender::new(None),
            close: CancellationToken::new(),
            state: Mutex::new(state),
        }
    }

    /// Does something with the multiplexer, then wakes whom that concerns.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut wake = Wakers::default();
        let mut state = self.state.lock();
        let result = act(&mut state);
        state.notify(&mut wake);
        if state.mux.has_output()
            && let Some(driver) = state.driver.take()
        {
            wake.add(driver);
        }
        drop(state);
        wake.wake();
        result
    }

    /// The same for the driver, which wakes the others when it has done its turn.
    pub(super) fn drive<R>(&self, wake: &mut Wakers, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state);
        state.notify(wake);
        result
    }

    /// The first end is the true one. Everyone who waits learns of it.
    pub(super) fn ended(&self, end: SessionEnd) {
        let mut wake = Wakers::default();
        let mut state = self.state.lock();
        if state.is_over {
            return;
        }
        state.is_over = true;
        for waiting in &mut state.waiting {
            wake.0.extend(waiting.reader.take());
            wake.0.extend(waiting.writer.take());
        }
        wake.0.extend(state.acceptor.take());
        // Who sees that it is over can ask why.
        self.end.send_replace(Some(end));
        drop(state);
        wake.wake();
    }
}

impl State {
    pub(super) fn read_later(&mut self, key: Key, cx: &Context<'_>) {
        if let Some(waiting) = self.waiting(key) {
            register(&mut waiting.reader, cx);
        }
    }

    pub(super) fn write_later(&mut self, key: Key, cx: &Context<'_>) {
        if let Some(waiting) = self.waiting(key) {
            register(&mut waiting.writer, cx);
        }
    }

    pub(super) fn accept_later(&mut self, cx: &Context<'_>) {
        register(&mut self.acceptor, cx);
    }

    pub(super) fn drive_later(&mut self, cx: &Context<'_>) {
        register(&mut self.driver, cx);
    }

    /// Nobody waits for this substream any more.
    pub(super) fn forget(&mut self, key: Key) {
        if let Some(waiting) = self.waiting.get_mut(key.slot()) {
            *waiting = Waiting::default();
        }
        if self.mux.substreams() == 0 {
            self.waiting = Vec::new();
        }
    }

    fn waiting(&mut self, key: Key) -> Option<&mut Waiting> {
        let slot = key.slot();
        if slot >= self.waiting.len() {
            self.waiting.resize_with(slot.saturating_add(1), Waiting::default);
        }
        self.waiting.get_mut(slot)
    }

    fn notify(&mut self, wake: &mut Wakers) {
        while let Some(notice) = self.mux.poll_event() {
            let waker = match notice {
                Notice::Acceptable => self.acceptor.take(),
                Notice::Readable(key) => self.waiting.get_mut(key.slot()).and_then(|w| w.reader.take()),
                Notice::Writable(key) => self.waiting.get_mut(key.slot()).and_then(|w| w.writer.take()),
            };
            wake.0.extend(waker);
        }
    }
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

/// Tasks to wake once the lock is gone, and at the latest when this is dropped: nobody else knows of them any more.
#[derive(Debug, Default)]
pub(super) struct Wakers(Vec<Waker>);

impl Drop for Wakers {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Wakers {
    fn add(&mut self, waker: Waker) {
        self.0.push(waker);
    }

    /// Wakes them, and is empty.
    pub(super) fn wake(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}
