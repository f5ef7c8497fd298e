use std::net::Ipv4Addr;

use http::StatusCode;

use super::*;

fn request(target: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn status(target: &str, fields: &[(&'static str, &str)]) -> Option<u16> {
    Facts::of(&request(target, fields), true).err().map(|failure| failure.answer.status.as_u16())
}

fn forwarded(fields: &[(&'static str, &str)]) -> Vec<String> {
    let request = request("/", fields);
    let visitor = FacingVisitor::new(Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().into(), Scheme::Http);
    let facts = Facts::of(&request, true).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = facts.forward(request.headers(), &visitor);
    fields.map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
}

#[test]
fn hosts_as_services_would_read_them() {
    assert_eq!(status("/", &[("host", "A.Test:80")]), None);
    assert_eq!(status("/", &[]), Some(400));
    assert_eq!(status("/", &[("host", "a.test"), ("host", "a.test")]), Some(400));
    for bad in ["a, b", "a.test/evil", "evil@a.test", "a b", "", "a..b", "a.test:x"] {
        assert_eq!(status("/", &[("host", bad)]), Some(400), "{bad}");
    }
    assert_eq!(status("/", &[("host", "127.0.0.1:80")]), Some(404));
    assert_eq!(status("http://a.test/", &[("host", "A.test.")]), None);
    assert_eq!(status("http://b.test/", &[("host", "a.test")]), Some(400));
}

#[test]
fn framing_that_could_be_read_in_two_ways_is_refused() {
    let host = ("host", "a.test");
    for (coding, expected) in [
        ("chunked", None),
        ("Chunked", None),
        ("gzip, chunked", Some(501)),
        ("chunked, chunked", Some(400)),
        (",chunked", Some(400)),
        ("identity, chunked", Some(501)),
    ] {
        assert_eq!(status("/", &[host, ("transfer-encoding", coding)]), expected, "{coding}");
    }
    assert_eq!(
        status("/", &[host, ("transfer-encoding", "identity"), ("transfer-encoding", "chunked")]),
        Some(400)
    );
    assert_eq!(status("/", &[host, ("transfer-encoding", "chunked"), ("content-length", "3")]), Some(400));
}

#[test]
fn methods_expectations_and_loops() {
    let host = ("host", "a.test");
    for method in ["CONNECT", "TRACE"] {
        let mut request = request("/", &[host]);
        *request.method_mut() = method.parse().unwrap();
        assert_eq!(Facts::of(&request, false).unwrap_err().answer.status, StatusCode::NOT_IMPLEMENTED);
    }
    assert_eq!(status("/", &[host, ("expect", "100-Continue")]), None);
    assert_eq!(status("/", &[host, ("expect", "200-maybe")]), Some(417));
    assert_eq!(status("/", &[host, (HOPS, "4")]), None);
    assert_eq!(status("/", &[host, (HOPS, "5")]), Some(508));
    assert_eq!(status("/", &[host, ("connection", "close, X-Forwarded-For")]), Some(400));
}

#[test]
fn what_a_visitor_says_about_itself_is_replaced() {
    let fields = forwarded(&[
        ("host", "a.test:8080"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x-real_ip", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("transfer_encoding", "chunked"),
        ("content_length", "3"),
        ("x_mine", "stays"),
    ]);
    assert_eq!(
        fields,
        [
            "x_mine: stays",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: http",
            "x-forwarded-host: a.test:8080",
            "x-tunnel-hops: 1",
        ]
    );
}

#[test]
fn hop_by_hop_fields_end_here_and_the_others_keep_their_order() {
    let fields = forwarded(&[
        ("host", "a.test"),
        ("accept", "b"),
        ("connection", "keep-alive, x-hop, te"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip, trailers"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("content-length", "007"),
        (HOPS, "2"),
    ]);
    assert_eq!(fields[..5], ["accept: b", "cookie: a=1", "cookie: b=2", "content-length: 7", "te: trailers"]);
    assert_eq!(fields.last().unwrap(), "x-tunnel-hops: 3");
    assert_eq!(fields.len(), 9);
}

#[test]
fn an_upgrade_with_a_body_is_none() {
    let request = request("/", &[("host", "a.test"), ("connection", "upgrade"), ("upgrade", "websocket")]);
    assert!(Facts::of(&request, false).unwrap().upgrade.is_some());
    assert!(Facts::of(&request, true).unwrap().upgrade.is_none());
}

#[test]
fn fields_for_a_service_are_put_together() {
    let field = |name: &'static str, value: &'static str| Field {
        name: Bytes::from_static(name.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
    };
    let fields = [
        field("accept", "a"),
        field("host", "evil.test"),
        field("te", "trailers"),
        field("transfer-encoding", "chunked"),
        field("cookie", "a"),
        field("cookie", "b"),
    ];
    let authority = Bytes::from_static(b"a.test:80");
    let headers = restore_request(&authority, None, &fields).unwrap();
    assert_eq!(headers["host"], "a.test:80");
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers.get_all("cookie").iter().count(), 2);
    assert!(!headers.contains_key("transfer-encoding"));
    let set = HeaderValue::from_static("localhost:3000");
    assert_eq!(restore_request(&authority, Some(&set), &fields).unwrap()["host"], "localhost:3000");
    assert!(restore_request(&authority, None, &[field("bad name", "")]).is_none());
}
