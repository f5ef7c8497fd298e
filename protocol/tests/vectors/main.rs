//! Every sample of `spec/vectors`: the valid ones decode to the stated value and encode to the same bytes again, the
//! others give the stated error or wait for more.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what it expects by failing; its helpers stand outside of test functions"
)]

mod sample;
mod shown;
mod tables;
mod texts;

use bytes::BytesMut;
use protocol::codec::DecodeError;
use protocol::control::Control;
use protocol::exchange::Message;
use protocol::frame::{self, Frame};
use protocol::handshake::{Hello, ServerReply};
use protocol::limits::{CONTROL_FRAME_MAX, HANDSHAKE_FRAME_MAX};
use protocol::request::Head;
use sample::{Outcome, check};

/// Decodes with one of the crate's decoders: what came out, shown as JSON, with the bytes it encodes to again.
type Decode = fn(&mut BytesMut) -> Result<Outcome, DecodeError>;

/// Makes one test per file, and the list of the files that have a test.
macro_rules! files {
    ($($file:ident: $decode:expr;)*) => {
        $(#[test]
        fn $file() {
            check(stringify!($file), $decode);
        })*

        const FILES: &[&str] = &[$(stringify!($file)),*];
    };
}

files! {
    frame: any_frame;
    hello: hello_frame;
    welcome: server_reply;
    reject: server_reply;
    register: control;
    registered: control;
    unregister: control;
    heartbeat: control;
    heartbeat_ack: control;
    drain: control;
    close: control;
    notice: control;
    part: control;
    part_answer: control;
    parts: control;
    health: control;
    head: substream_head;
    status: message;
    request_head: message;
    response_head: message;
    data: message;
    trailers: message;
    end: message;
    reset: message;
    stop: message;
}

/// The files that `tables` and `texts` read.
const OTHERS: &[&str] = &["codes", "join_string", "login", "service_name"];

#[test]
fn every_file_has_a_test() {
    let mut expected: Vec<&str> = FILES.iter().chain(OTHERS).copied().collect();
    expected.sort_unstable();
    assert_eq!(sample::files(), expected);
}

fn framed(
    buffer: &mut BytesMut,
    max: usize,
    decode: impl FnOnce(&Frame) -> Result<Outcome, DecodeError>,
) -> Result<Outcome, DecodeError> {
    frame::decode(buffer, max)?.map_or(Ok(Outcome::Incomplete), |frame| decode(&frame))
}

fn any_frame(buffer: &mut BytesMut) -> Result<Outcome, DecodeError> {
    framed(buffer, 8, |frame| {
        let write = |out: &mut BytesMut| {
            frame::encode(frame.kind, 8, out, |w| {
                w.bytes(&frame.payload);
                Ok(())
            })
        };
        Ok(Outcome::value(shown::frame(frame), write))
    })
}

fn hello_frame(buffer: &mut BytesMut) -> Result<Outcome, DecodeError> {
    framed(buffer, HANDSHAKE_FRAME_MAX, |frame| {
        let hello = Hello::decode(frame)?;
        Ok(Outcome::value(shown::hello(&hello), |out| hello.encode(out)))
    })
}

fn server_reply(buffer: &mut BytesMut) -> Result<Outcome, DecodeError> {
    framed(buffer, HANDSHAKE_FRAME_MAX, |frame| {
        let reply = ServerReply::decode(frame)?;
        Ok(Outcome::value(shown::server_reply(&reply), |out| reply.encode(out)))
    })
}

fn control(buffer: &mut BytesMut) -> Result<Outcome, DecodeError> {
    framed(buffer, CONTROL_FRAME_MAX, |frame| {
        let Some(message) = Control::decode(frame)? else { return Ok(Outcome::Skipped) };
        Ok(Outcome::value(shown::control(&message), |out| message.encode(out)))
    })
}

fn substream_head(buffer: &mut BytesMut) -> Result<Outcome, DecodeError> {
    let Some(head) = Head::take(buffer)? else { return Ok(Outcome::Incomplete) };
    Ok(Outcome::value(shown::head(&head), |out| head.encode(out)))
}

fn message(buffer: &mut BytesMut) -> Result<Outcome, DecodeError> {
    match Message::decode(buffer)? {
        Some(message) => Ok(Outcome::value(shown::message(&message), |out| message.encode(out))),
        None if buffer.is_empty() => Ok(Outcome::Skipped),
        None => Ok(Outcome::Incomplete),
    }
}
