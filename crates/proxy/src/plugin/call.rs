//! How a plugin answers a call: at once, or later.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// The result of a phase, there at once or to be waited for.
pub enum Call<'a, T> {
    /// It is there.
    Now(Result<T, PluginError>),
    /// It has to be waited for, at most as long as the plugin's limit says.
    Later(Pin<Box<dyn Future<Output = Result<T, PluginError>> + Send + 'a>>),
}

impl<'a, T> Call<'a, T> {
    /// The result, at once.
    #[must_use]
    pub const fn now(result: T) -> Self {
        Self::Now(Ok(result))
    }

    /// The plugin could not do its work.
    #[must_use]
    pub const fn failed(error: PluginError) -> Self {
        Self::Now(Err(error))
    }

    /// What `future` comes to.
    #[must_use]
    pub fn later(future: impl Future<Output = Result<T, PluginError>> + Send + 'a) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl<T> fmt::Debug for Call<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(Ok(_)) => "Now",
            Self::Now(Err(_)) => "Failed",
            Self::Later(_) => "Later",
        })
    }
}

/// A plugin could not do its work. The text goes to the log, so it must hold nothing of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PluginError(Cow<'static, str>);

impl PluginError {
    /// A failure that `text` describes.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }
}
