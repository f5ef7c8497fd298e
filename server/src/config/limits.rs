//! `limits`: how much there may be at once.

use ops::config::{Problems, Section};
use proxy::concurrency::Limits;

/// No limit is higher.
const MOST: usize = 1_000_000;
/// No longest body is longer.
pub(super) const BODY_MOST: u64 = 1 << 50;

/// The limits of requests; how long they wait in the queue stands with the other times.
pub(super) fn limits(mut section: Section<'_>, problems: &mut Problems) -> Limits {
    let mut all = Limits::default();
    let mut read =
        |key: &'static str, least| section.number(key, least..=MOST, problems).map(|limit| limit.value);
    all.requests = read("max_concurrent_requests", 1).unwrap_or(all.requests);
    all.requests_per_visitor = read("max_requests_per_visitor", 1);
    all.requests_per_route = read("max_requests_per_route", 1);
    all.requests_per_client = read("max_requests_per_client", 1);
    all.queue = read("max_queued_requests", 0).unwrap_or(all.queue);
    all.max_body = section.bytes("max_body", 0..=BODY_MOST, problems).map(|bytes| bytes.value);
    section.finish(&[], problems);
    all
}
