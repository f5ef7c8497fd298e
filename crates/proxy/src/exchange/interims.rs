//! Interim responses that a service has sent and that were not passed on yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, StatusCode};
use parking_lot::Mutex;

use crate::ingress::{INTERIM_MAX, INTERIM_SIZE_MAX};

/// Between the connection to a service, which hears them, and the exchange. What is above the bounds is dropped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interims(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    /// There is a connection on which they may come.
    connected: AtomicBool,
}

#[derive(Debug, Default)]
struct Heard {
    heads: VecDeque<(StatusCode, HeaderMap)>,
    /// How many there were.
    count: usize,
    waker: Option<Waker>,
}

impl Interims {
    /// Another one has come.
    pub(crate) fn push(&self, status: StatusCode, headers: &HeaderMap) {
        let lengths = headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
        let mut heard = self.0.heard.lock();
        if heard.count >= INTERIM_MAX || lengths.fold(0, usize::saturating_add) > INTERIM_SIZE_MAX {
            return;
        }
        heard.count = heard.count.saturating_add(1);
        heard.heads.push_back((status, headers.clone()));
        if let Some(waker) = heard.waker.take() {
            waker.wake();
        }
    }

    /// The service is connected.
    pub(crate) fn connected(&self) {
        self.0.connected.store(true, Ordering::Relaxed);
    }

    /// Whether the service is connected, as far as whoever waits for the response has been told.
    pub(super) fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    /// The next one.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<(StatusCode, HeaderMap)> {
        let mut heard = self.0.heard.lock();
        if let Some(head) = heard.heads.pop_front() {
            return Poll::Ready(head);
        }
        if !heard.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            heard.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}
