//! A request that was sent and not answered yet.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{HeaderMap, Request, StatusCode};
use protocol::codec::EncodeError;
use protocol::exchange::ResponseLine;
use tokio::time::Instant;
use transport::deadline::Deadline;

use super::attempt::Attempt;
use super::{Interims, RequestBody};
use crate::headers::{Listed, forward_response};

/// A service that was asked whether it wants the body, and says nothing, is sent the body after this.
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// A request whose response is waited for.
pub(super) struct Waiting<'a> {
    pub(super) attempt: Attempt<'a>,
    interims: Interims,
    /// The opener waits until the body is asked for.
    expects: bool,
    /// When it is asked for in the place of the service.
    continue_at: Option<Instant>,
    /// The service has begun to answer.
    answers: bool,
}

impl<'a> Waiting<'a> {
    /// Sends `request` with `send`.
    pub(super) fn start(
        mut request: Request<RequestBody>,
        expects: bool,
        send: impl FnOnce(Request<RequestBody>, &Interims) -> Attempt<'a>,
    ) -> Self {
        let interims = Interims::default();
        let heard = interims.clone();
        // For HTTP/1.1.
        hyper::ext::on_informational(&mut request, move |response| {
            heard.push(response.status(), response.headers());
        });
        let continue_at = if expects { Instant::now().checked_add(CONTINUE_AFTER) } else { None };
        Self { attempt: send(request, &interims), interims, expects, continue_at, answers: false }
    }

    /// Whether the service has said anything but that it wants the body.
    pub(super) const fn answers(&self) -> bool {
        self.answers
    }

    /// Whether the service is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.attempt.is_connected(&self.interims)
    }

    /// Passes interim responses on. The body is asked for once: when the service does, or after a while in its place.
    pub(super) fn poll_interims(
        &mut self,
        out: &mut BytesMut,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Result<(), EncodeError> {
        while let Poll::Ready((status, headers)) = self.interims.poll(cx) {
            if status == StatusCode::CONTINUE {
                self.ask_body(out)?;
            } else {
                self.answers = true;
                encode(status, &headers, out);
            }
        }
        if self.expects && self.continue_at.is_some_and(|at| deadline.poll(at, cx).is_ready()) {
            self.ask_body(out)?;
        }
        Ok(())
    }

    fn ask_body(&mut self, out: &mut BytesMut) -> Result<(), EncodeError> {
        if std::mem::take(&mut self.expects) {
            ResponseLine { status: StatusCode::CONTINUE.as_u16(), bodyless: false }.encode_with([], out)?;
        }
        Ok(())
    }
}

/// One that does not fit is dropped: the response is what counts.
fn encode(status: StatusCode, headers: &HeaderMap, out: &mut BytesMut) {
    let listed = Listed::of(headers);
    let line = ResponseLine { status: status.as_u16(), bodyless: false };
    let _ = line.encode_with(forward_response(status, headers, &listed), out);
}
