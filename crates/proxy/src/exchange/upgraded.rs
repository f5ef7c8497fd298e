//! The end of the visitor after a 101.

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::bridge::bridge;
use super::{AnswerBody, Channel, Opened};
use crate::access::Record;
use crate::context::Context;
use crate::headers::restore_response;
use crate::poison::Poison;

impl Opened {
    /// The 101 for the visitor, and the channel for what comes after it. `asked` is the protocol that the visitor asked
    /// for, in case the service does not repeat it.
    pub(crate) fn into_switched(self, asked: Option<&HeaderValue>) -> (Response<AnswerBody>, Channel) {
        let mut response = Response::new(AnswerBody::Page(None));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let fields = &self.head.fields;
        let said = fields.iter().find(|field| field.name == UPGRADE.as_str());
        let said = said.and_then(|field| HeaderValue::from_maybe_shared(field.value.clone()).ok());
        // Fields that are not valid are as good as none: the protocol that follows is the service's business.
        let restored = restore_response(response.status(), fields).unwrap_or_default();
        let headers = response.headers_mut();
        *headers = restored;
        if let Some(protocol) = said.or_else(|| asked.cloned()) {
            headers.insert(UPGRADE, protocol);
        }
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        (response, self.channel)
    }
}

/// Carries bytes between the visitor, once its connection has been handed over, and `channel`, until both ways have ended
/// or the process does.
pub(crate) async fn carry_upgraded(
    upgrade: OnUpgrade,
    channel: Channel,
    poison: Poison,
    mut record: Record,
    context: Context,
) {
    let carry = async {
        // Without the connection there is nobody to tell: dropping the channel resets the other end.
        let Ok(upgraded) = upgrade.await else { return None };
        Some(bridge(TokioIo::new(upgraded), channel, &poison, &context.timeouts).await)
    };
    let bridged = tokio::select! {
        biased;
        () = context.drain.now.cancelled() => {
            poison.apply();
            return;
        }
        bridged = carry => bridged,
    };
    if let Some(bridged) = bridged {
        record.up(bridged.sent);
        record.down(bridged.received);
        if let Some(kind) = bridged.failure {
            record.failed(kind);
        }
    }
}
