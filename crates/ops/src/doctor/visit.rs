//! One request, as a visitor makes it.

use std::io;
use std::time::Duration;

use axum::body::Bytes;
use http::header::{CONNECTION, DATE, HOST, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// A page that is looked at is never larger. Bytes.
const MAX_BODY: usize = 64 * 1024;

/// What came back.
#[derive(Debug, Clone)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub fields: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// Not in time.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// What came is no HTTP.
    #[error("no HTTP comes back: {0}")]
    Http(String),
}

impl Page {
    /// The time of the machine that answered, as it says.
    #[must_use]
    pub fn date(&self) -> Option<std::time::SystemTime> {
        httpdate::parse_http_date(self.fields.get(DATE)?.to_str().ok()?).ok()
    }

    /// What a tunnel says that went wrong, if it was a tunnel that answered.
    #[must_use]
    pub fn tunnel_error(&self) -> Option<&str> {
        self.fields.get("x-tunnel-error")?.to_str().ok()
    }
}

/// Asks for `path` of `host` on a fresh connection, within `limit`.
///
/// # Errors
/// See [`VisitError`].
pub async fn visit<S>(stream: S, host: &str, path: &str, limit: Duration) -> Result<Page, VisitError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    timeout(limit, exchange(stream, host, path)).await.map_err(|_| VisitError::Timeout(limit))?
}

async fn exchange<S>(stream: S, host: &str, path: &str) -> Result<Page, VisitError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| VisitError::Http(error.to_string());
    let request = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, "tunnel-doctor")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| VisitError::Http(error.to_string()))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| VisitError::Http(error.to_string()))?.to_bytes();
        Ok(Page { status: head.status, fields: head.headers, body })
    };
    // The sender goes at the end of the first future, which ends the second.
    tokio::join!(answer, connection).0
}
