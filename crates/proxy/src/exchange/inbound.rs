//! The request on its way to the service, and the watch over the opener once all of it is there.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use protocol::code::Code;
use protocol::exchange::{Message, encode_stop};
use tokio::time::Instant;

use super::outbox::Frames;
use super::request_body::{BodyFeed, NotWanted};
use super::{Broken, Channel};
use crate::headers::restore_trailers;
use transport::deadline::Deadline;

/// How often an opener is looked at that can not be heard, because nobody takes what it sent before.
const LOOK: Duration = Duration::from_millis(500);

/// How this direction ends the whole exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The opener broke off, or broke the rules.
    Gone,
    /// The service does not take the body.
    Unread,
}

/// The direction from the opener to the service.
#[derive(Debug)]
pub(super) struct Inbound {
    state: State,
    /// When the request was complete.
    complete: Option<Instant>,
    bytes: u64,
    /// Something of the body has come.
    touched: bool,
    /// Since when the service has not taken the body.
    blocked: Option<Instant>,
    next_look: Instant,
    look: Deadline,
}

#[derive(Debug)]
enum State {
    /// The body is passed on.
    Feeding(BodyFeed),
    /// The service wants no more of the body; `told`: the opener knows.
    Discarding { told: bool },
    /// Nothing more comes but the end of the substream, or a reset.
    Watching,
    /// The opener has closed its way.
    Closed,
}

impl Inbound {
    /// `feed` takes the body, if there is one.
    pub(super) fn new(feed: Option<BodyFeed>) -> Self {
        let now = Instant::now();
        Self {
            complete: feed.is_none().then_some(now),
            state: feed.map_or(State::Watching, State::Feeding),
            bytes: 0,
            touched: false,
            blocked: None,
            next_look: now,
            look: Deadline::default(),
        }
    }

    /// Passes on what has come. Ready only if it ends the exchange.
    pub(super) fn poll(
        &mut self,
        channel: &mut Channel,
        stalled: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Over> {
        loop {
            match &mut self.state {
                State::Feeding(feed) => match feed.poll_ready(cx) {
                    Poll::Pending => return self.poll_blocked(channel, stalled, cx),
                    Poll::Ready(Err(NotWanted)) => {
                        self.state = State::Discarding { told: false };
                        continue;
                    }
                    Poll::Ready(Ok(())) => self.blocked = None,
                },
                State::Discarding { .. } | State::Watching => {}
                State::Closed => return channel.poll_broken(cx).map(|()| Over::Gone),
            }
            match ready!(channel.poll_message(cx)) {
                Ok(message) => {
                    if self.pass(message, channel).is_none() {
                        return Poll::Ready(Over::Gone);
                    }
                }
                Err(Broken::Ended) if matches!(self.state, State::Watching) => self.state = State::Closed,
                Err(_) => return Poll::Ready(Over::Gone),
            }
        }
    }

    /// None if the message ends the exchange.
    fn pass(&mut self, message: Message, channel: &mut Channel) -> Option<()> {
        let passed = match (&mut self.state, message) {
            (State::Watching | State::Closed, Message::End) => Ok(()),
            (State::Discarding { .. }, Message::Data(_)) => {
                self.stop(channel);
                Ok(())
            }
            (State::Discarding { .. }, Message::Trailers(_)) => Ok(()),
            (State::Discarding { .. }, Message::End) => {
                self.end();
                Ok(())
            }
            (State::Feeding(feed), Message::Data(data)) => {
                self.bytes = self.bytes.saturating_add(length(&data));
                self.touched = true;
                feed.data(data)
            }
            (State::Feeding(feed), Message::Trailers(fields)) => feed.trailers(restore_trailers(&fields)),
            (State::Feeding(feed), Message::End) => {
                let ended = feed.end();
                self.end();
                ended
            }
            // A reset, or an opener that reads no more of the response.
            _ => return None,
        };
        if passed == Err(NotWanted) && self.complete.is_none() {
            self.state = State::Discarding { told: false };
        }
        Some(())
    }

    fn end(&mut self) {
        self.state = State::Watching;
        self.complete = Some(Instant::now());
    }

    /// Tells the opener, once, that the rest of the body is of no use.
    pub(super) fn stop(&mut self, channel: &mut Channel) {
        let told = matches!(self.state, State::Discarding { told: true } | State::Watching | State::Closed);
        // One that can not be told sends on for nothing.
        if !told && encode_stop(Code::NOT_WANTED, channel.out.buffer()).is_ok() {
            self.state = State::Discarding { told: true };
        }
    }

    /// When the request was complete.
    pub(super) const fn complete(&self) -> Option<Instant> {
        self.complete
    }

    /// Whether nothing of a body has come: it may still be waiting to be asked for.
    pub(super) const fn is_untouched(&self) -> bool {
        self.complete.is_none() && !self.touched
    }

    /// Bytes passed on since the last call.
    pub(super) const fn take_bytes(&mut self) -> u64 {
        std::mem::replace(&mut self.bytes, 0)
    }

    fn poll_blocked(&mut self, channel: &Channel, stalled: Duration, cx: &mut Context<'_>) -> Poll<Over> {
        let since = *self.blocked.get_or_insert_with(Instant::now);
        if since.elapsed() >= stalled {
            return Poll::Ready(Over::Unread);
        }
        self.poll_look(channel, cx)
    }

    fn poll_look(&mut self, channel: &Channel, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            if channel.is_broken() {
                return Poll::Ready(Over::Gone);
            }
            ready!(self.look.poll(self.next_look, cx));
            let now = Instant::now();
            self.next_look = now.checked_add(LOOK).unwrap_or(now);
        }
    }
}

fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}
