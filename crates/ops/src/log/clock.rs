//! The time of a log line.

use std::fmt;
use std::time::SystemTime;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// UTC with milliseconds, RFC 3339; short leaves out the day, which people at a terminal know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) short: bool,
}

impl FormatTime for Clock {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        if !self.short {
            return write!(out, "{now}");
        }
        let now = now.to_string();
        out.write_str(now.split_once('T').map_or(&*now, |(_, time)| time))
    }
}
