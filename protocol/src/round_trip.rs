//! What is encoded is decoded to the same value, and decoders survive anything.

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::control::Control;
use crate::exchange::Message;
use crate::frame::{self, Frame, FrameType};
use crate::handshake::{Hello, ServerReply};
use crate::join::JoinString;
use crate::limits::FRAME_LENGTH_MAX;
use crate::request::Head;
use crate::service_name::ServiceName;

fn value<T: for<'a> Arbitrary<'a>>(seed: &[u8]) -> T {
    T::arbitrary(&mut Unstructured::new(seed)).unwrap()
}

fn seed() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..2000)
}

/// Encodes, takes one frame, and expects nothing to be left.
fn framed(encode: impl FnOnce(&mut BytesMut)) -> Frame {
    let mut buffer = BytesMut::new();
    encode(&mut buffer);
    let frame = frame::decode(&mut buffer, FRAME_LENGTH_MAX).unwrap().unwrap();
    assert!(buffer.is_empty());
    frame
}

proptest! {
    #[test]
    fn hello(seed in seed()) {
        let hello: Hello = value(&seed);
        let frame = framed(|out| hello.encode(out).unwrap());
        prop_assert_eq!(Hello::decode(&frame).unwrap(), hello);
    }

    #[test]
    fn server_reply(seed in seed()) {
        let reply: ServerReply = value(&seed);
        let frame = framed(|out| reply.encode(out).unwrap());
        prop_assert_eq!(ServerReply::decode(&frame).unwrap(), reply);
    }

    #[test]
    fn control(seed in seed()) {
        let message: Control = value(&seed);
        let frame = framed(|out| message.encode(out).unwrap());
        prop_assert_eq!(Control::decode(&frame).unwrap(), Some(message));
    }

    #[test]
    fn head(seed in seed()) {
        let head: Head = value(&seed);
        let frame = framed(|out| head.encode(out).unwrap());
        prop_assert_eq!(Head::decode(&frame).unwrap(), head);
    }

    #[test]
    fn messages_however_they_arrive(seeds in vec(seed(), 1..4), cuts in vec(1usize..700, 1..50)) {
        let messages: Vec<Message> = seeds.iter().map(|seed| value(seed)).collect();
        let mut wire = BytesMut::new();
        messages.iter().for_each(|message| message.encode(&mut wire).unwrap());
        let (mut buffer, mut decoded, mut cuts) = (BytesMut::new(), Vec::new(), cuts.iter().cycle());
        while !wire.is_empty() {
            let cut = *cuts.next().unwrap();
            buffer.extend_from_slice(&wire.split_to(cut.min(wire.len())));
            while let Some(message) = Message::decode(&mut buffer).unwrap() {
                decoded.push(message);
            }
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn names_and_join_strings(seed in seed()) {
        let name: ServiceName = value(&seed);
        prop_assert_eq!(name.to_string().parse(), Ok(name));
        let join: JoinString = value(&seed);
        prop_assert_eq!(join.to_string().parse(), Ok(join));
    }

    #[test]
    fn any_payload_is_decoded_or_refused(kind in any::<u8>(), payload in vec(any::<u8>(), 0..500)) {
        let frame = Frame { kind: FrameType(kind), payload: Bytes::from(payload) };
        let _ = (Hello::decode(&frame), ServerReply::decode(&frame));
        let _ = (Control::decode(&frame), Head::decode(&frame));
        let mut buffer = BytesMut::new();
        frame::encode(frame.kind, FRAME_LENGTH_MAX, &mut buffer, |w| { w.bytes(&frame.payload); Ok(()) }).unwrap();
        let _ = Message::decode(&mut buffer);
    }
}
