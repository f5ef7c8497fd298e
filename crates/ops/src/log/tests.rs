use std::fs::OpenOptions;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::*;

/// What `log` writes in `style` through `filter`.
fn written(style: Style, filter: &str, log: impl FnOnce()) -> String {
    let buffer = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&buffer);
    let writer = move || Shared(Arc::clone(&sink));
    let subscriber =
        tracing_subscriber::registry().with(layer(style, Filter::parse(filter).unwrap(), writer));
    tracing::subscriber::with_default(subscriber, log);
    String::from_utf8(buffer.lock().unwrap().clone()).unwrap()
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const TEXT: Style = Style { json: false, terminal: false, colour: false };
const JSON: Style = Style { json: true, terminal: false, colour: false };

#[test]
fn text_is_time_level_message_fields() {
    let line = written(TEXT, "info", || tracing::info!(route = "wiki", status = 200, "answered"));
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
    assert_eq!(rest.trim(), "INFO answered route=\"wiki\" status=200");
    let short = written(Style { terminal: true, ..TEXT }, "info", || tracing::info!("x"));
    assert_eq!(short.split_once(' ').unwrap().0.len(), "21:10:03.123Z".len(), "{short}");
}

#[test]
fn json_is_one_flat_object_per_line() {
    let line = written(JSON, "info", || tracing::warn!(route = "wi\nki", status = 200, "answered"));
    assert_eq!(line.lines().count(), 1);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["level"], "WARN");
    assert_eq!(value["message"], "answered");
    assert_eq!(value["route"], "wi\nki");
    assert_eq!(value["status"], 200);
    assert!(humantime::parse_rfc3339(value["timestamp"].as_str().unwrap()).is_ok());
}

#[test]
fn json_has_a_form_for_every_kind_of_value() {
    let line = written(JSON, "info", || {
        let error: &(dyn std::error::Error + 'static) = &UnknownLogFormat("\"\u{1}\u{e9}".to_owned());
        tracing::info!(
            target: "kinds",
            yes = true,
            less = -3,
            half = 0.5,
            none = f64::NAN,
            absent = None::<u64>,
            error,
            shown = %"a\tb",
            debug = ?Some("\"c\""),
            "{}",
            "d\\e"
        );
    });
    let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
    value.as_object_mut().unwrap().remove("timestamp").unwrap();
    let wanted = serde_json::json!({
        "level": "INFO", "target": "kinds", "message": "d\\e", "yes": true, "less": -3, "half": 0.5, "none": null,
        "error": "\"\\\"\\u{1}\u{e9}\" is no log format; use text or json", "shown": "a\tb",
        "debug": "Some(\"\\\"c\\\"\")",
    });
    assert_eq!(value, wanted);
}

#[test]
fn no_colours_unless_asked_for() {
    let log = || tracing::error!("x");
    assert!(!written(Style { terminal: true, ..TEXT }, "info", log).contains('\x1b'));
    assert!(written(Style { terminal: true, colour: true, ..TEXT }, "info", log).contains('\x1b'));
}

#[test]
fn libraries_are_quiet_unless_named() {
    let log = || {
        tracing::info!(target: "yamux::connection", "frame");
        tracing::warn!(target: "yamux::connection", "trouble");
        tracing::info!(target: "server", "ours");
    };
    let has = |filter, words: &[&str]| {
        let text = written(TEXT, filter, log);
        let found: Vec<_> =
            ["frame", "trouble", "ours"].into_iter().filter(|word| text.contains(word)).collect();
        assert_eq!(found, words, "{filter}");
    };
    has("debug", &["trouble", "ours"]);
    has("info,yamux=trace", &["frame", "trouble", "ours"]);
    has("error", &[]);
}

#[test]
fn the_format_follows_the_terminal_only_if_auto() {
    assert!(LogFormat::Auto.is_json(false) && !LogFormat::Auto.is_json(true));
    assert!(!LogFormat::Text.is_json(false) && LogFormat::Json.is_json(true));
    assert!("xml".parse::<LogFormat>().unwrap_err().to_string().contains("json"));
}

#[test]
fn a_full_device_loses_lines_and_counts_them() {
    let lost = Arc::new(AtomicU64::new(0));
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(BUFFERED_LINES);
    let (writer, worker) = builder.finish(Lossy::new(full, Arc::clone(&lost)));
    let subscriber =
        tracing_subscriber::registry().with(layer(TEXT, Filter::parse("info").unwrap(), writer.clone()));
    tracing::subscriber::with_default(subscriber, || (0..10).for_each(|n| tracing::info!(n, "lost")));
    let guard = LogGuard { worker: Some(worker), overflown: writer.error_counter(), unwritten: lost };
    let dropped = guard.dropped();
    drop(guard);
    assert_eq!(dropped(), 10);
}

#[test]
fn a_reader_that_stopped_makes_nobody_wait() {
    struct Stuck(std::sync::mpsc::Sender<()>, std::sync::mpsc::Receiver<()>);
    impl io::Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            let _ = self.0.send(());
            let _ = self.1.recv();
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (stuck, is_stuck) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel();
    let lost = Arc::new(AtomicU64::new(0));
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(4);
    let (writer, worker) = builder.finish(Lossy::new(Stuck(stuck, released), Arc::clone(&lost)));
    let overflown = writer.error_counter();
    let subscriber = tracing_subscriber::registry().with(layer(TEXT, Filter::parse("info").unwrap(), writer));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("taken");
        is_stuck.recv().unwrap();
        (1..100).for_each(|n| tracing::info!(n, "lost"));
    });
    // One in the writer's hands and four in the queue; the others were dropped.
    assert!(overflown.dropped_lines() >= 95);
    drop(release);
    let guard = LogGuard { worker: Some(worker), overflown, unwritten: Arc::clone(&lost) };
    let dropped = guard.dropped();
    drop(guard);
    assert_eq!(dropped(), 100);
    assert!(lost.load(Ordering::Relaxed) <= 5);
}

/// Not a test by itself: the process that `the_process_lives_whatever_stderr_is` looks at.
#[test]
fn child() {
    if std::env::var_os("OPS_LOG_CHILD").is_none() {
        return;
    }
    let options = LogOptions { format: LogFormat::Auto, default_filter: "info".to_owned() };
    let guard = init(&options).unwrap();
    assert!(matches!(init(&options), Err(LogError::AlreadySet(_))));
    assert!(std::thread::spawn(|| panic!("on purpose")).join().is_err());
    let secret = || withhold_panic_text(|| panic!("a password"));
    assert!(std::thread::spawn(secret).join().is_err());
    (0..3 * BUFFERED_LINES).for_each(|n| tracing::info!(n, "flood"));
    drop(guard);
}

fn run_child(stderr: impl Into<std::process::Stdio>) -> std::process::Output {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "log::tests::child", "--nocapture"])
        .env("OPS_LOG_CHILD", "1")
        .env("RUST_LOG", "info,=nonsense=")
        .stderr(stderr)
        .output()
        .unwrap()
}

#[test]
fn the_process_lives_whatever_stderr_is() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, closed_pipe) = io::pipe().unwrap();
    drop(reader);
    for stderr in [std::process::Stdio::from(full), closed_pipe.into()] {
        let output = run_child(stderr);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    // A reader gets every line that was not dropped, each one whole.
    let output = run_child(std::process::Stdio::piped());
    assert!(output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let messages: Vec<String> = stderr
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(messages[0].starts_with("RUST_LOG is malformed"), "{}", messages[0]);
    assert_eq!(messages[1], "panic: on purpose");
    assert_eq!(messages[2], "panic: (text withheld)");
    assert!(messages.len() > BUFFERED_LINES);
}
