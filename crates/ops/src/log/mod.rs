//! Logs on stderr, which never make anybody wait: a full disk, a closed stderr or a reader that
//! has stopped loses lines, counts them, and does nothing else.

mod clock;
mod json;
mod lossy;

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use clock::Clock;
use json::JsonLine;
use lossy::Lossy;

/// Lines that wait for stderr; one more is dropped and counted.
const BUFFERED_LINES: usize = 8_192;
/// Libraries that tell of every frame or connection below `warn`. `RUST_LOG` may name them.
const QUIET: [&str; 5] = ["yamux", "hyper", "hyper_util", "h2", "rustls"];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people: time, level, message, fields. In colour only on a terminal without `NO_COLOR`.
    Text,
    /// For programs: one JSON object per line, the event's fields beside `timestamp`, `level`,
    /// `target` and `message`.
    Json,
    /// Text if stderr is a terminal, else JSON.
    #[default]
    Auto,
}

/// The value of `--log` is something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no log format; use text or json")]
pub struct UnknownLogFormat(String);

impl FromStr for LogFormat {
    type Err = UnknownLogFormat;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(UnknownLogFormat(other.to_owned())),
        }
    }
}

/// What to log, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The format.
    pub format: LogFormat,
    /// The filter where `RUST_LOG` is not set, in its syntax: `info`, `warn,server=debug`.
    pub default_filter: String,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The default filter is malformed; a fault of ours.
    #[error("the default log filter is malformed: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something has set up logs before.
    #[error("logs are set up already: {0}")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Writes out what is waiting when it is dropped, which takes a second at most. Keep it until the
/// very end of `main`.
#[derive(Debug)]
pub struct LogGuard {
    worker: Option<WorkerGuard>,
    overflown: ErrorCounter,
    unwritten: Arc<AtomicU64>,
}

/// Sets up logs for the process: the subscriber, and a panic hook so that panics are log lines.
///
/// # Errors
/// See [`LogError`]. A malformed `RUST_LOG` is none: it is warned of and not used.
pub fn init(options: &LogOptions) -> Result<LogGuard, LogError> {
    let terminal = io::stderr().is_terminal();
    let style =
        Style { json: options.format.is_json(terminal), terminal, colour: terminal && colour_is_welcome() };
    let unwritten = Arc::new(AtomicU64::new(0));
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(BUFFERED_LINES)
        .thread_name("log")
        .finish(Lossy::new(io::stderr(), Arc::clone(&unwritten)));
    let overflown = writer.error_counter();
    let wanted = std::env::var("RUST_LOG").ok().filter(|it| !it.trim().is_empty());
    let (filter, malformed) = match wanted.as_deref().map(Filter::parse) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (Filter::parse(&options.default_filter)?, Some(error)),
        None => (Filter::parse(&options.default_filter)?, None),
    };
    tracing_subscriber::registry().with(layer(style, filter, writer)).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    if let Some(error) = malformed {
        tracing::warn!("RUST_LOG is malformed and not used: {error}");
    }
    Ok(LogGuard { worker: Some(worker), overflown, unwritten })
}

impl LogFormat {
    fn is_json(self, terminal: bool) -> bool {
        match self {
            Self::Text => false,
            Self::Json => true,
            Self::Auto => !terminal,
        }
    }
}

impl LogGuard {
    /// Reads how many lines were lost so far, for the metric `dropped_logs_total`.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let (overflown, unwritten) = (self.overflown.clone(), Arc::clone(&self.unwritten));
        move || {
            let overflown = u64::try_from(overflown.dropped_lines()).unwrap_or(u64::MAX);
            overflown.saturating_add(unwritten.load(std::sync::atomic::Ordering::Relaxed))
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let worker = self.worker.take();
        // It prints to stdout if the queue stays full, and that panics if stdout is closed.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(worker)));
    }
}

#[derive(Debug, Clone, Copy)]
struct Style {
    json: bool,
    terminal: bool,
    colour: bool,
}

struct Filter {
    wanted: EnvFilter,
    quiet: Targets,
}

impl Filter {
    fn parse(wanted: &str) -> Result<Self, tracing_subscriber::filter::ParseError> {
        let unnamed = QUIET.iter().filter(|target| !wanted.contains(**target));
        Ok(Self {
            quiet: Targets::new()
                .with_default(LevelFilter::TRACE)
                .with_targets(unnamed.map(|target| (*target, LevelFilter::WARN))),
            wanted: EnvFilter::builder().parse(wanted)?,
        })
    }
}

fn layer<W>(style: Style, filter: Filter, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let clock = Clock { short: style.terminal && !style.json };
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(style.colour)
        // On an error of the writer it would print to stderr, which panics if that is closed.
        .log_internal_errors(false)
        .with_writer(writer);
    let filter = filter.wanted.and(filter.quiet);
    if style.json {
        layer.event_format(JsonLine(clock)).with_filter(filter).boxed()
    } else {
        layer.with_timer(clock).compact().with_target(false).with_filter(filter).boxed()
    }
}

/// See <https://no-color.org>.
fn colour_is_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
        && std::env::var_os("TERM").is_none_or(|it| it != "dumb")
}

thread_local! {
    static WITHHELD: Cell<bool> = const { Cell::new(false) };
}

/// Runs `code`, whose panics are logged without their text: it may hold what `code` was given, such as a visitor's
/// password.
pub fn withhold_panic_text<T>(code: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            WITHHELD.set(self.0);
        }
    }
    let _before = Before(WITHHELD.replace(true));
    code()
}

/// Says where a panic was; the spawner adds which task it ended.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let withheld = WITHHELD.try_with(Cell::get).unwrap_or(false);
    let text = if withheld { "(text withheld)" } else { panic.payload_as_str().unwrap_or("(no text)") };
    let location = panic.location().map(|at| tracing::field::display(at as &dyn fmt::Display));
    let backtrace = std::backtrace::Backtrace::capture();
    match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => {
            tracing::error!(location, %backtrace, "panic: {text}");
        }
        _ => tracing::error!(location, "panic: {text}"),
    }
}

#[cfg(test)]
mod tests;
