//! What the codec costs: a request head with 12 fields, data frames of 16 KiB, a `hello`.
#![expect(clippy::unwrap_used, reason = "a bench that fails shows nothing")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::exchange::{Field, Message, RequestLine, Scheme, encode_data};
use protocol::frame;
use protocol::handshake::{Features, Hello, PeerLimits, VersionRange};
use protocol::id::{ClientId, CredentialId, InstanceId, SessionId, Slot};
use protocol::limits::HANDSHAKE_FRAME_MAX;

/// What a browser sends, more or less, with what a proxy adds.
const FIELDS: [(&str, &str); 12] = [
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark"),
    ("referer", "http://wiki.t.example.com/start"),
    ("cache-control", "no-cache"),
    ("sec-fetch-mode", "navigate"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "wiki.t.example.com"),
    ("via", "1.1 tunnel"),
];

fn fields() -> impl Iterator<Item = (&'static [u8], &'static [u8])> {
    FIELDS.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
}

fn request_head(c: &mut Criterion) {
    let line = RequestLine {
        method: b"GET",
        scheme: Scheme::Http,
        authority: b"wiki.t.example.com",
        path: b"/page/of/some/depth?with=a&query",
        protocol: None,
        expect_continue: false,
        bodyless: true,
    };
    let mut encoded = BytesMut::new();
    line.encode_with(fields(), &mut encoded).unwrap();
    let encoded = encoded.freeze();

    let mut out = BytesMut::with_capacity(4096);
    let mut group = c.benchmark_group("request head, 12 fields");
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            line.encode_with(fields(), black_box(&mut out)).unwrap();
        });
    });
    group.bench_function("decode", |b| {
        b.iter(|| match Message::decode(&mut BytesMut::from(black_box(&encoded[..]))) {
            Ok(Some(Message::Request(head))) => {
                head.fields.iter().map(|Field { value, .. }| value.len()).sum()
            }
            _ => 0,
        });
    });
    group.finish();
}

fn data(c: &mut Criterion) {
    const FRAMES: usize = 16;
    const LENGTH: usize = 16 * 1024;
    let body = Bytes::from(vec![7; LENGTH]);
    let mut stream = BytesMut::new();
    (0..FRAMES).for_each(|_| encode_data(&body, &mut stream).unwrap());
    let stream = stream.freeze();

    let mut out = BytesMut::with_capacity(stream.len());
    let mut group = c.benchmark_group("data, 16 frames of 16 KiB");
    group.throughput(Throughput::Bytes((FRAMES * LENGTH) as u64));
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            (0..FRAMES).for_each(|_| encode_data(black_box(&body), &mut out).unwrap());
        });
    });
    group.bench_function("decode", |b| {
        b.iter_batched(
            || BytesMut::from(&stream[..]),
            |mut stream| {
                while let Some(message) = Message::decode(&mut stream).unwrap() {
                    black_box(message);
                }
            },
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn hello(c: &mut Criterion) {
    let hello = Hello {
        versions: VersionRange::OURS,
        features: Features::OURS,
        client: ClientId([1; 16]),
        instance: InstanceId([2; 16]),
        slot: Slot(0),
        replaces: Some(SessionId(3)),
        limits: PeerLimits::OURS,
        credential: CredentialId::parse("k3-default").unwrap(),
        proof: [4; 64],
        name: "edge-1".to_owned(),
        agent: "tunnelc/0.1.0".to_owned(),
    };
    let mut out = BytesMut::with_capacity(1024);
    c.bench_function("hello, encode and decode", |b| {
        b.iter(|| {
            black_box(&hello).encode(&mut out).unwrap();
            let frame = frame::decode(&mut out, HANDSHAKE_FRAME_MAX).unwrap().unwrap();
            Hello::decode(&frame).unwrap()
        });
    });
}

criterion_group!(codec, request_head, data, hello);
criterion_main!(codec);
