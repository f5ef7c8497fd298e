//! Values that others count and that are read when somebody scrapes.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::spawn::Spawner;

/// Reads a number.
type Count = Arc<dyn Fn() -> u64 + Send + Sync>;
/// Counts the members of every group.
type Groups = Arc<dyn Fn() -> Vec<GroupMembers> + Send + Sync>;

/// How many members of a group are in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMembers {
    /// The group, by its name in the configuration.
    pub group: String,
    /// The state.
    pub state: &'static str,
    /// How many.
    pub count: usize,
}

/// What is known so far; a value that is not there has no line.
#[derive(Clone, Default)]
pub(super) struct Scraped {
    sources: Arc<RwLock<Sources>>,
}

#[derive(Clone, Default)]
struct Sources {
    spawner: Option<Spawner>,
    dropped_logs: Option<Count>,
    buffered_bytes: Option<Count>,
    certificate_expiry: Option<SystemTime>,
    group_members: Option<Groups>,
    disabled: Option<Count>,
}

impl Scraped {
    pub(super) fn tasks_of(&self, spawner: &Spawner) {
        self.sources.write().spawner = Some(spawner.clone());
    }

    pub(super) fn dropped_logs(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        self.sources.write().dropped_logs = Some(Arc::new(count));
    }

    pub(super) fn buffered_bytes(&self, held: impl Fn() -> u64 + Send + Sync + 'static) {
        self.sources.write().buffered_bytes = Some(Arc::new(held));
    }

    pub(super) fn group_members(&self, count: impl Fn() -> Vec<GroupMembers> + Send + Sync + 'static) {
        self.sources.write().group_members = Some(Arc::new(count));
    }

    pub(super) fn disabled(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        self.sources.write().disabled = Some(Arc::new(count));
    }

    pub(super) fn certificate_expiry(&self, at: SystemTime) {
        self.sources.write().certificate_expiry = Some(at);
    }
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let sources = self.sources.read().clone();
        let mut put = |name: &str, help: &str, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        if let Some(spawner) = sources.spawner {
            let alive = i64::try_from(spawner.tasks_alive()).unwrap_or(i64::MAX);
            put("tasks_alive", "Tasks that have started and not ended", &ConstGauge::new(alive))?;
            let panicked = ConstCounter::new(spawner.tasks_panicked());
            put("tasks_panicked", "Tasks that ended by panicking", &panicked)?;
        }
        if let Some(dropped_logs) = sources.dropped_logs {
            let dropped = ConstCounter::new(dropped_logs());
            put("dropped_logs", "Log lines lost because nobody took them in time", &dropped)?;
        }
        if let Some(buffered) = sources.buffered_bytes {
            let held = ConstGauge::new(i64::try_from(buffered()).unwrap_or(i64::MAX));
            put("buffered_bytes", "Bytes of all sessions that are received and unread, or unsent", &held)?;
        }
        if let Some(disabled) = sources.disabled {
            let count = ConstGauge::new(i64::try_from(disabled()).unwrap_or(i64::MAX));
            put("disabled", "Things that the operator has taken out of service", &count)?;
        }
        if let Some(expiry) = sources.certificate_expiry {
            let left = ConstGauge::new(seconds_until(expiry));
            put("certificate_expiry_seconds", "Seconds until the first certificate expires", &left)?;
        }
        if let Some(count) = sources.group_members {
            let help = "Members of the groups of the configuration, by what they are";
            let mut family = encoder.encode_descriptor("group_members", help, None, MetricType::Gauge)?;
            for GroupMembers { group, state, count } in count() {
                let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                gauge.encode(family.encode_family(&[("group", group.as_str()), ("state", state)])?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraped").finish_non_exhaustive()
    }
}

/// Negative once `at` has passed.
fn seconds_until(at: SystemTime) -> i64 {
    let seconds = |span: std::time::Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match at.duration_since(SystemTime::now()) {
        Ok(left) => seconds(left),
        Err(passed) => seconds(passed.duration()).saturating_neg(),
    }
}
