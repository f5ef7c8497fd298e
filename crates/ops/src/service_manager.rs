//! What systemd is told, if this process is a service of it (`Type=notify`).

use sd_notify::{NotifyState, notify};

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Everything that was promised is served.
    Ready,
    /// It comes to its end.
    Stopping,
    /// The process with this number goes on in its place.
    Successor(u32),
}

/// Tells it. Without a service manager nobody hears it, and one that does not listen changes nothing here.
pub fn tell(news: News) {
    let state = match news {
        News::Ready => NotifyState::Ready,
        News::Stopping => NotifyState::Stopping,
        News::Successor(process) => NotifyState::MainPid(process),
    };
    if let Err(error) = notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
