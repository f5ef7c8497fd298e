//! D20: fields. What belongs to one connection ends there, nobody says who the visitor is but the ingress, and the rest passes
//! byte for byte and in its order.

use tests::fixture::{Ending, Played, Scripted};
use tests::http2::{self, Http2Visitor};
use tests::leak::Baseline;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{End, Raw};
use tests::wait::{SOON, within};

use crate::stage::{HOST, Web};

type Field = (Vec<u8>, Vec<u8>);

/// The first line of a head, and its fields with their names in lower case.
fn parse(head: &[u8]) -> (String, Vec<Field>) {
    let mut lines = head.strip_suffix(b"\r\n\r\n").unwrap().split(|byte| *byte == b'\n');
    let first = String::from_utf8(lines.next().unwrap().trim_ascii().to_vec()).unwrap();
    let fields = lines.map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
        (line[..colon].to_ascii_lowercase(), value.to_vec())
    });
    (first, fields.collect())
}

fn values<'f>(fields: &'f [Field], name: &str) -> Vec<&'f [u8]> {
    let of_name = fields.iter().filter(|(is, _)| is.eq_ignore_ascii_case(name.as_bytes()));
    of_name.map(|(_, value)| value.as_slice()).collect()
}

/// Fields that are end to end, in this order.
fn end_to_end() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("x-first", b"1".to_vec()),
        ("x-empty", Vec::new()),
        ("x-long", vec![b'l'; 8 * 1024]),
        ("x-latin", b"caf\xe9 \xff".to_vec()),
        ("x-utf8", "grün".as_bytes().to_vec()),
        ("x-twice", b"a".to_vec()),
        ("x-twice", b"b, c".to_vec()),
        ("x-twice", b"a".to_vec()),
        ("x_of_their_own", b"passes".to_vec()),
        ("x-inner", b"a  b\tc \"d; e=f\"".to_vec()),
        ("via", b"1.1 somebody".to_vec()),
        ("x-last", b"z".to_vec()),
    ]
}

/// Their lines, without those of `but`.
fn lines(fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let line = |(name, value): &(&str, Vec<u8>)| [name.as_bytes(), b": ", value, b"\r\n"].concat();
    fields.iter().flat_map(line).collect()
}

/// Those of `heard` that are end to end, as they came.
fn passed(heard: &[Field]) -> Vec<Field> {
    let known = end_to_end();
    let is_known = |name: &[u8]| known.iter().any(|(known, _)| known.as_bytes() == name);
    heard.iter().filter(|(name, _)| is_known(name)).cloned().collect()
}

fn expected() -> Vec<Field> {
    end_to_end().into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value)).collect()
}

/// What a visitor may say of itself, and what can be taken for it or for a field that decides.
const UNTRUSTED: [&str; 20] = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "Forwarded",
    "X-Real-IP",
    "X_Forwarded_For",
    "X-Forwarded_For",
    "X_Forwarded_Proto",
    "X_Forwarded_Host",
    "X_Real_IP",
    "Content_Length",
    "Content_Type",
    "Transfer_Encoding",
    "X_Forwarded-Port",
    "x_forwarded_prefix",
    "X-FORWARDED_SERVER",
    "TRANSFER_ENCODING",
];

async fn stage() -> Web<Played> {
    Web::to(Played::start().await, Played::addr).await
}

/// Sends a head; what the service hears of it. It answers with nothing, and the connection ends.
async fn heard(web: &Web<Played>, head: &[u8]) -> (String, Vec<Field>) {
    let mut visitor = Raw::open(web.door()).await;
    visitor.send(head).await;
    let mut service = web.service.accept().await;
    let heard = service.head_bytes().await;
    service.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    let answer = visitor.head().await;
    assert!(answer.contains(" 204 "), "{answer}");
    parse(&heard)
}

#[tokio::test]
async fn d20_fields_of_a_request() {
    let web = stage().await;
    let get = format!("GET /a?b=c HTTP/1.1\r\nHost: {HOST}\r\n");
    heard(&web, format!("{get}\r\n").as_bytes()).await;
    let baseline = Baseline::of(&web.server, &web.tunnel.program).await;

    // All that is end to end, with what is not in between.
    let hops = b"Connection: keep-alive, X-Hop, x-other-hop\r\nX-Hop: 1\r\nX-Other-Hop: 2\r\nKeep-Alive: timeout=5\r\n\
                 Proxy-Connection: keep-alive\r\nTE: trailers, deflate\r\n";
    let untrusted: String = UNTRUSTED.iter().map(|name| format!("{name}: evil\r\n")).collect();
    let fields = lines(&end_to_end());
    let head = [get.as_bytes(), hops, &fields, untrusted.as_bytes(), b"Cookie: a=1; b=2\r\n\r\n"].concat();
    let (first, fields) = heard(&web, &head).await;
    assert_eq!(first, "GET /a?b=c HTTP/1.1");
    assert_eq!(passed(&fields), expected());
    for gone in ["x-hop", "x-other-hop", "keep-alive", "proxy-connection"] {
        assert!(values(&fields, gone).is_empty(), "{gone} has passed");
    }
    for (name, value) in &fields {
        assert_ne!(value, b"evil", "{} has passed", String::from_utf8_lossy(name));
    }
    assert_eq!(values(&fields, "x-forwarded-for"), [b"127.0.0.1"]);
    assert_eq!(values(&fields, "x-forwarded-proto"), [b"http"]);
    assert_eq!(values(&fields, "x-forwarded-host"), [HOST.as_bytes()]);
    assert_eq!(values(&fields, "host"), [HOST.as_bytes()]);
    assert_eq!(values(&fields, "te"), [b"trailers"]);
    assert_eq!(values(&fields, "cookie"), [b"a=1; b=2"]);
    assert_eq!(values(&fields, "content-length").len() + values(&fields, "transfer-encoding").len(), 0);

    let Web { server, tunnel, service, .. } = web;
    drop(service);
    baseline.holds(&server, &tunnel.program).await;
}

#[tokio::test]
async fn d20_a_connection_can_not_take_what_others_rely_on() {
    let web = stage().await;
    for listed in [
        "Host",
        "Content-Length",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "close, x-forwarded-proto",
        "X-Real-Ip",
        "Forwarded",
    ] {
        let mut visitor = Raw::open(web.door()).await;
        let fields = "Authorization: Basic YTpi\r\nCookie: a=1\r\nContent-Length: 0\r\n";
        visitor
            .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n{fields}Connection: {listed}\r\n\r\n"))
            .await;
        let (answer, end) = visitor.rest(SOON).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400 ") && end == End::Fin, "{listed}: {answer}");
        assert!(web.service.waiting().await.is_none(), "{listed}");
    }
}

#[tokio::test]
async fn d20_fields_of_a_request_of_http2() {
    let web = stage().await;
    let mut visitor = Http2Visitor::connect(web.door()).await.unwrap();
    let mut asked =
        http2::request("GET", HOST, "/a?b=c", &[("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2")]);
    for (name, value) in end_to_end() {
        asked.headers_mut().append(name, value.as_slice().try_into().unwrap());
    }
    for name in UNTRUSTED {
        let name: http::HeaderName = name.parse().unwrap();
        asked.headers_mut().append(name, "evil".parse().unwrap());
    }
    let (response, _) = visitor.send(asked, true).await.unwrap();
    let mut service = web.service.accept().await;
    let (first, fields) = parse(&service.head_bytes().await);
    service.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(within("the answer", SOON, response).await.unwrap().status(), 204);
    assert_eq!(first, "GET /a?b=c HTTP/1.1");
    assert_eq!(passed(&fields), expected());
    assert!(fields.iter().all(|(_, value)| value != b"evil"), "{fields:?}");
    assert_eq!(values(&fields, "cookie"), [b"a=1; b=2"]);
    assert_eq!(values(&fields, "te"), [b"trailers"]);
    assert_eq!(values(&fields, "host"), [HOST.as_bytes()]);
    assert_eq!(values(&fields, "x-forwarded-for"), [b"127.0.0.1"]);
}

#[tokio::test]
async fn d20_fields_of_a_response() {
    let cookies = "Set-Cookie: b=2; Path=/\r\nSet-Cookie: a=1\r\nSet-Cookie: b=3, d\r\n";
    let hops = "Connection: x-hop, set-cookie, strict-transport-security\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nStrict-Transport-Security: max-age=1\r\n";
    let head = [
        b"HTTP/1.1 200 Fine\r\n",
        hops.as_bytes(),
        &lines(&end_to_end()),
        cookies.as_bytes(),
        b"Content-Length: 2\r\n\r\nok",
    ];
    let web = Web::to(Scripted::http(head.concat(), Ending::Hold).await, Scripted::addr).await;
    let check = |fields: &[Field]| {
        assert_eq!(passed(fields), expected());
        assert_eq!(values(fields, "set-cookie"), [&b"b=2; Path=/"[..], b"a=1", b"b=3, d"]);
        assert_eq!(values(fields, "strict-transport-security"), [b"max-age=1"]);
        for gone in ["x-hop", "keep-alive", "proxy-authenticate", "upgrade"] {
            assert!(values(fields, gone).is_empty(), "{gone} has passed");
        }
    };
    let mut visitor = Raw::open(web.door()).await;
    visitor.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let (_, fields) = parse(&visitor.head_bytes().await);
    check(&fields);
    assert_eq!(values(&fields, "content-length"), [b"2"]);

    let mut visitor = Http2Visitor::connect(web.door()).await.unwrap();
    let answer = visitor.get(HOST, "/").await.unwrap();
    let fields: Vec<_> = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    check(&fields);
}

#[tokio::test]
async fn d20_a_trusted_proxy_is_believed() {
    let config = "trusted_proxies = [\"127.0.0.1/32\", \"203.0.113.0/24\"]\n".to_owned();
    let server = Tunneld::configured(|_| config, &[]).await;
    let (service, home) = (Played::start().await, Home::new());
    let tunnel = home.http(&server.join(), service.addr(), &["--host", "demo"]).await;
    let web = Web { tunnel, home, server, service };
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 192.0.2.1, 198.51.100.7\r\nX-Forwarded-For: 203.0.113.9\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nForwarded: for=198.51.100.7\r\n\
         X_Forwarded_For: evil\r\n\r\n"
    );
    let (_, fields) = heard(&web, head.as_bytes()).await;
    assert_eq!(
        values(&fields, "x-forwarded-for"),
        [b"192.0.2.1, 198.51.100.7, 203.0.113.9, 127.0.0.1"],
        "appended"
    );
    assert_eq!(values(&fields, "x-forwarded-proto"), [b"https"]);
    assert_eq!(values(&fields, "x-forwarded-host"), [b"shop.example"]);
    assert_eq!(values(&fields, "forwarded"), [b"for=198.51.100.7"]);
    assert!(values(&fields, "x_forwarded_for").is_empty());
}
