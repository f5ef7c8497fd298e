//! `limits`: how much there may be at once.

use ops::config::{Problems, Section};
use proxy::concurrency::Limits;

/// No limit is higher.
const MOST: usize = 1_000_000;

/// The limits of requests; how long they wait in the queue stands with the other times.
pub(super) fn limits(mut section: Section<'_>, problems: &mut Problems) -> Limits {
    let mut all = Limits::default();
    let mut read =
        |key: &'static str, least| section.number(key, least..=MOST, problems).map(|limit| limit.value);
    all.requests = read("max_concurrent_requests", 1).unwrap_or(all.requests);
    all.requests_per_visitor = read("max_requests_per_visitor", 1);
    all.requests_per_route = read("max_requests_per_route", 1);
    all.queue = read("max_queued_requests", 0).unwrap_or(all.queue);
    section.finish(&[], problems);
    all
}
