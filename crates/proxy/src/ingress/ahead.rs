//! A visitor whose connection to the service is not there yet: what it says in the meantime is sent ahead, and kept for
//! another member.

use std::io;
use std::task::{Context as TaskContext, Poll};

use bytes::BytesMut;
use ops::error_kind::ErrorKind;
use policy::retry::Knowledge;
use protocol::exchange::Message;
use protocol::limits::TCP_AHEAD_MAX;
use protocol::request::Status;
use tokio::net::TcpStream;

use crate::error::kind_of;
use crate::exchange::{Broken, Channel, Frames};

/// Bytes read from a visitor at once before it is connected.
const READ: usize = 16 * 1024;

/// Why a member did not connect a visitor.
pub(super) struct Unconnected {
    pub(super) kind: ErrorKind,
    pub(super) known: Knowledge,
}

/// The visitor has gone: nobody is left to connect.
pub(super) struct VisitorGone;

/// A visitor that is not connected yet.
pub(super) struct Waiting {
    pub(super) stream: TcpStream,
    /// What it said so far, for another member.
    pub(super) ahead: BytesMut,
    /// It has ended its way.
    pub(super) ended: bool,
}

impl Waiting {
    /// Sends what the visitor says ahead, until the member has answered.
    pub(super) fn poll_connected(
        &mut self,
        channel: &mut Channel,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Result<(), VisitorGone>, Unconnected>> {
        let failed = |kind, known| Poll::Ready(Err(Unconnected { kind, known }));
        if self.poll_ahead(channel, cx).is_err() {
            return Poll::Ready(Ok(Err(VisitorGone)));
        }
        // Whoever reads the channel learns why it can not be written.
        let _ = channel.poll_flush(cx);
        loop {
            let Poll::Ready(message) = channel.poll_message(cx) else { return Poll::Pending };
            return match message {
                Ok(Message::Status(Status::Accepted)) => continue,
                Ok(Message::Status(Status::Connected)) => Poll::Ready(Ok(Ok(()))),
                Ok(Message::Status(Status::Refused { code, .. })) => {
                    failed(kind_of(code), Knowledge::RefusedBeforeAnyByte)
                }
                Ok(Message::Status(Status::Failed { code, .. })) => {
                    failed(kind_of(code), Knowledge::FailedBeforeAnyByte)
                }
                Ok(_) => failed(ErrorKind::Internal, Knowledge::Answered),
                Err(Broken::SessionLost) => failed(ErrorKind::SessionLost, Knowledge::SessionLost),
                Err(Broken::Ended | Broken::Reset) => failed(ErrorKind::ServiceCut, Knowledge::NoAnswerByte),
                Err(Broken::Malformed(_) | Broken::Misplaced(_)) => {
                    failed(ErrorKind::Internal, Knowledge::Answered)
                }
            };
        }
    }

    /// Reads what the visitor says, as long as it can be kept.
    fn poll_ahead(&mut self, channel: &mut Channel, cx: &mut TaskContext<'_>) -> io::Result<()> {
        while !self.ended && self.ahead.len() < TCP_AHEAD_MAX {
            let Poll::Ready(ready) = self.stream.poll_read_ready(cx) else { return Ok(()) };
            ready?;
            let mut bytes = [0; READ];
            let room = TCP_AHEAD_MAX.saturating_sub(self.ahead.len()).min(READ);
            match self.stream.try_read(bytes.get_mut(..room).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    let read = bytes.get(..read).unwrap_or_default();
                    self.ahead.extend_from_slice(read);
                    channel.out.buffer().extend_from_slice(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
