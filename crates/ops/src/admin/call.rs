//! The calling end: one request per connection.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::reachable::reachable;

/// For a whole call, where nobody says otherwise.
const DEADLINE: Duration = Duration::from_secs(10);
/// An answer is never larger. Bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No program runs with this state directory.
    #[error("nobody answers at {}", .0.display())]
    NobodyAnswers(PathBuf),
    /// The program runs as another user.
    #[error("no permission for {}; run this as the user that the program runs as", .0.display())]
    NotAllowed(PathBuf),
    /// The program answered with an error.
    #[error("{message}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// The word for programs; empty if the answer had none.
        code: String,
        /// The sentence for people.
        message: String,
    },
    /// The program took longer than this.
    #[error("no answer from {} within {} s", .socket.display(), .limit.as_secs())]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// How long it could have taken.
        limit: Duration,
    },
    /// The answer is not one of this program, or the connection broke.
    #[error("talking to {} failed: {reason}", .path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorText,
}

#[derive(Deserialize)]
struct ErrorText {
    code: String,
    message: String,
}

/// Sends one request to the program that listens at `socket` and returns the JSON it answers with
/// (`null` for an empty answer). `uri` is path and query.
///
/// # Errors
/// See [`AdminError`].
pub async fn call(
    socket: &Path,
    method: Method,
    uri: &str,
    body: Option<&Value>,
) -> Result<Value, AdminError> {
    call_within(DEADLINE, socket, method, uri, body).await
}

/// The same for what takes its time, at most `limit`.
///
/// # Errors
/// See [`AdminError`].
pub async fn call_within(
    limit: Duration,
    socket: &Path,
    method: Method,
    uri: &str,
    body: Option<&Value>,
) -> Result<Value, AdminError> {
    let answer = timeout(limit, exchange(socket, method, uri, body)).await;
    let (status, bytes) = answer.map_err(|_| AdminError::Timeout { socket: socket.to_owned(), limit })??;
    if status.is_success() {
        return match &*bytes {
            [] => Ok(Value::Null),
            json => serde_json::from_slice(json).map_err(|error| protocol(socket, error)),
        };
    }
    let (code, message) = match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(ErrorBody { error }) => (error.code, error.message),
        Err(_) => (String::new(), format!("the program answered {status}")),
    };
    Err(AdminError::Status { status, code, message })
}

async fn exchange(
    socket: &Path,
    method: Method,
    uri: &str,
    body: Option<&Value>,
) -> Result<(StatusCode, Bytes), AdminError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AdminError::NobodyAnswers(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => AdminError::NotAllowed(socket.to_owned()),
        _ => protocol(socket, error),
    };
    let (address, _directory) = reachable(socket).map_err(failed)?;
    let stream = UnixStream::connect(&address).await.map_err(failed)?;
    let request = Request::builder().method(method).uri(uri).header(HOST, "localhost");
    let request = match body {
        Some(json) => {
            request.header(CONTENT_TYPE, "application/json").body(Full::<Bytes>::from(json.to_string()))
        }
        None => request.body(Full::default()),
    }
    .map_err(|error| protocol(socket, error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| protocol(socket, error))?;
    // The sender goes at the end of the first future, which ends the second.
    let (answer, _) = tokio::join!(
        async move {
            let answer = sender.send_request(request).await.map_err(|error| protocol(socket, error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| protocol(socket, error))?.to_bytes()))
        },
        connection,
    );
    answer
}

fn protocol(socket: &Path, reason: impl ToString) -> AdminError {
    AdminError::Protocol { path: socket.to_owned(), reason: reason.to_string() }
}
