//! The plugins of a route, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use ops::spawn::Spawner;
use tokio::sync::Semaphore;

use super::seat::{OnFailure, Seat};
use super::{Call, Flow, Reply, RequestHead, ResponseHead};
use crate::access::AccessLine;
use crate::headers::is_hop_by_hop;

/// Ends of requests that plugins are still busy with, in the process; those above are not told.
const ENDINGS: usize = 1_024;
static ENDING: Semaphore = Semaphore::const_new(ENDINGS);

/// The plugins of a route, in order; usually none. A clone is the same chain.
#[derive(Debug, Clone, Default)]
pub struct Chain(Option<Arc<[Arc<Seat>]>>);

impl Chain {
    /// These, in order.
    #[must_use]
    pub fn new(seats: Vec<Arc<Seat>>) -> Self {
        Self((!seats.is_empty()).then(|| seats.into()))
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether these are the very plugins of `other`.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.seats(), other.seats());
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// The names of the plugins, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.seats().iter().map(|seat| &*seat.name)
    }

    fn seats(&self) -> &[Arc<Seat>] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Takes a request through the chain.
    pub(crate) fn begin(&self, request: RequestHead) -> Plugged {
        Plugged { chain: self.clone(), request, passed: 0, seen: Arc::default() }
    }
}

/// A request with the plugins that it goes through.
#[derive(Debug)]
pub(crate) struct Plugged {
    chain: Chain,
    pub(crate) request: RequestHead,
    /// How many plugins have let it pass.
    passed: usize,
    /// How many have seen it.
    seen: Arc<AtomicUsize>,
}

impl Plugged {
    /// One plugin after the other, until one answers. The answer has been through [`Self::on_response`] only if the
    /// caller does that.
    pub(crate) async fn on_request(&mut self) -> Flow {
        let Self { chain, request, passed, seen } = self;
        for seat in chain.seats() {
            seen.fetch_add(1, Ordering::Relaxed);
            // Whoever fails has changed nothing. Of a request that goes no further, that does not matter.
            let before = (seat.on_failure == OnFailure::Open).then(|| request.clone());
            // Boxed: most requests have no plugin, and room for their way to a member.
            match Box::pin(seat.call("on_request", |plugin| plugin.on_request(request))).await {
                Ok(Flow::Pass) => {}
                Ok(answer) => return answer,
                Err(_) => match before {
                    Some(before) => *request = before,
                    None => return Flow::Answer(Box::new(Reply::broken())),
                },
            }
            *passed = passed.saturating_add(1);
        }
        Flow::Pass
    }

    /// The plugins that have let the request pass, the last one first. The reply is what is answered instead, if a plugin
    /// fails that must not.
    pub(crate) async fn on_response<B>(&mut self, response: &mut Response<B>) -> Result<(), Box<Reply>> {
        let mut headers = std::mem::take(response.headers_mut());
        let framing = take_framing(&mut headers);
        let mut head = ResponseHead::new(response.status(), headers);
        let ended = self.pass_back(&mut head).await;
        // What plugins do not decide about is as it was.
        take_framing(&mut head.headers);
        head.headers.extend(framing);
        *response.headers_mut() = head.headers;
        ended
    }

    async fn pass_back(&self, head: &mut ResponseHead) -> Result<(), Box<Reply>> {
        let seats = self.chain.seats().get(..self.passed).unwrap_or_default();
        for seat in seats.iter().rev() {
            let before = (seat.on_failure == OnFailure::Open).then(|| head.clone());
            let request = &self.request;
            if seat.call("on_response", |plugin| plugin.on_response(request, head)).await.is_err() {
                match before {
                    Some(before) => *head = before,
                    None => return Err(Box::new(Reply::broken())),
                }
            }
        }
        Ok(())
    }

    /// What is to be told when the request is over; may be asked for before the first plugin has seen it.
    pub(crate) fn ending(&self, spawner: &Spawner) -> Ending {
        Ending { chain: self.chain.clone(), seen: self.seen.clone(), spawner: spawner.clone() }
    }
}

/// Takes out the fields of a response that concern the connection or tell where the body ends.
fn take_framing(headers: &mut HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let is_framing = |name: &HeaderName| is_hop_by_hop(name) || *name == CONTENT_LENGTH;
    let framing = headers.iter().filter(|(name, _)| is_framing(name));
    let framing: Vec<_> = framing.map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, _) in &framing {
        headers.remove(name);
    }
    framing
}

/// Tells plugins that a request is over.
pub(crate) struct Ending {
    chain: Chain,
    seen: Arc<AtomicUsize>,
    spawner: Spawner,
}

impl Ending {
    /// In order; those that take their time are waited for in a task of their own.
    pub(crate) fn tell(self, line: &AccessLine) {
        let mut later = Vec::new();
        let seen = self.seen.load(Ordering::Relaxed);
        for seat in self.chain.seats().get(..seen).unwrap_or_default() {
            match seat.begin("on_end", || seat.plugin.clone().on_end(line)) {
                Ok(Call::Now(Ok(()))) | Err(_) => {}
                Ok(call) => later.push((seat.clone(), call)),
            }
        }
        if later.is_empty() {
            return;
        }
        let Ok(place) = ENDING.try_acquire() else {
            tracing::warn!("plugins are busy with the ends of too many requests: one is not told");
            return;
        };
        self.spawner.spawn(self.spawner.here(), "plugin end", async move {
            for (seat, call) in later {
                // What failed is logged and counted; there is nobody else to tell.
                let _ = seat.wait("on_end", call).await;
            }
            drop(place);
        });
    }
}
