//! One line per event, for pipes and files.

use proxy::access::AccessKind;

use super::words::{duration, fitted, trying_again, waiting, what};
use crate::events::{Connected, Event, RequestLine};

/// No path is worth more in a line. Characters.
const PATH_MAX: usize = 512;
/// Room for an ordinary line. Bytes.
const LINE: usize = 96;

/// The line for an event; none if it is not worth one. `now` is the time as text.
pub(super) fn line(event: &Event, now: &str) -> Option<String> {
    Some(match event {
        Event::Connecting { server } => format!("connecting to {server}"),
        Event::Failing { reason, retry_in } => format!("{reason}; {}", trying_again(*retry_in)),
        Event::Connected { how: Connected::First, .. } => return None,
        Event::Connected { .. } => "reconnected".to_owned(),
        Event::Draining { .. } => "the server stops or moves; reconnecting".to_owned(),
        Event::Lost { reason, .. } => format!("connection lost ({reason}); reconnecting"),
        Event::Ready { url, to, .. } => format!("{url} -> {to}"),
        Event::Refused { code, text, .. } => {
            format!("refused: {}: {text} (asking again every 30 s)", code.name().unwrap_or("unknown reason"))
        }
        Event::Request(line) => request(line, now),
        Event::Ending { in_progress, limit } => waiting(*in_progress, *limit),
        Event::Warning(text) => format!("warning: {text}"),
        Event::Note(text) => text.clone(),
    })
}

fn request(line: &RequestLine, now: &str) -> String {
    let (method, path) = what(line);
    let mut text = String::with_capacity(LINE);
    text.push_str(now);
    let mut word = |word: &str| {
        text.push(' ');
        text.push_str(word);
    };
    word(&fitted(method, 16));
    word(&fitted(&path, PATH_MAX));
    match line.status {
        Some(status) => word(itoa::Buffer::new().format(status)),
        None if line.kind != AccessKind::Tcp => word("-"),
        None => {}
    }
    word(&duration(line.duration).replace(' ', ""));
    if let Some(error) = line.error {
        word(error.as_str());
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use http::Method;
    use ops::error_kind::ErrorKind;
    use protocol::control::RegisterCode;
    use protocol::id::Slot;

    use super::*;

    pub(in super::super) fn get(path: &str, status: u16, ms: u64) -> RequestLine {
        RequestLine {
            kind: AccessKind::Http,
            method: Some(Method::GET),
            path: Some(path.to_owned()),
            status: Some(status),
            duration: Duration::from_millis(ms),
            bytes: (0, 10),
            error: None,
        }
    }

    #[test]
    fn lines() {
        let line = |event| line(&event, "12:00:00").unwrap_or_default();
        let server = || "h:1".parse().unwrap();
        let ready = Event::Ready {
            tunnel: "t".into(),
            url: "http://x.localhost:8080".into(),
            to: "localhost:3000".into(),
        };
        assert_eq!(line(Event::Connecting { server: server() }), "connecting to h:1");
        assert_eq!(line(ready), "http://x.localhost:8080 -> localhost:3000");
        assert_eq!(line(Event::Connected { slot: Slot(0), server: server(), how: Connected::First }), "");
        assert_eq!(
            line(Event::Connected { slot: Slot(0), server: server(), how: Connected::Again }),
            "reconnected"
        );
        let lost = Event::Lost { slot: Slot(0), reason: "silent".into() };
        assert_eq!(line(lost), "connection lost (silent); reconnecting");
        let refused =
            Event::Refused { tunnel: "t".into(), code: RegisterCode::NAME_IN_USE, text: "taken".into() };
        assert_eq!(line(refused), "refused: NAME_IN_USE: taken (asking again every 30 s)");
    }

    #[test]
    fn requests() {
        let line = |request| line(&Event::Request(request), "12:00:00").unwrap();
        assert_eq!(line(get("/a", 200, 12)), "12:00:00 GET /a 200 12ms");
        let failed = RequestLine { error: Some(ErrorKind::ServiceRefused), ..get("/a", 502, 1) };
        assert_eq!(line(failed), "12:00:00 GET /a 502 1ms service-refused");
        let socket = RequestLine { kind: AccessKind::Upgrade, ..get("/ws", 101, 65_000) };
        assert_eq!(line(socket), "12:00:00 GET /ws (upgraded) 101 1min05s");
        let tcp =
            RequestLine { kind: AccessKind::Tcp, method: None, path: None, status: None, ..get("", 0, 1500) };
        assert_eq!(line(tcp), "12:00:00 TCP 0 B in, 10 B out 1.50s");
    }
}
