//! The answer of a listener that serves nothing: go to https.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use http::{Response, StatusCode};

use crate::error::{Failure, Fault};
use crate::headers::Facts;

/// Sends a request to the same path at `pattern`, where `{host}` stands for its host; method and body stay (RFC 9110 section
/// 15.4.9).
///
/// # Errors
/// The request has no path that could be asked for there.
pub(super) fn redirect(pattern: &str, facts: &Facts) -> Result<Response<Bytes>, Failure> {
    let location = format!("{}{}", pattern.replace("{host}", facts.host.as_str()), facts.path);
    // `*`, of an OPTIONS, is nothing to go to.
    let fits = facts.path.as_str().starts_with('/');
    let location = HeaderValue::try_from(location).ok().filter(|_| fits).ok_or(Fault::Target)?;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
