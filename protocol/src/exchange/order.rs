//! Which message may follow which (`spec/07-exchange.md`, "Order"). One value per direction, at its reader.

use super::response_head::SWITCHING_PROTOCOLS;
use super::{Message, RequestHead, ResponseHead};
use crate::request::Status;

/// A message that may not come where it came; its sender broke the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message} does not belong {place}")]
pub struct OrderError {
    /// What came.
    pub message: &'static str,
    /// Where.
    pub place: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing yet.
    Start,
    /// Accepted; no head yet, or only informational ones.
    Accepted,
    /// An upgrade is asked for and not answered.
    Switching,
    /// Data, trailers.
    Body,
    /// Data only: what an upgrade led to.
    Switched,
    /// Nothing but the end.
    Tail,
    /// Ended; a stop may still come.
    Ended,
    /// Broken off or refused; nothing may come.
    Over,
}

impl State {
    fn place(self) -> &'static str {
        match self {
            Self::Start => "at the start",
            Self::Accepted => "before the head",
            Self::Switching => "before the answer to the upgrade",
            Self::Body => "in a body",
            Self::Switched => "after an upgrade",
            Self::Tail => "where only the end is left",
            Self::Ended | Self::Over => "after the end",
        }
    }

    /// What both directions have in common: everything after the head.
    fn after_head(self, message: &Message) -> Option<Self> {
        match (self, message) {
            (Self::Body | Self::Switched, Message::Data(_)) => Some(self),
            (Self::Body, Message::Trailers(_)) => Some(Self::Tail),
            (Self::Body | Self::Switched | Self::Tail | Self::Switching, Message::End) => Some(Self::Ended),
            (Self::Start | Self::Ended | Self::Over, Message::Reset { .. }) => None,
            (_, Message::Reset { .. }) => Some(Self::Over),
            _ => None,
        }
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Over)
    }
}

/// A direction: its state, and whether it has carried its one stop.
#[derive(Debug, Clone)]
struct Direction {
    state: State,
    stopped: bool,
}

impl Direction {
    fn new() -> Self {
        Self { state: State::Start, stopped: false }
    }

    fn accept(&mut self, message: &Message, next: Option<State>) -> Result<(), OrderError> {
        let stop = matches!(message, Message::Stop { .. });
        if stop && !self.stopped && !matches!(self.state, State::Start | State::Over) {
            self.stopped = true;
            return Ok(());
        }
        let error = OrderError { message: name(message), place: self.state.place() };
        self.state = next.ok_or(error)?;
        Ok(())
    }
}

/// The order of what the opener sends after the substream's head.
#[derive(Debug, Clone)]
pub struct RequestOrder(Direction);

impl RequestOrder {
    /// Before the request head.
    #[must_use]
    pub fn new() -> Self {
        Self(Direction::new())
    }

    /// Takes note of the next message.
    ///
    /// # Errors
    /// [`OrderError`] if it may not come here; the value is as before.
    pub fn accept(&mut self, message: &Message) -> Result<(), OrderError> {
        let next = match (self.0.state, message) {
            (State::Start, Message::Request(head)) => Some(Self::after(head)),
            (state, message) => state.after_head(message),
        };
        self.0.accept(message, next)
    }

    fn after(head: &RequestHead) -> State {
        if head.protocol.is_some() {
            State::Switching
        } else if head.bodyless {
            State::Tail
        } else {
            State::Body
        }
    }

    /// The acceptor has answered the upgrade with a 101: data may come now. Without an upgrade nothing changes.
    pub fn switched(&mut self) {
        if self.0.state == State::Switching {
            self.0.state = State::Switched;
        }
    }

    /// Whether the direction has ended, by `end` or `reset`.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.state.is_over()
    }
}

impl Default for RequestOrder {
    fn default() -> Self {
        Self::new()
    }
}

/// The order of what the acceptor sends.
#[derive(Debug, Clone)]
pub struct ResponseOrder {
    direction: Direction,
    upgrade: bool,
}

impl ResponseOrder {
    /// Before the status. `upgrade`: the request has a `protocol`, so that a 101 may come.
    #[must_use]
    pub fn new(upgrade: bool) -> Self {
        Self { direction: Direction::new(), upgrade }
    }

    /// Takes note of the next message.
    ///
    /// # Errors
    /// [`OrderError`] if it may not come here; the value is as before.
    pub fn accept(&mut self, message: &Message) -> Result<(), OrderError> {
        let next = match (self.direction.state, message) {
            (State::Start, Message::Status(Status::Accepted)) => Some(State::Accepted),
            (State::Start, Message::Status(Status::Refused { .. })) => Some(State::Over),
            (State::Accepted, Message::Response(head)) => self.after(head),
            (state, message) => state.after_head(message),
        };
        self.direction.accept(message, next)
    }

    fn after(&self, head: &ResponseHead) -> Option<State> {
        if head.informational {
            Some(State::Accepted)
        } else if head.status == SWITCHING_PROTOCOLS {
            self.upgrade.then_some(State::Switched)
        } else if head.bodyless {
            Some(State::Tail)
        } else {
            Some(State::Body)
        }
    }

    /// Whether the direction has ended, by `end`, `reset` or `refused`.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.direction.state.is_over()
    }
}

fn name(message: &Message) -> &'static str {
    match message {
        Message::Request(_) => "a request head",
        Message::Response(_) => "a response head",
        Message::Data(_) => "data",
        Message::Trailers(_) => "trailers",
        Message::End => "an end",
        Message::Reset { .. } => "a reset",
        Message::Stop { .. } => "a stop",
        Message::Status(_) => "a status",
    }
}

#[cfg(test)]
mod tests;
