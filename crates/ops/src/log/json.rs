//! A log line as one flat object of JSON. There is a line for every request, so it is written field by field into the buffer
//! of the line, and nothing is gathered before.

use std::cell::Cell;
use std::error::Error;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::clock::Clock;

/// Writes `timestamp`, `level`, the event's fields with its `message`, and `target`.
pub(super) struct JsonLine(pub(super) Clock);

thread_local! {
    /// The line that is being written: a buffer that is known costs a fraction of one behind a trait, which pays for each piece.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = LINE.take();
        line.clear();
        let written = self.write(event, &mut line).and_then(|()| out.write_str(&line));
        LINE.set(line);
        written
    }
}

impl JsonLine {
    fn write(&self, event: &Event<'_>, line: &mut String) -> fmt::Result {
        let about = event.metadata();
        line.push_str("{\"timestamp\":\"");
        self.0.format_time(&mut Writer::new(line))?;
        line.push_str("\",\"level\":\"");
        line.push_str(about.level().as_str());
        line.push('"');
        let mut fields = Fields { line, written: Ok(()) };
        event.record(&mut fields);
        fields.written?;
        line.push_str(",\"target\":");
        text(line, about.target())?;
        line.push_str("}\n");
        Ok(())
    }
}

struct Fields<'a> {
    line: &'a mut String,
    written: fmt::Result,
}

impl Fields<'_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut String) -> fmt::Result) {
        if self.written.is_ok() {
            self.line.push_str(",\"");
            // The name of a field in code: nothing in it needs an escape.
            self.line.push_str(field.name());
            self.line.push_str("\":");
            self.written = value(self.line);
        }
    }

    fn bare(&mut self, field: &Field, value: &str) {
        self.field(field, |line| {
            line.push_str(value);
            Ok(())
        });
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |line| text(line, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, if value { "true" } else { "false" });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, itoa::Buffer::new().format(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON knows no others.
        if value.is_finite() {
            self.field(field, |line| write!(line, "{value}"));
        } else {
            self.bare(field, "null");
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.field(field, |line| shown(line, format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |line| shown(line, format_args!("{value:?}")));
    }
}

fn text(line: &mut String, text: &str) -> fmt::Result {
    line.push('"');
    Escaped(line).write_str(text)?;
    line.push('"');
    Ok(())
}

fn shown(line: &mut String, value: fmt::Arguments<'_>) -> fmt::Result {
    line.push('"');
    Escaped(line).write_fmt(value)?;
    line.push('"');
    Ok(())
}

/// The inside of a string (RFC 8259 section 7).
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // No early end: so it is a few instructions for sixteen bytes.
        let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        if !text.bytes().fold(false, |any, byte| any | special(byte)) {
            self.0.push_str(text);
            return Ok(());
        }
        let quoted = serde_json::to_string(text).map_err(|_| fmt::Error)?;
        let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        self.0.push_str(inside.ok_or(fmt::Error)?);
        Ok(())
    }
}
