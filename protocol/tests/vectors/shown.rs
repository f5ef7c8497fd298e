//! Values as `spec/vectors/README.md` shows them: numbers above 32 bits and ids in hexadecimal, absent values as null.

use std::time::Duration;

use protocol::control::{
    Control, NoticeLevel, Outcome, PartId, Registration, RegistrationAnswer, RegistrationKind, ServiceHealth,
};
use protocol::exchange::{Field, Message, RequestHead, ResponseHead, Scheme};
use protocol::frame::Frame;
use protocol::handshake::{Hello, ServerReply};
use protocol::request::{Head, Kind, Status};
use serde_json::{Value, json};

use crate::sample::hex;

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn long(number: u64) -> String {
    format!("{number:016x}")
}

pub(crate) fn frame(frame: &Frame) -> Value {
    json!({ "type": frame.kind.0, "payload": hex(&frame.payload) })
}

pub(crate) fn hello(hello: &Hello) -> Value {
    json!({
        "versions": [hello.versions.min, hello.versions.max],
        "features": long(hello.features.0),
        "client": hello.client.to_string(),
        "instance": hello.instance.to_string(),
        "slot": hello.slot.0,
        "replaces": hello.replaces.map(|session| long(session.0)),
        "first_window": hello.limits.first_window,
        "max_substreams": hello.limits.max_substreams,
        "credential": hello.credential.as_str(),
        "proof": hex(&hello.proof),
        "name": hello.name,
        "agent": hello.agent,
    })
}

pub(crate) fn server_reply(reply: &ServerReply) -> Value {
    match reply {
        ServerReply::Welcome(welcome) => json!({
            "version": welcome.version,
            "features": long(welcome.features.0),
            "session": long(welcome.session.0),
            "generation": long(welcome.generation.0),
            "first_window": welcome.limits.first_window,
            "max_substreams": welcome.limits.max_substreams,
            "domain": welcome.domain,
        }),
        ServerReply::Reject(reject) => json!({
            "code": reject.code.0,
            "text": reject.text.as_str(),
            "retry_after_ms": reject.retry_after.map(millis),
        }),
    }
}

pub(crate) fn control(message: &Control) -> Value {
    match message {
        Control::Register(m) => json!({ "items": m.items.iter().map(registration).collect::<Value>() }),
        Control::Registered(m) => json!({ "results": m.results.iter().map(answer).collect::<Value>() }),
        Control::Unregister(m) => json!({ "ids": m.ids }),
        Control::Heartbeat(m) => json!({ "nonce": long(m.nonce) }),
        Control::HeartbeatAck(m) => json!({ "nonce": long(m.nonce) }),
        Control::Drain(m) => json!({ "deadline_ms": millis(m.deadline) }),
        Control::Close(m) => json!({ "reason": m.reason.0, "text": m.text.as_str() }),
        Control::Notice(m) => json!({
            "level": match m.level {
                NoticeLevel::Info => "info",
                NoticeLevel::Warning => "warning",
                NoticeLevel::Error => "error",
            },
            "code": m.code.0,
            "registration": m.registration,
            "text": m.text.as_str(),
        }),
        Control::Part(m) => json!({
            "group": m.of.group,
            "revision": long(m.of.revision),
            "digest": hex(&m.digest),
            "length": m.length,
            "offset": m.offset,
            "bytes": latin1(&m.bytes),
        }),
        Control::PartAnswer(m) => json!({
            "group": m.of.group,
            "revision": long(m.of.revision),
            "refusal": m.refusal.as_deref(),
        }),
        Control::Parts(m) => json!({ "parts": m.items.iter().map(part_id).collect::<Vec<_>>() }),
        Control::Health(m) => json!({
            "number": long(m.number),
            "services": m.services.iter().map(service_health).collect::<Vec<_>>(),
        }),
    }
}

fn service_health(health: &ServiceHealth) -> Value {
    let servers = health.servers.iter().map(|it| json!([it.server, it.state.as_str()]));
    json!({ "service": health.service.to_string(), "servers": servers.collect::<Vec<_>>() })
}

fn part_id(id: &PartId) -> Value {
    json!({ "group": id.group, "revision": long(id.revision) })
}

fn registration(item: &Registration) -> Value {
    let mut shown = json!({ "id": item.id, "name": item.name, "group": item.group, "allow": item.allow });
    match &item.kind {
        RegistrationKind::Http { host } => {
            shown["kind"] = json!("http");
            shown["host"] = json!(host);
        }
        RegistrationKind::Tcp { port } => {
            shown["kind"] = json!("tcp");
            shown["port"] = json!(port);
        }
    }
    shown
}

fn answer(answer: &RegistrationAnswer) -> Value {
    match &answer.outcome {
        Outcome::Granted { public, url } => {
            json!({ "id": answer.id, "granted": { "public": public, "url": url } })
        }
        Outcome::Refused { code, text } => {
            json!({ "id": answer.id, "refused": { "code": code.0, "text": text.as_str() } })
        }
    }
}

pub(crate) fn head(head: &Head) -> Value {
    json!({
        "kind": match head.kind {
            Kind::Tcp => "tcp",
            Kind::Exchange => "exchange",
        },
        "name": head.name.to_string(),
        "visitor": head.visitor.map(|visitor| visitor.to_string()),
        "ingress": head.ingress,
        "trace": head.trace.map(|t| format!("{}-{}-{:02x}", hex(&t.trace_id), hex(&t.span_id), t.flags)),
    })
}

pub(crate) fn message(message: &Message) -> Value {
    match message {
        Message::Request(head) => request(head),
        Message::Response(head) => response(head),
        Message::Data(data) => json!({ "data": hex(data) }),
        Message::Trailers(trailers) => json!({ "fields": fields(trailers) }),
        Message::End => json!({}),
        Message::Reset { code, text } => json!({ "code": code.0, "text": text.as_str() }),
        Message::Stop { code } => json!({ "code": code.0 }),
        Message::Status(status) => self::status(status),
    }
}

fn status(status: &Status) -> Value {
    match status {
        Status::Accepted => json!({ "status": "accepted" }),
        Status::Connected => json!({ "status": "connected" }),
        Status::Refused { code, text } => {
            json!({ "status": "refused", "code": code.0, "text": text.as_str() })
        }
        Status::Failed { code, text } => json!({ "status": "failed", "code": code.0, "text": text.as_str() }),
    }
}

fn request(head: &RequestHead) -> Value {
    json!({
        "method": latin1(&head.method),
        "scheme": match head.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        },
        "authority": latin1(&head.authority),
        "path": latin1(&head.path),
        "protocol": head.protocol.as_deref().map(latin1),
        "expect_continue": head.expect_continue,
        "bodyless": head.bodyless,
        "fields": fields(&head.fields),
    })
}

fn response(head: &ResponseHead) -> Value {
    json!({
        "status": head.status,
        "informational": head.informational,
        "bodyless": head.bodyless,
        "fields": fields(&head.fields),
    })
}

fn fields(fields: &[Field]) -> Value {
    fields.iter().map(|field| json!([latin1(&field.name), latin1(&field.value)])).collect()
}
