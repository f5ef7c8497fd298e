//! The thread that writes the view: a stdout that nobody reads makes only itself wait.

use std::io::{self, IsTerminal};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use ops::cli::print;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::plain;
use super::terminal::Terminal;
use crate::events::Watched;

/// How long the end of the program waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// How long the thread rests once it has shown all there was: what comes meanwhile is shown together, and who tells of it
/// need not wake the thread.
const REST: Duration = Duration::from_millis(20);
/// Bytes that are shown together at most, and one event.
const TOGETHER: usize = 64 * 1024;
/// Where a terminal does not say how wide it is.
const WIDTH: usize = 80;

/// A running view. It ends once nobody can tell it events any more.
#[derive(Debug)]
pub(crate) struct View {
    done: oneshot::Receiver<()>,
}

impl View {
    /// Starts to show what is `watched`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start(watched: Watched) -> io::Result<Self> {
        let (finished, done) = oneshot::channel::<()>();
        thread::Builder::new().name("view".to_owned()).spawn(move || {
            show(watched);
            drop(finished);
        })?;
        Ok(Self { done })
    }

    /// Waits until the last lines are written, for a moment at most.
    pub(crate) async fn finish(self) {
        // Either it has ended, or stdout is stuck.
        let _ = timeout(LAST_LINES, self.done).await;
    }
}

fn show(mut watched: Watched) {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let colour = terminal
        && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
        && std::env::var_os("TERM").is_none_or(|it| it != "dumb");
    let mut clock = Clock::new(if terminal { "%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%:z" });
    let mut told = 0;
    let mut shown = String::new();
    while let Some(event) = watched.events.blocking_recv() {
        let mut next = Some(event);
        while let Some(event) = next {
            let text = if terminal {
                let width = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col.into());
                let terminal = Terminal { colour, width: if width == 0 { WIDTH } else { width } };
                terminal.text(&event, clock.now())
            } else {
                plain::line(&event, clock.now())
            };
            let dropped = watched.dropped.load(Ordering::Relaxed);
            if dropped > told {
                shown.push_str(&format!("… {} more requests\n", dropped - told));
                told = dropped;
            }
            if let Some(text) = text {
                shown.push_str(&text);
                shown.push('\n');
            }
            next = if shown.len() < TOGETHER { watched.events.try_recv().ok() } else { None };
        }
        print(&shown);
        shown.clear();
        thread::sleep(REST);
    }
}

/// The time as text, which is put together once a second: there may be thousands of lines in one.
struct Clock {
    format: &'static str,
    second: i64,
    text: String,
}

impl Clock {
    const fn new(format: &'static str) -> Self {
        Self { format, second: i64::MIN, text: String::new() }
    }

    fn now(&mut self) -> &str {
        let now = jiff::Timestamp::now();
        if now.as_second() != self.second {
            self.second = now.as_second();
            self.text = now.to_zoned(jiff::tz::TimeZone::system()).strftime(self.format).to_string();
        }
        &self.text
    }
}
