//! Events as lines of the log.

use crate::events::{Connected, Event};

/// Writes an event to the log. Requests have access lines of their own.
pub(crate) fn write(event: &Event) {
    match event {
        Event::Connecting { server } => tracing::info!(%server, "connecting"),
        Event::Failing { reason, retry_in } => tracing::warn!(
            retry_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX),
            "no session: {reason}"
        ),
        Event::Connected { slot, server, how } => {
            let text = match how {
                Connected::First => "connected",
                Connected::Again => "reconnected",
                Connected::InPlace => "connected, in place of a session that drains",
            };
            tracing::info!(slot = slot.0, %server, "{text}");
        }
        Event::Draining { slot } => {
            tracing::info!(slot = slot.0, "the server drains the session; reconnecting")
        }
        Event::Lost { slot, reason } => {
            tracing::warn!(slot = slot.0, "connection lost ({reason}); reconnecting");
        }
        Event::Ready { tunnel, url, to } => tracing::info!(tunnel, url, to, "tunnel ready"),
        Event::Refused { tunnel, code, text } => {
            let code = code.name().unwrap_or("unknown reason");
            tracing::warn!(tunnel, code, "tunnel refused: {text}");
        }
        Event::Request(_) => {}
        Event::Ending { in_progress, limit } => {
            tracing::info!(in_progress, limit_s = limit.as_secs(), "waiting for work in progress");
        }
        Event::Warning(text) => tracing::warn!("{text}"),
        Event::Note(text) => tracing::info!("{text}"),
    }
}
