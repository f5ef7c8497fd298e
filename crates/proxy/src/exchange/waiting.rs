//! A request that was sent and not answered yet.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, StatusCode};
use protocol::codec::EncodeError;
use protocol::exchange::ResponseLine;
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::deadline::Deadline;

use super::RequestBody;
use super::attempt::Attempt;

/// A service that was asked whether it wants the body, and says nothing, is sent the body after this.
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// A request whose response is waited for.
pub(super) struct Waiting<'a> {
    pub(super) attempt: Attempt<'a>,
    /// The service asks for the body.
    continues: Option<mpsc::Receiver<()>>,
    /// When the body is asked for in its place.
    continue_at: Option<Instant>,
}

impl<'a> Waiting<'a> {
    /// Sends `request` with `send`.
    pub(super) fn start(
        mut request: Request<RequestBody>,
        expect_continue: bool,
        send: impl FnOnce(Request<RequestBody>) -> Attempt<'a>,
    ) -> Self {
        let (continues, continue_at) = if expect_continue {
            let (asked, continues) = mpsc::channel(1);
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    // A second one says nothing new.
                    let _ = asked.try_send(());
                }
            });
            (Some(continues), Instant::now().checked_add(CONTINUE_AFTER))
        } else {
            (None, None)
        };
        Self { attempt: send(request), continues, continue_at }
    }

    /// Asks for the body once: when the service does, or after a while in its place.
    pub(super) fn poll_continue(
        &mut self,
        out: &mut BytesMut,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Result<(), EncodeError> {
        let Some(continues) = &mut self.continues else { return Ok(()) };
        let asked = matches!(continues.poll_recv(cx), Poll::Ready(Some(())));
        let late = self.continue_at.is_some_and(|at| deadline.poll(at, cx).is_ready());
        if asked || late {
            self.continues = None;
            ResponseLine { status: StatusCode::CONTINUE.as_u16(), bodyless: false }.encode_with([], out)?;
        }
        Ok(())
    }
}
