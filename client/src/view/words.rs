//! Words that views have in common.

use std::borrow::Cow;
use std::time::Duration;

use proxy::access::AccessKind;

use crate::events::RequestLine;

/// A duration as people read it: `12 ms`, `1.24 s`, `2 min 05 s`.
pub(super) fn duration(duration: Duration) -> String {
    let (ms, s) = (duration.as_millis(), duration.as_secs());
    match s {
        0 => format!("{ms} ms"),
        1..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        _ => format!("{} h {:02} min", s / 3600, s / 60 % 60),
    }
}

/// What happens after a failed attempt. Only a wait that somebody may notice is worth a number.
pub(super) fn trying_again(retry_in: Duration) -> String {
    const NOTICEABLE: Duration = Duration::from_secs(5);
    if retry_in < NOTICEABLE {
        "trying again".to_owned()
    } else {
        format!("trying again in {}", duration(retry_in))
    }
}

/// What the end of the program waits for.
pub(super) fn waiting(in_progress: usize, limit: Duration) -> String {
    let requests = if in_progress == 1 { "1 request".to_owned() } else { format!("{in_progress} requests") };
    format!("waiting up to {} s for {requests}; once more ends at once", limit.as_secs())
}

/// A number of bytes as people read it: `512 B`, `1.5 kB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1000.0;
    let mut unit = 0;
    while scaled >= 999.95 && unit < UNITS.len() - 1 {
        scaled /= 1000.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS.get(unit).copied().unwrap_or_default())
}

/// `text` in at most `width` characters, without any that a terminal might act on. What a visitor sends is not trusted.
pub(super) fn fitted(text: &str, width: usize) -> Cow<'_, str> {
    if text.len() <= width && text.bytes().fold(true, |clean, byte| clean & matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let clean = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    if text.chars().count() <= width {
        return text.chars().map(clean).collect();
    }
    let kept = text.chars().take(width.saturating_sub(1)).map(clean);
    kept.chain(std::iter::once('…')).collect()
}

/// What a request asked for: method and path, or how much a connection carried.
pub(super) fn what(line: &RequestLine) -> (&str, Cow<'_, str>) {
    let method = line.method.as_ref().map_or("-", http::Method::as_str);
    let path = line.path.as_deref().unwrap_or("-");
    match line.kind {
        AccessKind::Http => (method, path.into()),
        AccessKind::Upgrade => (method, format!("{path} (upgraded)").into()),
        AccessKind::Tcp => {
            let (up, down) = line.bytes;
            ("TCP", format!("{} in, {} out", bytes(up), bytes(down)).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_240, "1.24 s"),
            (12_400, "12.4 s"),
            (125_000, "2 min 05 s"),
            (7_260_000, "2 h 01 min"),
        ] {
            assert_eq!(duration(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn sizes() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_960, "1.0 MB"), (u64::MAX, "18446744.1 TB")]
        {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_visitor_cannot_drive_the_terminal() {
        assert_eq!(fitted("/a\u{1b}[2J\u{202e}b", 20), "/a?[2J?b");
        assert_eq!(fitted("/abcdef", 4), "/ab…");
        assert_eq!(fitted("/abc", 4), "/abc");
        assert_eq!(fitted("/abc", 0), "…");
    }
}
