//! The end of the service: answers one exchange.

use std::future::poll_fn;
use std::net::SocketAddr;

use http::uri::PathAndQuery;
use http::{Method, Response};
use ops::error_kind::ErrorKind;
use policy::host::Host;
use protocol::code::Code;
use protocol::exchange::{Message, RequestHead};
use protocol::request::Status;
use protocol::text::Text;
use tokio::time::timeout;

use super::attempt::{Attempt, Switched};
use super::outbox::Frames;
use super::plugged::{Stopped, plug};
use super::serving::{Outcome, Serving, encode_head};
use super::{Channel, bridge};
use crate::access::Record;
use crate::context::{Context, Timeouts};
use crate::error::kind_of;
use crate::incoming::IncomingBody;
use crate::service::Service;
use transport::deadline::within;

/// Accepts the exchange on `channel` and answers it with `service`, on behalf of `visitor`.
///
/// Dropping it breaks off towards both sides.
pub(crate) async fn respond(
    mut channel: Channel,
    service: &Service,
    visitor: Option<SocketAddr>,
    mut record: Box<Record>,
    timeouts: &Timeouts,
    context: &Context,
) {
    let linger = timeouts.linger;
    if Status::Accepted.encode(channel.out.buffer()).is_err() {
        return;
    }
    let Ok(Ok(Message::Request(mut head))) = within(timeouts.open, channel.message()).await else {
        // Too slow, malformed, or gone: a reset says all that can be said.
        record.failed(ErrorKind::BadRequest);
        return;
    };
    describe(&mut record, &head);
    let mut plugged = None;
    if !service.plugins().is_empty() {
        // They may take long.
        if channel.flush().await.is_err() {
            return;
        }
        // Boxed, like what follows it: the task of an exchange without plugins is not to hold their place.
        let asking = plug(service.plugins(), &mut head, visitor, &channel, &mut record, context);
        match Box::pin(asking).await {
            Ok(passed) => plugged = Some(passed),
            Err(stopped) => return Box::pin(stop(stopped, &head, channel, record, context)).await,
        }
    }
    let mut serving = match Serving::start(channel, record, head, service, visitor, timeouts) {
        Ok(serving) => serving,
        Err(refused) => {
            let (channel, mut record) = *refused;
            record.failed(ErrorKind::BadRequest);
            drop(record);
            let text = "the request head is not valid HTTP".into();
            return Box::pin(channel.reset(Code::BAD_REQUEST, &text, linger)).await;
        }
    };
    serving.plugged = plugged;
    let outcome = poll_fn(|cx| serving.poll(cx)).await;
    if matches!(outcome, Outcome::Answered) {
        serving.inbound.stop(&mut serving.channel);
    }
    let (channel, mut record) = serving.end();
    match outcome {
        Outcome::Answered => {
            drop(record);
            channel.finish(linger).await;
        }
        Outcome::Gone => {}
        Outcome::Failed(code, text) => {
            record.failed(kind_of(code));
            drop(record);
            Box::pin(channel.reset(code, &text.into(), linger)).await;
        }
        Outcome::Switched(response, attempt) => {
            // What few exchanges come to is not part of what every one holds.
            Box::pin(switch(response, *attempt, channel, record, context)).await;
        }
    }
}

/// The service is not asked.
async fn stop(
    stopped: Stopped,
    head: &RequestHead,
    mut channel: Channel,
    mut record: Box<Record>,
    context: &Context,
) {
    let linger = context.timeouts().linger;
    match stopped {
        Stopped::Gone => {}
        Stopped::Unfit => {
            record.failed(ErrorKind::BadRequest);
            drop(record);
            let text = "the request head is not valid HTTP, or says nothing of the visitor".into();
            channel.reset(Code::BAD_REQUEST, &text, linger).await;
        }
        Stopped::Answered(answered) => {
            record.answered(answered.status(), answered.kind);
            let encoded = answered.write(head, &mut channel, context).await;
            drop(record);
            if encoded.is_ok() {
                return channel.close(linger).await;
            }
            channel.out.clear();
            let text = "the answer of a plugin is too large to be passed on".into();
            channel.reset(Code::INTERNAL, &text, linger).await;
        }
    }
}

async fn switch(
    response: Box<Response<IncomingBody>>,
    attempt: Attempt<'_>,
    mut channel: Channel,
    mut record: Box<Record>,
    context: &Context,
) {
    let encoded = encode_head(&response, channel.out.buffer());
    channel.switched();
    let Ok(Some(switched)) = timeout(context.timeouts().open, attempt.switched(*response)).await else {
        record.failed(ErrorKind::ServiceCut);
        return channel.reset(Code::SERVICE_CUT, &Text::default(), context.timeouts().linger).await;
    };
    let Switched { io, early, poison, held } = switched;
    if encoded.is_err() || channel.flush().await.is_err() {
        return poison.apply();
    }
    record.upgraded(context);
    let bridged = bridge::bridge(io, early, channel, &poison, &context.timeouts()).await;
    drop(held);
    record.down(bridged.sent);
    record.up(bridged.received);
    if let Some(kind) = bridged.failure {
        record.failed(kind);
    }
}

fn describe(record: &mut Record, head: &RequestHead) {
    record.line.method = Method::from_bytes(&head.method).ok();
    record.line.path = PathAndQuery::from_maybe_shared(head.path.clone()).ok();
    record.line.host =
        std::str::from_utf8(&head.authority).ok().and_then(|text| Host::from_authority(text).ok());
}
