//! The end of the visitor after a 101.

use std::future::Future;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};

use super::bridge::bridge;
use super::{Channel, Opened};
use crate::access::Record;
use crate::context::Context;
use crate::headers::restore_response;
use crate::poison::Poison;

impl Opened {
    /// Whether a 101 switches to the protocol that was `asked` for, as it must (RFC 9110 section 7.8). One that names none
    /// means it.
    pub(crate) fn keeps_to(&self, asked: Option<&HeaderValue>) -> bool {
        let said = self.head.fields.iter().find(|field| field.name == UPGRADE.as_str());
        let is_asked = |said: &[u8]| asked.is_some_and(|asked| asked.as_bytes().eq_ignore_ascii_case(said));
        said.is_none_or(|field| is_asked(&field.value))
    }

    /// The 101 for the visitor, or the 200 that means the same in HTTP/2 (RFC 8441 section 5), and the channel for what
    /// comes after it. `asked` is the protocol that the visitor asked for, in case the service does not repeat it.
    pub(crate) fn into_switched(self, asked: &HeaderValue, version: Version) -> (Response<()>, Channel) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = &self.head.fields;
        let said = fields.iter().find(|field| field.name == UPGRADE.as_str());
        let said = said.and_then(|field| HeaderValue::from_maybe_shared(field.value.clone()).ok());
        // Fields that are not valid are as good as none: the protocol that follows is the service's business.
        let restored = restore_response(response.status(), fields).unwrap_or_default();
        let headers = response.headers_mut();
        *headers = restored;
        if version == Version::HTTP_2 {
            // It answers a key that the visitor has not sent.
            headers.remove(SEC_WEBSOCKET_ACCEPT);
            *response.status_mut() = StatusCode::OK;
            return (response, self.channel);
        }
        headers.insert(UPGRADE, said.unwrap_or_else(|| asked.clone()));
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        (response, self.channel)
    }
}

/// Carries bytes between the visitor, once its connection has been handed over, and `channel`, until both ways have ended
/// or the process does. `poison` decides how a connection of its own ends; a stream knows by itself.
pub(crate) async fn carry_upgraded<T>(
    io: impl Future<Output = Option<T>>,
    channel: Channel,
    poison: Poison,
    mut record: Box<Record>,
    context: Context,
) where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let carry = async { Some(bridge(io.await?, Bytes::new(), channel, &poison, &context.timeouts()).await) };
    // Dropped last, when the poison is there.
    let mut carry = std::pin::pin!(carry);
    let bridged = tokio::select! {
        biased;
        () = context.drain.now.cancelled() => {
            poison.apply();
            return;
        }
        bridged = carry.as_mut() => bridged,
    };
    if let Some(bridged) = bridged {
        record.up(bridged.sent);
        record.down(bridged.received);
        if let Some(kind) = bridged.failure {
            record.failed(kind);
        }
    }
}
