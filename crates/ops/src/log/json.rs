//! A log line as one flat object of JSON. There is a line for every request, so it is written field by field into the buffer
//! of the line, and nothing is gathered before.

use std::error::Error;
use std::fmt;
use std::io;

use serde::Serializer as _;
use serde_json::Serializer;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::clock::Clock;

/// Writes `timestamp`, `level`, the event's fields with its `message`, and `target`.
pub(super) struct JsonLine(pub(super) Clock);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let about = event.metadata();
        out.write_str("{\"timestamp\":\"")?;
        self.0.format_time(&mut out)?;
        write!(out, "\",\"level\":\"{}\"", about.level())?;
        let mut fields = Fields { out: &mut out, written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        out.write_str(",\"target\":")?;
        text(&mut out, about.target())?;
        out.write_str("}\n")
    }
}

struct Fields<'a, 'w> {
    out: &'a mut Writer<'w>,
    written: fmt::Result,
}

impl<'w> Fields<'_, 'w> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'w>) -> fmt::Result) {
        if self.written.is_ok() {
            self.written = self.name(field.name()).and_then(|()| value(self.out));
        }
    }

    fn name(&mut self, name: &str) -> fmt::Result {
        self.out.write_char(',')?;
        text(self.out, name)?;
        self.out.write_char(':')
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |out| text(out, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |out| write!(out, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON knows no others.
        self.field(
            field,
            |out| if value.is_finite() { write!(out, "{value}") } else { out.write_str("null") },
        );
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.field(field, |out| shown(out, &value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |out| shown(out, &format_args!("{value:?}")));
    }
}

fn text(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    Serializer::new(Bytes(out)).serialize_str(text).map_err(|_| fmt::Error)
}

fn shown(out: &mut Writer<'_>, value: &dyn fmt::Display) -> fmt::Result {
    Serializer::new(Bytes(out)).collect_str(value).map_err(|_| fmt::Error)
}

/// What is written in pieces, each of which is whole text.
struct Bytes<'a, 'w>(&'a mut Writer<'w>);

impl io::Write for Bytes<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
