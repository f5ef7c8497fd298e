//! Bytes as a peer would send them.

use bytes::BytesMut;
use protocol::codec::{DecodeError, EncodeError};
use protocol::control::{Control, Pieces};
use protocol::exchange::{Message, RequestOrder, ResponseOrder};
use protocol::frame::{self, Frame};
use protocol::handshake::{Hello, ServerReply};
use protocol::join::JoinString;
use protocol::limits::{CONTROL_FRAME_MAX, HANDSHAKE_FRAME_MAX};
use protocol::request::Head;
use protocol::service_name::ServiceName;

/// The frames in these bytes are the same however the bytes arrive, and are written as the same bytes. The first byte
/// says how they arrive, the second how long a payload may be.
pub fn frame(data: &[u8]) {
    let [step, max, stream @ ..] = data else { return };
    let max = usize::from(*max);
    let whole = read_all(stream, usize::MAX, |buffer| frame::decode(buffer, max));
    let pieces = read_all(stream, usize::from(*step), |buffer| frame::decode(buffer, max));
    assert_eq!(whole, pieces);
    let mut written = BytesMut::new();
    for frame in &whole.values {
        let result = frame::encode(frame.kind, max, &mut written, |w| {
            w.bytes(&frame.payload);
            Ok(())
        });
        assert_eq!(result, Ok(()));
    }
    assert!(stream.starts_with(&written));
}

/// One frame with what a client says first.
pub fn hello(data: &[u8]) {
    one_frame(data, HANDSHAKE_FRAME_MAX, Hello::decode, Hello::encode);
}

/// One frame with what a server answers.
pub fn server_reply(data: &[u8]) {
    one_frame(data, HANDSHAKE_FRAME_MAX, ServerReply::decode, ServerReply::encode);
}

/// One frame of the control substream.
pub fn control(data: &[u8]) {
    one_frame(data, CONTROL_FRAME_MAX, Control::decode, |message, out| match message {
        Some(message) => message.encode(out),
        None => Err(EncodeError::BadValue { field: "skipped" }),
    });
}

/// Pieces of a group's part: what is put together has the length that was stated and cuts into the same pieces again.
pub fn pieces(data: &[u8]) {
    let frames = read_all(data, usize::MAX, |buffer| frame::decode(buffer, CONTROL_FRAME_MAX));
    let mut pieces = Pieces::default();
    for frame in &frames.values {
        let Ok(Some(Control::Part(piece))) = Control::decode(frame) else { continue };
        let stated = piece.length;
        let Ok(Some(whole)) = pieces.take(piece) else { continue };
        assert_eq!(u32::try_from(whole.bytes.len()), Ok(stated));
        let mut again = Pieces::default();
        let cut = whole.pieces().into_iter().flatten();
        let last = cut.map(|piece| again.take(piece)).last();
        assert_eq!(last, Some(Ok(Some(whole))));
    }
}

/// The start of a request substream.
pub fn substream_head(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    if let Ok(Some(head)) = Head::take(&mut buffer) {
        let mut written = BytesMut::new();
        assert_eq!(head.encode(&mut written), Ok(()));
        written.extend_from_slice(&buffer);
        assert_eq!(&written[..], data);
    }
}

/// What follows the head, whichever way: the messages are the same however the bytes arrive, each is written as it can
/// be read again, and the state machines of both directions take any sequence. The first byte says how the bytes arrive.
pub fn messages(data: &[u8]) {
    let [step, stream @ ..] = data else { return };
    let whole = read_all(stream, usize::MAX, Message::decode);
    let pieces = read_all(stream, usize::from(*step), Message::decode);
    assert_eq!(whole, pieces);
    let (mut request, mut response) = (RequestOrder::new(), ResponseOrder::new(step % 2 == 0));
    for message in &whole.values {
        let mut written = BytesMut::new();
        assert_eq!(message.encode(&mut written), Ok(()));
        assert_eq!(Message::decode(&mut written).as_ref(), Ok(&Some(message.clone())));
        assert!(written.is_empty());
        let over = (request.is_over(), response.is_over());
        let (asked, answered) = (request.accept(message), response.accept(message));
        let stop = matches!(message, Message::Stop { .. });
        assert!(stop || !(over.0 && asked.is_ok()), "a request went on after its end");
        assert!(stop || !(over.1 && answered.is_ok()), "a response went on after its end");
    }
}

/// A join string, as somebody pasted it.
pub fn join_string(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(join) = text.parse::<JoinString>() {
        assert_eq!(join.to_string().parse(), Ok(join));
    }
}

/// A service name.
pub fn service_name(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(name) = text.parse::<ServiceName>() {
        assert_eq!(name.to_string(), text);
    }
}

/// What came out of a stream: the values, and whether it went on.
#[derive(Debug, PartialEq)]
struct ReadAll<T> {
    values: Vec<T>,
    error: Option<DecodeError>,
}

/// Feeds a stream to a decoder in pieces of `step` bytes.
fn read_all<T>(
    mut stream: &[u8],
    step: usize,
    decode: impl Fn(&mut BytesMut) -> Result<Option<T>, DecodeError>,
) -> ReadAll<T> {
    let mut buffer = BytesMut::new();
    let mut values = Vec::new();
    while !stream.is_empty() {
        let (piece, rest) = stream.split_at(step.clamp(1, stream.len()));
        buffer.extend_from_slice(piece);
        stream = rest;
        loop {
            match decode(&mut buffer) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => return ReadAll { values, error: Some(error) },
            }
        }
    }
    ReadAll { values, error: None }
}

/// Reads one frame; what is decoded is written as the same bytes.
fn one_frame<T>(
    data: &[u8],
    max: usize,
    decode: impl Fn(&Frame) -> Result<T, DecodeError>,
    encode: impl Fn(&T, &mut BytesMut) -> Result<(), EncodeError>,
) {
    let mut buffer = BytesMut::from(data);
    let Ok(Some(frame)) = frame::decode(&mut buffer, max) else { return };
    let Ok(value) = decode(&frame) else { return };
    let mut written = BytesMut::new();
    if encode(&value, &mut written) == Err(EncodeError::BadValue { field: "skipped" }) {
        assert!(frame.kind.may_be_skipped());
        return;
    }
    written.extend_from_slice(&buffer);
    assert_eq!(&written[..], data);
}
