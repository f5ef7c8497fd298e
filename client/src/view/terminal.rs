//! The live view on a terminal: calm, aligned, coloured.

use super::words::{duration, fitted, trying_again, waiting, what};
use crate::events::{Connected, Event, RequestLine};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// Columns of a request beside its path: time, method, status, duration and what is between them.
const FIXED: usize = 8 + 2 + 7 + 1 + 2 + 3 + 2 + 11;
/// Columns of the kind of error behind it, where the terminal has them.
const ERROR: usize = 2 + 15;
/// A path gets at least as much, on however narrow a terminal.
const PATH_MIN: usize = 12;
/// A path gets at most as much, so that eyes find the status.
const PATH_MAX: usize = 80;

/// How the view looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    pub(super) colour: bool,
    /// In columns.
    pub(super) width: usize,
}

impl Terminal {
    /// The text for an event, without its last line break; none if it is not worth one. `now` is the time as text.
    pub(super) fn text(self, event: &Event, now: &str) -> Option<String> {
        Some(match event {
            Event::Connecting { server } => self.paint(DIM, &format!("connecting to {server} …")),
            Event::Failing { reason, retry_in } => {
                self.paint(YELLOW, &format!("{reason}\n{} …", trying_again(*retry_in)))
            }
            Event::Connected { how: Connected::First, .. } => return None,
            Event::Connected { .. } => self.at(now, &self.paint(GREEN, "reconnected")),
            Event::Draining { .. } => {
                self.at(now, &self.paint(YELLOW, "the server stops or moves; reconnecting …"))
            }
            Event::Lost { reason, .. } => {
                self.at(now, &self.paint(YELLOW, &format!("connection lost ({reason}); reconnecting …")))
            }
            Event::Ready { url, to, .. } => {
                let url = self.paint(BOLD, &self.paint(CYAN, url));
                format!("\n  {url}  →  {to}\n\n{}", self.paint(DIM, "Ctrl-C ends it."))
            }
            Event::Refused { code, text, .. } => {
                let code = code.name().unwrap_or("unknown reason");
                self.at(now, &self.paint(RED, &format!("refused: {code}: {text}; asking again every 30 s")))
            }
            Event::Request(line) => self.request(line, now),
            // The terminal has just shown a ^C.
            Event::Ending { in_progress, limit } => {
                format!("\n{}", self.paint(YELLOW, &waiting(*in_progress, *limit)))
            }
            Event::Warning(text) => self.paint(YELLOW, &format!("! {text}")),
            Event::Note(text) => self.paint(DIM, text),
        })
    }

    fn request(self, line: &RequestLine, now: &str) -> String {
        let (method, path) = what(line);
        let room = self.width.saturating_sub(FIXED + ERROR).clamp(PATH_MIN, PATH_MAX);
        let (method, path) = (fitted(method, 7), fitted(&path, room));
        let status = line.status.map_or_else(|| "  -".to_owned(), |status| format!("{status:>3}"));
        let status = match line.status {
            Some(200..300) => self.paint(GREEN, &status),
            Some(100..400) => self.paint(CYAN, &status),
            Some(400..500) => self.paint(YELLOW, &status),
            Some(_) => self.paint(RED, &status),
            None => status,
        };
        let took = duration(line.duration);
        let error =
            line.error.map_or_else(String::new, |error| format!("  {}", self.paint(RED, error.as_str())));
        self.at(now, &format!("{method:<7} {path:<room$}  {status}  {took:>10}{error}"))
    }

    fn at(self, now: &str, text: &str) -> String {
        format!("{}  {text}", self.paint(DIM, now))
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colour { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use ops::error_kind::ErrorKind;
    use protocol::id::Slot;

    use super::super::plain::tests::get;
    use super::*;

    fn text(event: &Event) -> String {
        Terminal { colour: false, width: 77 }.text(event, "12:00:00").unwrap()
    }

    #[test]
    fn requests_stand_in_columns() {
        assert_eq!(
            text(&Event::Request(get("/index.html", 200, 12))),
            "12:00:00  GET     /index.html               200       12 ms"
        );
        assert_eq!(
            text(&Event::Request(get("/a/path/that/does/not/fit/at/all", 404, 1_240))),
            "12:00:00  GET     /a/path/that/does/not/f…  404      1.24 s"
        );
        let failed = RequestLine { error: Some(ErrorKind::ServiceRefused), ..get("/", 502, 1) };
        assert_eq!(
            text(&Event::Request(failed)),
            "12:00:00  GET     /                         502        1 ms  service-refused"
        );
    }

    #[test]
    fn the_address_stands_out() {
        let ready = Event::Ready {
            tunnel: "t".into(),
            url: "http://x.localhost:8080".into(),
            to: "localhost:3000".into(),
        };
        assert_eq!(text(&ready), "\n  http://x.localhost:8080  →  localhost:3000\n\nCtrl-C ends it.");
        let coloured = Terminal { colour: true, width: 60 }.text(&ready, "").unwrap();
        assert!(coloured.contains("\x1b[1m\x1b[36mhttp://x.localhost:8080\x1b[0m"), "{coloured}");
    }

    #[test]
    fn a_loss_is_one_line_and_so_is_its_end() {
        let lost = Event::Lost { slot: Slot(0), reason: "the server closed it".into() };
        assert_eq!(text(&lost), "12:00:00  connection lost (the server closed it); reconnecting …");
        let again = Event::Connected { slot: Slot(0), server: "h:1".parse().unwrap(), how: Connected::Again };
        assert_eq!(text(&again), "12:00:00  reconnected");
    }
}
