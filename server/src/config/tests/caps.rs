//! Limits, time-outs that may be off, and what connections may go to.

use std::time::Duration;

use super::{good, wrong};

#[test]
fn connections_go_to_services_without_a_scheme_and_without_plugins() {
    let source = r#"
service = [
  { name = "web", servers = [{ address = "1" }, { address = "http://127.0.0.1:2" }] },
  { name = "db", servers = [{ address = "1" }, { address = "unix:/run/db" }] },
  { name = "shut", servers = [{ address = "1" }], plugins = ["own"] },
]
plugin = [{ name = "own", kind = "ip-allow", deny = ["192.0.2.66"] }]
tcp = [{ listen = "[::]:1", to = "web" }, { listen = "[::]:2", to = "db" }, { listen = "[::]:4", to = "shut" }]
tls = [{ host = "a.b", listen = "[::]:3", to = "g/web" }]
group = [{ name = "g", service = [{ name = "web", servers = [{ address = "h2c://a.b:1" }] }] }]
"#;
    let expected = [
        "8:34 \"web\" takes requests only: a server of it has a scheme",
        "8:103 \"shut\" takes requests only: it has plugins, which see no connections",
        "9:48 \"g/web\" takes requests only: a server of it has a scheme",
    ];
    assert_eq!(wrong(source), expected);
}

#[test]
fn caps_and_time_outs_that_are_off() {
    let config = good(
        r#"
        limits = { max_body = "10MiB", max_requests_per_client = 100 }
        timeouts = { request = "0s" }
        service = [{ name = "s", servers = [{ address = "1" }] }]
        rule = [
          { name = "large", to = "s", timeout = "0s", max_body = 0, max_concurrent_requests = 5 },
          { name = "small", path_prefix = "/s", to = "s", max_body = "512KiB" },
        ]
        "#,
    );
    assert_eq!(config.limits.max_body, Some(10 << 20));
    assert_eq!(config.limits.requests_per_client, Some(100));
    assert_eq!(config.timeouts.data_plane.request, Duration::MAX);
    let [large, small] = config.rules.as_slice() else { panic!("{:?}", config.rules) };
    let treatment = &large.treatment;
    assert_eq!((treatment.timeout, treatment.max_body), (Some(Duration::ZERO), Some(0)));
    assert_eq!(treatment.max_concurrent_requests, Some(5));
    assert_eq!(small.treatment.max_body, Some(512 << 10));
}

#[test]
fn a_member_has_time_for_its_first_answer() {
    for (written, open) in [("100ms", 2), ("2s", 2), ("9s", 9)] {
        let config = good(&format!("timeouts = {{ open = \"{written}\" }}"));
        assert_eq!(config.timeouts.data_plane.open, Duration::from_secs(open));
    }
}

#[test]
fn what_a_cap_can_not_be() {
    let source = r#"
limits = { max_body = "10MB", max_requests_per_client = 0 }
timeouts = { request = "5ms", open = "5ms" }
service = [{ name = "s", servers = [{ address = "1" }] }]
rule = [{ name = "r", to = "s", max_body = -1, timeout = "1us" }]
"#;
    let expected = [
        "2:23 \"10MB\" is no number of bytes: write 10MiB, 512KiB, 2GiB or 1000",
        "2:57 `max_requests_per_client` is a number from 1 to 1000000",
        "3:24 `request` is \"0s\" for no limit, or at least 100ms",
        "3:38 `open` is a time from 100ms to 7days",
        "5:44 `max_body` is a number from 0 to 9223372036854775807",
        "5:58 `timeout` is \"0s\" for no limit, or at least 1ms",
    ];
    assert_eq!(wrong(source), expected);
}
