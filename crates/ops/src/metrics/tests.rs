use std::time::{Duration, SystemTime};

use super::*;
use crate::error_kind::ErrorKind;
use crate::spawn::Placement;

fn lines(metrics: &Metrics) -> Vec<String> {
    metrics.encode().unwrap().lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_line(metrics: &Metrics, line: &str) {
    let lines = lines(metrics);
    assert!(lines.iter().any(|have| have == line), "no {line:?} in\n{}", lines.join("\n"));
}

fn failure(kind: ErrorKind, number: u8) -> Failure {
    Failure { kind, at: SystemTime::UNIX_EPOCH, trace: [number; 16] }
}

#[test]
fn the_last_failures_are_remembered_and_all_are_counted() {
    let route = Metrics::new("0").route("wiki", "", "wiki");
    assert!(route.failures().is_empty());
    (0..20).for_each(|number| route.error(failure(ErrorKind::ServiceRefused, number)));
    let numbers: Vec<_> = route.clone().failures().iter().map(|failure| failure.trace[0]).collect();
    assert_eq!(numbers, [12, 13, 14, 15, 16, 17, 18, 19]);
    assert_eq!(route.errors(ErrorKind::ServiceRefused), 20);
}

#[test]
fn names_and_labels_are_those_of_the_interface() {
    let metrics = Metrics::new("1.2.3");
    let wiki = metrics.route("wiki", "~c1", "wiki");
    wiki.request(200, Duration::from_millis(3));
    wiki.request(200, Duration::from_millis(4));
    wiki.error(failure(ErrorKind::ServiceRefused, 0));
    metrics.unrouted().error(failure(ErrorKind::NoRoute, 0));
    metrics.bytes(Direction::Out, 5);
    metrics.session_replaced(ReplacedReason::Superseded);
    metrics.session_rtt(Duration::from_millis(20));
    metrics.retry(RetryOutcome::OverBudget);
    metrics.auth_failure();
    metrics.guard_closed(GuardReason::SlowHead);
    metrics.accept_error();
    for line in [
        r#"tunnel_requests_total{route="wiki",group="~c1",service="wiki",code="200"} 2"#,
        r#"tunnel_request_duration_seconds_count{route="wiki",group="~c1",service="wiki"} 2"#,
        r#"tunnel_request_duration_seconds_bucket{le="0.005",route="wiki",group="~c1",service="wiki"} 2"#,
        r#"tunnel_errors_total{kind="service-refused",route="wiki",group="~c1"} 1"#,
        r#"tunnel_errors_total{kind="no-route",route="",group=""} 1"#,
        r#"tunnel_bytes_total{direction="out"} 5"#,
        r#"tunnel_bytes_total{direction="in"} 0"#,
        r#"tunnel_session_replaced_total{reason="superseded"} 1"#,
        "tunnel_session_rtt_seconds_count 1",
        r#"tunnel_retries_total{outcome="over-budget"} 1"#,
        "tunnel_auth_failures_total 1",
        r#"tunnel_guard_closed_total{reason="slow-head"} 1"#,
        "tunnel_accept_errors_total 1",
        r#"tunnel_build_info{version="1.2.3"} 1"#,
        "# EOF",
    ] {
        assert_line(&metrics, line);
    }
}

#[test]
fn guards_bring_gauges_down_again() {
    let metrics = Metrics::new("0");
    let held = (metrics.session(), metrics.substream(), metrics.ingress("http").connection());
    for (gauge, labels) in
        [("sessions", ""), ("substreams_open", ""), ("active_connections", r#"{ingress="http"}"#)]
    {
        assert_line(&metrics, &format!("tunnel_{gauge}{labels} 1"));
    }
    drop(held);
    for (gauge, labels) in
        [("sessions", ""), ("substreams_open", ""), ("active_connections", r#"{ingress="http"}"#)]
    {
        assert_line(&metrics, &format!("tunnel_{gauge}{labels} 0"));
    }
}

#[test]
fn a_route_that_nobody_asked_for_is_not_counted() {
    let metrics = Metrics::new("0");
    let before = metrics.encode().unwrap();
    let idle: Vec<_> = (0..3 * LABEL_SETS).map(|n| metrics.route(&format!("idle{n}"), "g", "s")).collect();
    assert_eq!(metrics.encode().unwrap(), before);
    metrics.route("busy", "g", "s").error(failure(ErrorKind::NoMember, 0));
    // Who comes to the same route by another handle counts on.
    let again = metrics.route("busy", "g", "s");
    assert_eq!(again.errors(ErrorKind::NoMember), 1);
    again.error(failure(ErrorKind::NoMember, 0));
    assert_line(&metrics, r#"tunnel_errors_total{kind="no-member",route="busy",group="g"} 2"#);
    assert_eq!(idle[0].errors(ErrorKind::NoMember), 0);
}

#[test]
fn routes_beyond_the_bound_are_other() {
    let metrics = Metrics::new("0");
    for index in 0..LABEL_SETS + 10 {
        metrics.route(&format!("r{index}"), "g", "s").request(200, Duration::ZERO);
    }
    metrics.route("r0", "g", "s").request(200, Duration::ZERO);
    assert_line(
        &metrics,
        r#"tunnel_requests_total{route="other",group="other",service="other",code="200"} 10"#,
    );
    assert_line(&metrics, r#"tunnel_requests_total{route="r0",group="g",service="s",code="200"} 2"#);
    let series = lines(&metrics).iter().filter(|line| line.starts_with("tunnel_requests_total")).count();
    assert_eq!(series, LABEL_SETS + 1);
}

#[test]
fn a_service_cannot_invent_codes_without_end() {
    let metrics = Metrics::new("0");
    let route = metrics.route("r", "g", "s");
    for status in 100..1000 {
        route.request(status, Duration::ZERO);
    }
    assert_line(&metrics, r#"tunnel_requests_total{route="r",group="g",service="s",code="100"} 1"#);
    let text = metrics.encode().unwrap();
    assert!(text.contains(r#"code="other"} 868"#), "{text}");
}

#[test]
fn label_values_are_escaped() {
    let metrics = Metrics::new("0");
    metrics.route("a\"b\n", "g", "s").request(200, Duration::ZERO);
    assert_line(&metrics, r#"tunnel_requests_total{route="a\"b\n",group="g",service="s",code="200"} 1"#);
}

#[test]
fn counts_of_others_are_read_when_scraped() {
    let metrics = Metrics::new("0");
    assert!(!metrics.encode().unwrap().contains("tasks_alive"));
    let (spawner, _workers) = Spawner::start(1, Placement::PerCore).unwrap();
    metrics.watch_tasks(&spawner);
    metrics.watch_dropped_logs(|| 9);
    let _task = spawner.spawn(spawner.next_worker(), "stuck", std::future::pending::<()>());
    assert_line(&metrics, "tunnel_tasks_alive 1");
    assert_line(&metrics, "tunnel_tasks_panicked_total 0");
    assert_line(&metrics, "tunnel_dropped_logs_total 9");
    metrics.certificate_expires(SystemTime::UNIX_EPOCH);
    assert!(metrics.encode().unwrap().contains("tunnel_certificate_expiry_seconds -"));
}
