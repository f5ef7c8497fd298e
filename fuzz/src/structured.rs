//! Values that can be sent: what is encoded is decoded to the same value.

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use bytes::BytesMut;
use protocol::codec::{DecodeError, EncodeError};
use protocol::control::Control;
use protocol::exchange::Message;
use protocol::frame::{self, Frame};
use protocol::handshake::{Hello, ServerReply};
use protocol::join::JoinString;
use protocol::limits::{CONTROL_FRAME_MAX, HANDSHAKE_FRAME_MAX};
use protocol::request::Head;
use protocol::service_name::ServiceName;

/// A `hello` and an answer to it.
pub fn handshake(data: &[u8]) {
    let mut u = Unstructured::new(data);
    round_trip(&mut u, HANDSHAKE_FRAME_MAX, Hello::encode, Hello::decode);
    round_trip(&mut u, HANDSHAKE_FRAME_MAX, ServerReply::encode, ServerReply::decode);
}

/// A control message.
pub fn control(data: &[u8]) {
    let skipped = DecodeError::BadValue { field: "skipped" };
    let decode = |frame: &Frame| Control::decode(frame)?.ok_or(skipped);
    round_trip(&mut Unstructured::new(data), CONTROL_FRAME_MAX, Control::encode, decode);
}

/// The start of a request substream, with something behind it.
pub fn substream_head(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(head) = Head::arbitrary(&mut u) else { return };
    let mut buffer = BytesMut::new();
    assert_eq!(head.encode(&mut buffer), Ok(()));
    buffer.extend_from_slice(data);
    assert_eq!(Head::take(&mut buffer), Ok(Some(head)));
    assert_eq!(&buffer[..], data);
}

/// The messages of a substream in one buffer.
pub fn messages(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut buffer = BytesMut::new();
    let mut sent = Vec::new();
    while !u.is_empty() {
        let Ok(message) = Message::arbitrary(&mut u) else { break };
        let before = buffer.len();
        match message.encode(&mut buffer) {
            Ok(()) => sent.push(message),
            Err(EncodeError::TooLong { field: "frame", .. }) => assert_eq!(buffer.len(), before),
            Err(error) => assert_eq!(Some(error), None, "{message:?}"),
        }
    }
    for message in sent {
        assert_eq!(Message::decode(&mut buffer), Ok(Some(message)));
    }
    assert!(buffer.is_empty());
}

/// What is written as text.
pub fn names(data: &[u8]) {
    let mut u = Unstructured::new(data);
    if let Ok(name) = ServiceName::arbitrary(&mut u) {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    if let Ok(join) = JoinString::arbitrary(&mut u) {
        assert_eq!(join.to_string().parse(), Ok(join));
    }
}

fn round_trip<'a, T: Arbitrary<'a> + Debug + PartialEq>(
    u: &mut Unstructured<'a>,
    max: usize,
    encode: impl Fn(&T, &mut BytesMut) -> Result<(), EncodeError>,
    decode: impl Fn(&Frame) -> Result<T, DecodeError>,
) {
    let Ok(value) = T::arbitrary(u) else { return };
    let mut buffer = BytesMut::new();
    match encode(&value, &mut buffer) {
        Ok(()) => {
            let frame = frame::decode(&mut buffer, max);
            assert_eq!(frame.map(|frame| frame.map(|frame| decode(&frame))), Ok(Some(Ok(value))));
        }
        Err(error) => assert_eq!(error, EncodeError::TooLong { field: "frame", max }),
    }
    assert!(buffer.is_empty());
}
