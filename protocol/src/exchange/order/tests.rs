use bytes::Bytes;

use super::*;
use crate::code::Code;
use crate::exchange::Scheme;
use crate::text::Text;

fn request(protocol: bool, bodyless: bool) -> Message {
    Message::Request(RequestHead {
        method: Bytes::from_static(b"GET"),
        scheme: Scheme::Http,
        authority: Bytes::from_static(b"a.test"),
        path: Bytes::from_static(b"/"),
        protocol: protocol.then(|| Bytes::from_static(b"websocket")),
        expect_continue: false,
        bodyless,
        fields: Vec::new(),
    })
}

fn response(status: u16, bodyless: bool) -> Message {
    let informational = status < 200 && status != 101;
    Message::Response(ResponseHead { status, informational, bodyless, fields: Vec::new() })
}

fn data() -> Message {
    Message::Data(Bytes::from_static(b"x"))
}

fn trailers() -> Message {
    Message::Trailers(Vec::new())
}

fn reset() -> Message {
    Message::Reset { code: Code::CANCEL, text: Text::default() }
}

const STOP: Message = Message::Stop { code: Code::NOT_WANTED };
const ACCEPTED: Message = Message::Status(Status::Accepted);

/// How many of the messages come in order.
fn request_prefix(messages: &[Message]) -> usize {
    let mut order = RequestOrder::new();
    messages.iter().take_while(|message| order.accept(message).is_ok()).count()
}

fn response_prefix(upgrade: bool, messages: &[Message]) -> usize {
    let mut order = ResponseOrder::new(upgrade);
    messages.iter().take_while(|message| order.accept(message).is_ok()).count()
}

#[test]
fn a_request_is_head_data_trailers_end() {
    assert_eq!(request_prefix(&[request(false, false), data(), data(), trailers(), Message::End]), 5);
    assert_eq!(request_prefix(&[request(false, true), Message::End, STOP]), 3);
    assert_eq!(request_prefix(&[request(false, false), data(), reset()]), 3);
}

#[test]
fn a_request_in_another_order_is_refused() {
    assert_eq!(request_prefix(&[data()]), 0);
    assert_eq!(request_prefix(&[STOP]), 0);
    assert_eq!(request_prefix(&[reset()]), 0);
    assert_eq!(request_prefix(&[response(200, false)]), 0);
    assert_eq!(request_prefix(&[request(false, true), data()]), 1);
    assert_eq!(request_prefix(&[request(false, false), request(false, false)]), 1);
    assert_eq!(request_prefix(&[request(false, false), trailers(), data()]), 2);
    assert_eq!(request_prefix(&[request(false, false), Message::End, data()]), 2);
    assert_eq!(request_prefix(&[request(false, false), reset(), STOP]), 2);
    assert_eq!(request_prefix(&[request(false, false), STOP, STOP]), 2);
    assert_eq!(request_prefix(&[request(false, false), ACCEPTED]), 1);
}

#[test]
fn an_upgrade_sends_no_byte_before_its_101() {
    assert_eq!(request_prefix(&[request(true, false), data()]), 1);
    assert_eq!(request_prefix(&[request(true, false), Message::End]), 2);
    let mut order = RequestOrder::new();
    order.accept(&request(true, false)).unwrap();
    order.switched();
    order.accept(&data()).unwrap();
    let error = order.accept(&trailers()).unwrap_err();
    assert_eq!(error.to_string(), "trailers does not belong after an upgrade");
    order.accept(&Message::End).unwrap();
    assert!(order.is_over());
}

#[test]
fn a_response_is_status_heads_data_trailers_end() {
    let all =
        [ACCEPTED, response(100, false), response(103, false), response(200, false), data(), trailers()];
    assert_eq!(response_prefix(false, &all), 6);
    assert_eq!(response_prefix(false, &[ACCEPTED, response(204, true), Message::End, STOP]), 4);
    assert_eq!(response_prefix(false, &[ACCEPTED, STOP, reset()]), 3);
    assert_eq!(response_prefix(true, &[ACCEPTED, response(101, false), data(), Message::End]), 4);
    assert_eq!(response_prefix(true, &[ACCEPTED, response(403, false), data(), trailers(), Message::End]), 5);
}

#[test]
fn a_response_in_another_order_is_refused() {
    let refused = Message::Status(Status::Refused { code: Code::DRAINING, text: Text::default() });
    assert_eq!(response_prefix(false, &[refused, Message::End]), 1);
    assert_eq!(response_prefix(false, &[response(200, false)]), 0);
    assert_eq!(response_prefix(false, &[STOP]), 0);
    assert_eq!(response_prefix(false, &[reset()]), 0);
    assert_eq!(response_prefix(false, &[Message::Status(Status::Connected)]), 0);
    assert_eq!(response_prefix(false, &[ACCEPTED, data()]), 1);
    assert_eq!(response_prefix(false, &[ACCEPTED, Message::End]), 1);
    assert_eq!(response_prefix(false, &[ACCEPTED, response(101, false)]), 1);
    assert_eq!(response_prefix(false, &[ACCEPTED, response(200, true), data()]), 2);
    assert_eq!(response_prefix(false, &[ACCEPTED, response(200, false), response(200, false)]), 2);
    assert_eq!(response_prefix(true, &[ACCEPTED, response(101, false), trailers()]), 2);
}
