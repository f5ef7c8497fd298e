//! Who asks.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;
use tokio::net::UnixStream;

use super::Problem;

/// Who asks, as the kernel or a token proves. A handler that takes one knows it; where nobody is known it is not called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A process of this machine, at the socket.
    User {
        /// Its user, which the kernel vouches for.
        uid: u32,
    },
    /// Somebody who has a token, at the listener for TCP.
    Token {
        /// What the token is called.
        name: Arc<str>,
        /// Where the connection comes from.
        from: SocketAddr,
    },
}

impl Caller {
    /// Who connected to the socket. Nobody, if the kernel does not say.
    pub(crate) fn of(stream: &UnixStream) -> Option<Self> {
        stream.peer_cred().ok().map(|credentials| Self::User { uid: credentials.uid() })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { uid } => write!(f, "uid {uid}"),
            Self::Token { name, from } => write!(f, "token {name} from {from}"),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::new(
                StatusCode::FORBIDDEN,
                "unknown-caller",
                "it is not known who asks; nothing was done",
            )
        })
    }
}
