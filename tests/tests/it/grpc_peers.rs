//! gRPC as others speak it: grpcio calls tonic, tonic calls grpcio, and what they are told when it goes wrong.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::uri::PathAndQuery;
use rustix::process::Signal;
use tests::fixture::{GrpcService, LARGEST, Plain};
use tests::peer::{Peer, python};
use tests::place::nobody;
use tests::program::Program;
use tests::tunneld::Tunneld;
use tests::wait::{SOON, promised, until, within};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::front::{Front, HOST};

const DOORS: [bool; 2] = [false, true];

/// grpcio as a visitor of a front, over TLS or plain.
fn grpcio(front: &Front, secure: bool, what: &str) -> Program {
    let (to, authority) = if secure {
        (front.https(), front.certificate().display().to_string())
    } else {
        (front.http(), "-".to_owned())
    };
    Program::start(python("grpc_client.py", &[&to.to_string(), HOST, &authority, what]))
}

async fn serves_grpcio(front: &Front, service: &GrpcService) {
    for secure in DOORS {
        let done = grpcio(front, secure, "all").finished(SOON * 2).await;
        assert!(done.code == Some(0) && done.stdout.ends_with("all ok"), "{}", done.text());
    }
    // Those that ran into their deadline are given up at the service too.
    until("nobody hangs", promised(Duration::from_secs(1)), async || (service.hanging() == 0).then_some(()))
        .await;
    for secure in DOORS {
        let before = service.cancelled();
        let client = grpcio(front, secure, "cancel");
        client.says("cancelled", SOON).await;
        let given_up = async || (service.cancelled() == before + 1 && service.hanging() == 0).then_some(());
        until("the service hears of it", promised(Duration::from_secs(1)), given_up).await;
    }
}

#[tokio::test]
async fn grpcio_calls_tonic() {
    let service = GrpcService::h2c().await;
    let front = Front::to(format!("h2c://{}", service.addr())).await;
    serves_grpcio(&front, &service).await;
}

#[tokio::test]
async fn grpcio_calls_tonic_over_tls() {
    let (service, authority) = GrpcService::https().await;
    let target = format!("https://localhost:{}", service.addr().port());
    let front = Front::trusting(target, Some(&authority)).await;
    serves_grpcio(&front, &service).await;
}

/// tonic as a visitor.
struct Tonic(Grpc<Channel>);

impl Tonic {
    async fn visit(front: &Front, secure: bool) -> Self {
        let (scheme, to) = if secure { ("https", front.https()) } else { ("http", front.http()) };
        let origin = format!("{scheme}://{HOST}:{}", to.port()).parse().unwrap();
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{to}")).unwrap().origin(origin);
        if secure {
            let authority = Certificate::from_pem(std::fs::read(front.certificate()).unwrap());
            let trust = ClientTlsConfig::new().ca_certificate(authority).domain_name(HOST);
            endpoint = endpoint.tls_config(trust).unwrap();
        }
        let channel = within("tonic connects", SOON, endpoint.connect()).await.unwrap();
        Self(Grpc::new(channel).max_decoding_message_size(LARGEST))
    }

    async fn to(server: &Tunneld, host: &str) -> Self {
        let to = server.listen().http;
        let origin = format!("http://{host}:{}", to.port()).parse().unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap().origin(origin);
        Self(Grpc::new(within("tonic connects", SOON, endpoint.connect()).await.unwrap()))
    }

    async fn unary(&mut self, method: &str, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        self.0.ready().await.unwrap();
        within(method, SOON, self.0.unary(request, path(method), Plain)).await
    }

    async fn streamed(&mut self, method: &str, message: &'static str) -> Result<Streaming<Bytes>, Status> {
        self.0.ready().await.unwrap();
        let request = Request::new(Bytes::from_static(message.as_bytes()));
        let call = self.0.server_streaming(request, path(method), Plain);
        Ok(within(method, SOON, call).await?.into_inner())
    }
}

fn path(method: &str) -> PathAndQuery {
    format!("/peer.Echo/{method}").parse().unwrap()
}

async fn next(stream: &mut Streaming<Bytes>) -> Result<Option<Bytes>, Status> {
    within("the next message", SOON, stream.message()).await
}

async fn unary_calls(tonic: &mut Tonic) {
    let raw: Vec<u8> = (0..=255).collect();
    let mut request = Request::new(Bytes::from_static(b"hello"));
    request.metadata_mut().insert("x-text", MetadataValue::from_static("a, b"));
    request.metadata_mut().insert_bin("x-bytes-bin", MetadataValue::from_bytes(&raw));
    request.set_timeout(Duration::from_secs(100));
    let answer = tonic.unary("Unary", request).await.unwrap();
    let fields = answer.metadata();
    assert_eq!(
        (&answer.get_ref()[..], fields.get("x-seen").unwrap().as_bytes()),
        (&b"hello"[..], &b"a, b"[..])
    );
    assert_eq!(fields.get_bin("x-seen-bin").unwrap().to_bytes().unwrap(), raw);
    let left: u64 = fields.get("x-deadline").unwrap().to_str().unwrap().parse().unwrap();
    assert!((80..=100).contains(&left), "{left} s");

    let message = Bytes::from(tests::pattern::all(8 * 1024 * 1024));
    let answer = tonic.unary("Unary", Request::new(message.clone())).await.unwrap();
    assert!(answer.into_inner() == message);
    assert!(tonic.unary("Unary", Request::new(Bytes::new())).await.unwrap().into_inner().is_empty());

    let failed = tonic.unary("Fail", Request::new(Bytes::new())).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::InvalidArgument, "not so: ü, 100 %"));
    assert_eq!(
        (failed.details(), failed.metadata().get("x-why").unwrap().to_str().unwrap()),
        (&[0, 1, 255][..], "because")
    );
    let unknown = tonic.unary("None", Request::new(Bytes::new())).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
}

async fn streaming_calls(tonic: &mut Tonic) {
    tonic.0.ready().await.unwrap();
    let many = stream::iter((0..1_000).map(|_| Bytes::from_static(&[b'x'; 1_000])));
    let call = tonic.0.client_streaming(Request::new(many), path("Collect"), Plain);
    assert_eq!(&within("the sum", SOON, call).await.unwrap().into_inner()[..], b"1000 1000000");

    let mut counted = tonic.streamed("Count", "100").await.unwrap();
    for n in 0..100 {
        assert_eq!(next(&mut counted).await.unwrap().unwrap(), n.to_string());
    }
    assert_eq!(next(&mut counted).await.unwrap(), None);
    let mut counted = tonic.streamed("Count", "101").await.unwrap();
    for n in 0..3 {
        assert_eq!(next(&mut counted).await.unwrap().unwrap(), n.to_string());
    }
    let failed = next(&mut counted).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::Aborted, "three are enough"));

    // Each message waits for the answer to the one before: nothing may be held back on the way.
    let (say, said) = mpsc::channel(1);
    tonic.0.ready().await.unwrap();
    let call = tonic.0.streaming(Request::new(ReceiverStream::new(said)), path("Chat"), Plain);
    say.send(Bytes::from_static(b"first")).await.unwrap();
    let mut chat = within("the chat begins", SOON, call).await.unwrap().into_inner();
    assert_eq!(next(&mut chat).await.unwrap().unwrap(), "first");
    for n in 0..50 {
        say.send(n.to_string().into()).await.unwrap();
        assert_eq!(next(&mut chat).await.unwrap().unwrap(), n.to_string());
    }
    drop(say);
    assert_eq!(next(&mut chat).await.unwrap(), None);
}

async fn serves_tonic(front: &Front, service: &Peer) {
    for (secure, names) in [(false, ["slow", "leaves"]), (true, ["slow-tls", "leaves-tls"])] {
        let mut tonic = Tonic::visit(front, secure).await;
        unary_calls(&mut tonic).await;
        streaming_calls(&mut tonic).await;

        let mut request = Request::new(Bytes::from_static(names[0].as_bytes()));
        request.set_timeout(Duration::from_millis(500));
        tonic.0.ready().await.unwrap();
        let call = tonic.0.server_streaming(request, path("Hang"), Plain).await;
        let late = match call {
            Ok(stream) => within("the deadline", SOON, stream.into_inner().collect::<Result<Vec<_>, _>>())
                .await
                .unwrap_err(),
            Err(status) => status,
        };
        assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
        service.program.says(&format!("given up {}", names[0]), SOON).await;

        let mut hanging = tonic.streamed("Hang", names[1]).await.unwrap();
        assert_eq!(next(&mut hanging).await.unwrap().unwrap(), "hanging");
        drop(hanging);
        service.program.says(&format!("given up {}", names[1]), promised(Duration::from_secs(1))).await;
    }
}

#[tokio::test]
async fn tonic_calls_grpcio() {
    let service = Peer::python("grpc_server.py", &["a"]).await;
    let front = Front::to(format!("h2c://{}", service.addr())).await;
    serves_tonic(&front, &service).await;
}

#[tokio::test]
async fn tonic_calls_grpcio_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    tests::tls::certificate(folder.path(), "grpc", &["localhost"]);
    let [certificate, key] =
        ["grpc.pem", "grpc.key"].map(|file| folder.path().join(file).display().to_string());
    let service = Peer::python("grpc_server.py", &["a", &certificate, &key]).await;
    let target = format!("https://localhost:{}", service.addr().port());
    let authority = std::fs::read_to_string(&certificate).unwrap();
    let front = Front::trusting(target, Some(&authority)).await;
    serves_tonic(&front, &service).await;
}

#[tokio::test]
async fn a_grpc_service_that_is_down_is_unavailable() {
    let front = Front::to(format!("h2c://{}", nobody())).await;
    for secure in DOORS {
        let done = grpcio(&front, secure, "down").finished(SOON * 2).await;
        assert!(done.stdout.starts_with("UNAVAILABLE service-refused"), "{}", done.text());
        let mut tonic = Tonic::visit(&front, secure).await;
        let failed = tonic.unary("Unary", Request::new(Bytes::new())).await.unwrap_err();
        assert_eq!(failed.code(), Code::Unavailable, "{failed:?}");
        assert_eq!(failed.metadata().get("x-tunnel-error").unwrap().to_str().unwrap(), "service-refused");
    }
    let mut stranger = Tonic::to(&front.server, "other.t.localhost").await;
    let failed = stranger.unary("Unary", Request::new(Bytes::new())).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unimplemented, "{failed:?}");
}

#[tokio::test]
async fn a_grpc_service_that_dies_in_a_call_ends_it_with_an_error() {
    let mut service = Peer::python("grpc_server.py", &["a"]).await;
    let front = Front::to(format!("h2c://{}", service.addr())).await;
    let mut tonic = Tonic::visit(&front, false).await;
    let mut hanging = tonic.streamed("Hang", "dies").await.unwrap();
    assert_eq!(next(&mut hanging).await.unwrap().unwrap(), "hanging");
    service.program.kill();
    let failed = next(&mut hanging).await.unwrap_err();
    assert!(
        matches!(failed.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled),
        "{failed:?}"
    );
    // The visitor's connection goes on.
    let failed = tonic.unary("Unary", Request::new(Bytes::new())).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable, "{failed:?}");
}

#[tokio::test]
async fn what_tunneld_refuses_or_gives_up_has_a_status_of_grpc() {
    let service = Peer::python("grpc_server.py", &["a"]).await;
    let config = format!(
        "domain = \"t.localhost\"\n\
         limits = {{ max_requests_per_route = 1 }}\n\
         timeouts = {{ queue = \"100ms\" }}\n\
         service = [{{ name = \"echo\", servers = [{{ address = \"h2c://{}\" }}] }}]\n\
         rule = [{{ name = \"r\", host = \"app\", to = \"echo\", timeout = \"1s\" }}]\n",
        service.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let mut tonic = Tonic::to(&server, HOST).await;
    let late = tonic.unary("Silence", Request::new(Bytes::from_static(b"silent"))).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    assert_eq!(late.metadata().get("x-tunnel-error").unwrap().to_str().unwrap(), "service-timeout");
    service.program.says("given up silent", promised(Duration::from_secs(1))).await;

    let mut hanging = tonic.streamed("Hang", "alone").await.unwrap();
    assert_eq!(next(&mut hanging).await.unwrap().unwrap(), "hanging");
    let refused = tonic.unary("Unary", Request::new(Bytes::new())).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    drop(hanging);
    service.program.says("given up alone", promised(Duration::from_secs(1))).await;
    let free = async || tonic.unary("Unary", Request::new(Bytes::new())).await.ok().map(drop);
    until("there is room again", SOON, free).await;
}

#[tokio::test]
async fn grpcio_says_itself_whether_it_is_healthy() {
    let (a, b) = (Peer::python("grpc_server.py", &["a"]).await, Peer::python("grpc_server.py", &["b"]).await);
    let config = format!(
        "domain = \"t.localhost\"\n\
         rule = [{{ name = \"r\", host = \"app\", to = \"echo\" }}]\n\
         [[service]]\n\
         name = \"echo\"\n\
         servers = [{{ address = \"h2c://{}\" }}, {{ address = \"h2c://{}\" }}]\n\
         health = {{ kind = \"grpc\", interval = \"100ms\", rise = 1, fall = 1 }}\n",
        a.addr(),
        b.addr()
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let mut tonic = Tonic::to(&server, HOST).await;
    let mut answered = async || {
        let mut names = Vec::new();
        for _ in 0..6 {
            let answer = tonic.unary("Unary", Request::new(Bytes::new())).await.unwrap();
            names.push(answer.metadata().get("x-name").unwrap().to_str().unwrap().to_owned());
        }
        names.sort();
        names.dedup();
        names
    };
    let both = ["a".to_owned(), "b".to_owned()];
    until("both answer", SOON, async || (answered().await == both).then_some(())).await;
    a.program.signal(Signal::USR1);
    a.program.says("sick", SOON).await;
    until("only b answers", SOON, async || (answered().await == ["b"]).then_some(())).await;
    a.program.signal(Signal::USR2);
    a.program.says("well", SOON).await;
    until("both answer again", SOON, async || (answered().await == both).then_some(())).await;
}
