//! The page that tells a visitor which hop failed.

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use protocol::request::TraceContext;

use crate::error::Failure;
use crate::grpc;
use crate::trace::TraceId;

/// Says which kind of failure an answer of ours is about.
pub const X_TUNNEL_ERROR: HeaderName = HeaderName::from_static("x-tunnel-error");

/// The answer to a request that failed with `failure`: a short page, as HTML if the visitor's `Accept` names it, else as
/// plain text. It holds constants and the trace id, nothing of the request and nothing of our inside. A call of gRPC gets a
/// status of gRPC instead.
#[must_use]
pub fn page(failure: &Failure, request: &HeaderMap, trace: TraceContext) -> Response<Bytes> {
    if let Some(content_type) = grpc::content_type(request) {
        return grpc::trailers_only(failure, content_type);
    }
    let (content_type, body) = if accepts_html(request) {
        ("text/html; charset=utf-8", html(failure, trace))
    } else {
        ("text/plain; charset=utf-8", plain(failure, trace))
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = failure.answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_TUNNEL_ERROR, HeaderValue::from_static(failure.kind.as_str()));
    if let Some(after) = failure.answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    response
}

/// Whether `text/html` is among the media ranges, as browsers write it; `*/*` is what programs send.
fn accepts_html(request: &HeaderMap) -> bool {
    let is_html = |range: &str| {
        range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case("text/html"))
    };
    request
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(is_html))
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

fn plain(failure: &Failure, trace: TraceContext) -> String {
    let (status, kind, trace) = (failure.answer.status, failure.kind, TraceId(trace.trace_id));
    let (reason, sentence) = (reason(status), failure.answer.sentence);
    format!("{} {reason}\n{sentence}\nerror: {kind}\ntrace: {trace}\n", status.as_u16())
}

fn html(failure: &Failure, trace: TraceContext) -> String {
    let (status, kind, trace) = (failure.answer.status, failure.kind, TraceId(trace.trace_id));
    let (reason, sentence) = (reason(status), failure.answer.sentence);
    let status = status.as_u16();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status} {reason}</title>\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em}}\
         small{{color:#767676}}</style></head>\n\
         <body><h1>{status} {reason}</h1>\n<p>{sentence}</p>\n<p><small>{kind} &middot; {trace}</small></p></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use ops::error_kind::ErrorKind;

    use super::*;

    const TRACE: TraceContext = TraceContext { trace_id: [0xAB; 16], span_id: [1; 8], flags: 0 };

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn programs_get_text_and_browsers_html() {
        let failure = Failure::of(ErrorKind::NoMember);
        for (accept, html) in [
            ("*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("Text/HTML; q=1", true),
            ("a, b", false),
        ] {
            let page = page(&failure, &accepting(accept), TRACE);
            let text = std::str::from_utf8(page.body()).unwrap();
            assert_eq!(text.starts_with("<!doctype html>"), html, "{accept}");
            assert!(text.contains(failure.answer.sentence) && text.contains("no-member"));
            assert!(text.contains("abababababababababababababababab"));
        }
    }

    #[test]
    fn the_head_tells_programs_what_happened() {
        let page = page(&Failure::of(ErrorKind::NoMember), &HeaderMap::new(), TRACE);
        assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(page.headers()["x-tunnel-error"], "no-member");
        assert_eq!(page.headers()["retry-after"], "5");
    }
}
