//! WebSocket as others speak it: Python's `websockets` at either end, and with its own kind.

use futures_util::{SinkExt, StreamExt};
use tests::fixture::HttpService;
use tests::pattern;
use tests::peer::{Peer, python};
use tests::program::Program;
use tests::visitor::websocket;
use tests::wait::{SOON, within};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::front::{Front, HOST};

/// Python's client does what is asked of it, plain and over TLS.
async fn visits(front: &Front, what: &str) {
    for (to, authority) in
        [(front.http(), "-".to_owned()), (front.https(), front.certificate().display().to_string())]
    {
        let client = Program::start(python("ws_client.py", &[&to.to_string(), HOST, &authority, what]));
        let done = client.finished(SOON * 2).await;
        assert!(done.code == Some(0) && done.stdout == "all ok", "{}", done.text());
    }
}

#[tokio::test]
async fn python_talks_to_python_with_compression() {
    let service = Peer::python("ws_server.py", &[]).await;
    let front = Front::to(service.addr()).await;
    visits(&front, "peer").await;
    service.program.says("closed /echo 4001 bye", SOON).await;
}

#[tokio::test]
async fn python_talks_to_tungstenite() {
    let service = HttpService::start().await;
    let front = Front::to(service.addr()).await;
    visits(&front, "plain").await;
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Result<Message, Error> {
    within("a message", SOON, socket.next()).await.unwrap()
}

#[tokio::test]
async fn tungstenite_talks_to_python() {
    let service = Peer::python("ws_server.py", &[]).await;
    let front = Front::to(service.addr()).await;
    let mut socket = websocket(front.http(), HOST, "/pieces").await.unwrap();
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::binary(pattern::all(1024 * 1024)),
        Message::binary(Vec::new()),
    ] {
        socket.send(message.clone()).await.unwrap();
        let back = next(&mut socket).await.unwrap();
        assert!(back == message, "{} bytes came back", back.len());
    }
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap(), Message::Pong("are you there".into()));
    let bye = CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() };
    socket.close(Some(bye.clone())).await.unwrap();
    assert_eq!(next(&mut socket).await.unwrap(), Message::Close(Some(bye)));
    assert!(within("the end", SOON, socket.next()).await.is_none());
    drop(socket);
    service.program.says("closed /pieces 4001 bye", SOON).await;

    let mut pinged = websocket(front.http(), HOST, "/ping").await.unwrap();
    assert_eq!(next(&mut pinged).await.unwrap(), Message::Ping("are you there".into()));
    assert_eq!(next(&mut pinged).await.unwrap(), Message::text("it is"));

    let mut closed = websocket(front.http(), HOST, "/close").await.unwrap();
    let enough = CloseFrame { code: CloseCode::Library(4002), reason: "enough of it".into() };
    assert_eq!(next(&mut closed).await.unwrap(), Message::Close(Some(enough)));

    // No end that looks like one: it has not said goodbye.
    let mut dying = websocket(front.http(), HOST, "/die").await.unwrap();
    assert_eq!(next(&mut dying).await.unwrap(), Message::text("dying"));
    assert!(next(&mut dying).await.is_err());
}

#[tokio::test]
async fn what_is_negotiated_is_between_the_ends() {
    let service = Peer::python("ws_server.py", &[]).await;
    let front = Front::to(service.addr()).await;
    let open = async |path: &str, protocols: &'static str| {
        let stream = TcpStream::connect(front.http()).await.unwrap();
        let mut request = format!("ws://{HOST}{path}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        request.headers_mut().insert("origin", "https://a.example".parse().unwrap());
        within("an answer", SOON, tokio_tungstenite::client_async(request, stream)).await
    };
    let (mut socket, answer) = open("/about", "chat.v1, chat.v2").await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "chat.v2");
    assert_eq!(next(&mut socket).await.unwrap(), Message::text("chat.v2 [] https://a.example"));
    match open("/forbidden", "chat.v1").await {
        Err(Error::Http(answer)) => {
            assert_eq!((answer.status().as_u16(), answer.body().as_deref()), (403, Some(&b"not you\n"[..])));
        }
        other => panic!("{other:?}"),
    }
}
