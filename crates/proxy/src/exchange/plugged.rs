//! The plugins of a service around an exchange, at the end that dials: what they are shown of a request that came over the
//! wire, and how an answer of theirs goes back over it.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderName, Method, Response};
use ops::error_kind::ErrorKind;
use policy::host::{Host, HostError};
use protocol::code::Code;
use protocol::codec::EncodeError;
use protocol::exchange::{Field, RequestHead as WireHead, ResponseLine, encode_end, encode_stop};
use protocol::request::TraceContext;
use tokio::time::timeout;

use super::Channel;
use super::outbox::{Frames, Outbox};
use super::wire_request::has_body;
use crate::access::Record;
use crate::context::Context;
use crate::headers::{Listed, came_by, forward_response, is_forwarded, is_ours, port_of, restore_request};
use crate::incoming::IncomingBody;
use crate::plugin::{Chain, Flow, Plugged, Reply, RequestHead};

/// How often it is looked whether the opener has broken off, while a plugin takes its time.
const LOOK: Duration = Duration::from_millis(500);

/// Why the service is not asked.
pub(super) enum Stopped {
    /// A plugin has answered; those that let the request pass have seen it.
    Answered(Answered),
    /// The opener broke off.
    Gone,
    /// Plugins can not decide about it: it is not valid HTTP, or on behalf of nobody.
    Unfit,
}

/// An answer in place of that of the service.
pub(super) struct Answered {
    response: Response<Bytes>,
    pub(super) kind: Option<ErrorKind>,
}

/// A response of the service on its way through plugins, or what is answered instead.
pub(super) type Passing = Pin<Box<dyn Future<Output = Result<Response<IncomingBody>, Answered>> + Send>>;

/// Takes the request on `channel` through the `plugins` of its service. What they change is in `head` then.
pub(super) async fn plug(
    plugins: &Chain,
    head: &mut WireHead,
    visitor: Option<SocketAddr>,
    channel: &Channel,
    record: &mut Record,
    context: &Context,
) -> Result<Box<Plugged>, Stopped> {
    let shown = visitor.and_then(|visitor| shown(head, visitor, record.line.trace)).ok_or(Stopped::Unfit)?;
    let mut plugged = Box::new(plugins.begin(shown));
    record.tells(plugged.ending(&context.spawner));
    let asking = async {
        match plugged.on_request().await {
            Flow::Pass => Ok(()),
            Flow::Answer(reply) => {
                let mut answered = Answered::of(*reply, &plugged.request);
                if let Err(reply) = plugged.on_response(&mut answered.response).await {
                    answered = Answered::of(*reply, &plugged.request);
                }
                Err(Stopped::Answered(answered))
            }
        }
    };
    unless_broken(channel, asking).await.ok_or(Stopped::Gone)??;
    change(head, &plugged.request);
    Ok(plugged)
}

/// Takes the response of the service through the plugins that let its request pass.
pub(super) fn pass(mut plugged: Box<Plugged>, mut response: Response<IncomingBody>) -> Passing {
    Box::pin(async move {
        match plugged.on_response(&mut response).await {
            Ok(()) => Ok(response),
            Err(reply) => Err(Answered::of(*reply, &plugged.request)),
        }
    })
}

impl Answered {
    fn of(reply: Reply, request: &RequestHead) -> Self {
        let kind = reply.kind();
        // Of the trace, a page shows the id only.
        let trace = TraceContext { trace_id: request.trace(), span_id: [0; 8], flags: 0 };
        Self { response: reply.into_response(&request.headers, trace), kind }
    }

    /// The status.
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Appends all of it, as the answer to `head`; `stop`: the opener is told that nobody reads the rest of its body.
    pub(super) fn encode(self, head: &WireHead, stop: bool, out: &mut Outbox) -> Result<(), EncodeError> {
        let (mut parts, body) = self.response.into_parts();
        if !body.is_empty() {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let bodyless = body.is_empty() || *head.method == *b"HEAD";
        let listed = Listed::of(&parts.headers);
        let fields = forward_response(parts.status, &parts.headers, &listed);
        ResponseLine { status: parts.status.as_u16(), bodyless }.encode_with(fields, out.buffer())?;
        if stop {
            encode_stop(Code::NOT_WANTED, out.buffer())?;
        }
        if !bodyless {
            out.data(body)?;
        }
        encode_end(out.buffer())
    }

    /// Writes it as the answer to `head`, of which nothing but the head was read. Whoever has gone does not get it.
    pub(super) async fn write(
        self,
        head: &WireHead,
        channel: &mut Channel,
        context: &Context,
    ) -> Result<(), EncodeError> {
        self.encode(head, has_body(head), &mut channel.out)?;
        // What can not be written now, no close can write either.
        let _ = timeout(context.timeouts().stalled, channel.flush()).await;
        Ok(())
    }
}

/// What plugins see of the request; none if it is no valid HTTP.
fn shown(head: &WireHead, visitor: SocketAddr, trace: [u8; 16]) -> Option<RequestHead> {
    let method = Method::from_bytes(&head.method).ok()?;
    let path = PathAndQuery::from_maybe_shared(head.path.clone()).ok()?;
    let host = match Host::from_authority(std::str::from_utf8(&head.authority).ok()?) {
        // As at a listener that is called by its address.
        Err(HostError::IpLiteral) => Host::parse("localhost"),
        host => host,
    };
    let headers = restore_request(&head.authority, None, &head.fields)?;
    let visitor = SocketAddr::new(visitor.ip().to_canonical(), visitor.port());
    let (scheme, port) = (came_by(&headers).unwrap_or(head.scheme), port_of(&head.authority));
    Some(RequestHead::new(method, scheme, host.ok()?, path, visitor).with(port, headers, trace))
}

/// Puts what plugins have made of a request into its head. What an ingress decides about is as it was.
fn change(head: &mut WireHead, request: &RequestHead) {
    head.path = Bytes::copy_from_slice(request.path.as_str().as_bytes());
    let is_kept = |name: &HeaderName| is_ours(name) || is_forwarded(name.as_str());
    head.fields.retain(|field| HeaderName::from_bytes(&field.name).is_ok_and(|name| is_kept(&name)));
    head.fields.extend(request.headers.iter().filter(|(name, _)| !is_kept(name)).map(|(name, value)| {
        Field {
            name: Bytes::copy_from_slice(name.as_str().as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
        }
    }));
}

/// What `asking` comes to; none if the opener breaks off before.
async fn unless_broken<T>(channel: &Channel, asking: impl Future<Output = T>) -> Option<T> {
    let mut asking = pin!(asking);
    loop {
        match timeout(LOOK, &mut asking).await {
            Ok(asked) => return Some(asked),
            Err(_) if channel.is_broken() => return None,
            Err(_) => {}
        }
    }
}
