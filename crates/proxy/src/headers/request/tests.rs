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
    Facts::of(&request(target, fields), true, None).err().map(|failure| failure.answer.status.as_u16())
}

fn forwarded(fields: &[(&'static str, &str)]) -> Vec<String> {
    let request = request("/", fields);
    let visitor = FacingVisitor::new(Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().into(), Scheme::Http);
    let facts = Facts::of(&request, true, None).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields = facts.forward(request.headers(), false, &visitor, &[]);
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
fn http2_names_its_host_before_its_fields() {
    let host = |target: &str, fields: &[(&'static str, &str)]| {
        let mut request = request(target, fields);
        *request.version_mut() = Version::HTTP_2;
        Facts::of(&request, false, None)
            .map(|facts| facts.authority)
            .map_err(|failure| failure.answer.status.as_u16())
    };
    assert_eq!(host("http://A.test:80/", &[]).unwrap(), "A.test:80");
    assert_eq!(host("http://a.test/", &[("host", "A.test.:80")]).unwrap(), "A.test.:80");
    assert_eq!(host("/", &[("host", "a.test")]).unwrap(), "a.test");
    assert_eq!(host("/", &[]), Err(400));
    assert_eq!(host("http://a.test/", &[("host", "b.test")]), Err(400));
    assert_eq!(host("http://a.test/", &[("host", "a.test"), ("host", "a.test")]), Err(400));
    assert_eq!(host("http://evil@a.test/", &[]), Err(400));
    assert_eq!(host("http://[::1]/", &[]), Err(404));
}

#[test]
fn split_cookies_are_one_field_for_http1() {
    let fields = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    let cookies = |version| {
        let mut request = request("http://a.test/", &[&fields[..], &[("host", "a.test")]].concat());
        *request.version_mut() = version;
        let facts = Facts::of(&request, true, None).unwrap();
        let visitor = FacingVisitor::new(Ipv4Addr::LOCALHOST.into(), Scheme::Https);
        let fields =
            facts.forward(request.headers(), false, &visitor, &[]).filter(|(name, _)| *name == b"cookie");
        fields.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cookies(Version::HTTP_2), ["a=1; b=2; c=3"]);
    assert_eq!(cookies(Version::HTTP_11).len(), 3);
}

#[test]
fn one_length_is_stated() {
    let host = ("host", "a.test");
    for (lengths, expected) in
        [(&["3"][..], None), (&["003"], None), (&["3", "3"], Some(400)), (&["x"], Some(400))]
    {
        let lengths = lengths.iter().map(|length| ("content-length", *length));
        assert_eq!(status("/", &[host].into_iter().chain(lengths).collect::<Vec<_>>()), expected);
    }
}

#[test]
fn methods_expectations_and_loops() {
    let host = ("host", "a.test");
    for method in ["CONNECT", "TRACE"] {
        let mut request = request("/", &[host]);
        *request.method_mut() = method.parse().unwrap();
        assert_eq!(Facts::of(&request, false, None).unwrap_err().answer.status, StatusCode::NOT_IMPLEMENTED);
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
    assert!(Facts::of(&request, false, None).unwrap().upgrade.is_some());
    assert!(Facts::of(&request, true, None).unwrap().upgrade.is_none());
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

#[test]
fn where_all_hosts_lead_to_one_place_an_address_is_one_too() {
    let localhost = Host::parse("localhost").unwrap();
    let read = |target: &str, host: &str| {
        let request = Request::builder().uri(target).header("host", host).body(()).unwrap();
        let facts = Facts::of(&request, false, Some(&localhost));
        facts.map(|facts| (facts.host, facts.authority)).map_err(|failure| failure.answer.status.as_u16())
    };
    for host in ["127.0.0.1", "127.0.0.1:9000", "[::1]", "[::1]:9000"] {
        assert_eq!(read("/", host), Ok((localhost.clone(), HeaderValue::from_static(host))), "{host}");
    }
    assert_eq!(read("http://127.0.0.1:9000/", "127.0.0.1:9000").unwrap().0, localhost);
    assert_eq!(read("/", "app.test").unwrap().0.as_str(), "app.test");
    for (target, host) in [("/", "127.0.0.1:x"), ("/", "[::1]9"), ("http://10.0.0.1/", "127.0.0.1")] {
        assert_eq!(read(target, host), Err(400), "{target} {host}");
    }
}

/// The visitor, and what the service hears, of a request that came by a proxy at 10.0.0.9; those in 10.0.0.0/8 are trusted.
fn by_proxy(fields: &[(&'static str, &str)]) -> (String, Vec<String>) {
    let request = request("/", &[&[("host", "a.test")], fields].concat());
    let proxy: IpAddr = Ipv4Addr::new(10, 0, 0, 9).into();
    let trusted = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
    let facing = FacingVisitor::new(proxy, Scheme::Http);
    let (visitor, facing) = facing.forwarded(proxy, request.headers(), &trusted);
    let facts = Facts::of(&request, true, None).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let heard = facts.forward(request.headers(), false, &facing, &[]);
    let heard = heard.map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
    (visitor.to_string(), heard)
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let (visitor, heard) = by_proxy(&[
        ("x-forwarded-for", "198.51.100.1, 192.0.2.7"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x_forwarded_for", "6.6.6.6"),
    ]);
    assert_eq!(visitor, "192.0.2.7");
    let all = "x-forwarded-for: 198.51.100.1, 192.0.2.7, 10.0.0.1, 10.0.0.9";
    for line in [all, "x-forwarded-proto: https", "x-forwarded-port: 443", "x-forwarded-host: a.test"] {
        assert!(heard.iter().any(|heard| heard == line), "{line}: {heard:?}");
    }
    assert!(!heard.iter().any(|line| line.contains("6.6.6.6")), "{heard:?}");
}

#[test]
fn what_nobody_can_read_is_not_looked_behind() {
    let visitor = |chain: &'static str| by_proxy(&[("x-forwarded-for", chain)]).0;
    assert_eq!(visitor("192.0.2.7, unknown"), "10.0.0.9");
    assert_eq!(visitor("[2001:db8::7]:443, 10.0.0.1"), "2001:db8::7");
    assert_eq!(visitor("192.0.2.7:5000"), "192.0.2.7");
    assert_eq!(visitor("10.0.0.2, 10.0.0.1"), "10.0.0.2");
    assert_eq!(by_proxy(&[]).0, "10.0.0.9");
}
