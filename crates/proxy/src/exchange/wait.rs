//! The wait for the head of a response, while the request is sent.

use std::task::{Context as TaskContext, Poll, ready};

use ops::error_kind::ErrorKind;
use policy::retry::Knowledge;
use protocol::code::Code;
use protocol::exchange::{Message, ResponseHead};
use protocol::request::Status;
use tokio::time::Instant;

use super::opener::{Opener, Unanswered};
use super::{Broken, Channel};
use crate::error::kind_of;
use transport::deadline::Deadline;

/// The wait for the head.
pub(super) struct Wait {
    pub(super) channel: Channel,
    accepted: bool,
    /// An interim response has been passed on.
    answered: bool,
    /// A head without a body; its end is still to come.
    head: Option<ResponseHead>,
    pub(super) may_upload: bool,
    /// Since when the other end has had what it waits for.
    since: Instant,
    pub(super) timer: Deadline,
}

impl Wait {
    /// Waits on `channel`, at most as long as `timer` says; the body is sent at once, or when it is asked for.
    pub(super) fn new(channel: Channel, may_upload: bool, timer: Deadline) -> Self {
        Self {
            channel,
            accepted: false,
            answered: false,
            head: None,
            may_upload,
            since: Instant::now(),
            timer,
        }
    }

    /// The head of the response. What fails after an interim response has been seen is not tried elsewhere.
    pub(super) fn poll(
        &mut self,
        opener: &mut Opener<'_>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<ResponseHead, Unanswered>> {
        self.poll_head(opener, cx).map_err(|unanswered| match unanswered {
            Unanswered::Failed { failure, .. } if self.answered => {
                Unanswered::Failed { failure, known: Knowledge::Answered }
            }
            other => other,
        })
    }

    fn poll_head(
        &mut self,
        opener: &mut Opener<'_>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<ResponseHead, Unanswered>> {
        loop {
            // First what the other end says: once it has accepted the request, what it says next may be that another member
            // has to get all that was sent.
            let Poll::Ready(message) = self.channel.poll_message(cx) else {
                if self.may_upload {
                    let uploading = opener.is_uploading();
                    opener.poll_upload(&mut self.channel, self.accepted, cx)?;
                    if uploading && !opener.is_uploading() {
                        self.since = Instant::now();
                    }
                }
                return self.poll_late(opener, cx);
            };
            let message = message.map_err(Self::broken)?;
            match message {
                Message::Status(Status::Accepted) => {
                    self.accepted = true;
                    if opener.is_uploading() {
                        self.since = Instant::now();
                    }
                }
                Message::Status(Status::Refused { code, .. }) => {
                    return Poll::Ready(Err(Unanswered::failed(
                        kind_of(code),
                        Knowledge::RefusedBeforeAnyByte,
                    )));
                }
                Message::Response(head) if head.informational => {
                    self.may_upload |= head.status == 100;
                    self.answered |= head.status != 100;
                    opener.interim.pass(&head, opener.facts.expect_continue);
                }
                Message::Response(head) if head.bodyless => self.head = Some(head),
                Message::Response(head) => return Poll::Ready(Ok(head)),
                Message::End => {
                    if let Some(head) = self.head.take() {
                        return Poll::Ready(Ok(head));
                    }
                    return Poll::Ready(Err(Unanswered::failed(
                        ErrorKind::Internal,
                        Knowledge::NoAnswerByte,
                    )));
                }
                Message::Reset { code, .. } => return Poll::Ready(Err(Self::reset(code))),
                Message::Stop { .. } => {
                    if opener.is_uploading() {
                        // The other end has as much of the request as it wants.
                        self.since = Instant::now();
                    }
                    opener.stop_upload();
                }
                // The order of messages lets nothing else through.
                _ => {
                    return Poll::Ready(Err(Unanswered::failed(
                        ErrorKind::Internal,
                        Knowledge::NoAnswerByte,
                    )));
                }
            }
        }
    }

    fn broken(broken: Broken) -> Unanswered {
        match broken {
            // Also before it was accepted, as far as this end knows: the answer may have been on its way.
            Broken::SessionLost => Unanswered::failed(ErrorKind::SessionLost, Knowledge::SessionLost),
            Broken::Ended | Broken::Reset => {
                Unanswered::failed(ErrorKind::ServiceCut, Knowledge::NoAnswerByte)
            }
            Broken::Malformed(_) | Broken::Misplaced(_) => {
                Unanswered::failed(ErrorKind::Internal, Knowledge::Answered)
            }
        }
    }

    fn reset(code: Code) -> Unanswered {
        let known = match code {
            Code::SERVICE_REFUSED
            | Code::SERVICE_TLS
            | Code::SERVICE_UNREACHABLE
            | Code::NOT_PROCESSED
            | Code::DRAINING
            | Code::OVER_LIMIT
            | Code::SESSION_FULL => Knowledge::FailedBeforeAnyByte,
            // It had its time; another member would take as much again.
            Code::SERVICE_TIMEOUT | Code::BAD_REQUEST | Code::NOT_ALLOWED => Knowledge::Answered,
            _ => Knowledge::NoAnswerByte,
        };
        Unanswered::failed(kind_of(code), known)
    }

    fn poll_late(
        &mut self,
        opener: &Opener<'_>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<ResponseHead, Unanswered>> {
        let timeouts = &opener.timeouts;
        let (limit, kind, known) = if !self.accepted {
            (timeouts.open, ErrorKind::OpenTimeout, Knowledge::SessionLost)
        } else if opener.is_uploading() && self.may_upload {
            return Poll::Pending;
        } else {
            (opener.limit(), ErrorKind::ServiceTimeout, Knowledge::Answered)
        };
        let Some(due) = self.since.checked_add(limit) else { return Poll::Pending };
        ready!(self.timer.poll(due, cx));
        Poll::Ready(Err(Unanswered::failed(kind, known)))
    }
}
