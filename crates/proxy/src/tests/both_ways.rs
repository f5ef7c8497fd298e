//! A response whose visitor does not take it keeps nothing else waiting: the request goes on.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fixture::*;
use super::visitor_h2::{Visitor, head, post};

/// Of the request. More than all buffers on its way hold.
const UPLOAD: usize = 32 << 20;
/// Of the response, of which nobody reads more than its head.
const DOWNLOAD: usize = 64 << 20;

/// Answers with more than anybody takes, while it reads the whole body of the request.
async fn serve(mut connection: Peer) {
    connection.head().await;
    connection.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {DOWNLOAD}\r\n\r\n")).await;
    let (mut read, mut write) = connection.0.into_split();
    let block = [7; 1 << 16];
    let reading = async {
        let (mut left, mut buffer) = (UPLOAD, vec![0; 1 << 16]);
        while left > 0 {
            let length = read.read(&mut buffer).await.unwrap();
            assert!(length > 0, "{left} bytes were not uploaded");
            left = left.saturating_sub(length);
        }
    };
    tokio::select! {
        done = timeout(LIMIT, reading) => done.expect("the upload goes on"),
        () = async { while write.write_all(&block).await.is_ok() {} } => panic!("the response was taken"),
    }
}

async fn upload(visitor: &mut TcpStream) {
    let (block, mut left) = ([1; 1 << 16], UPLOAD);
    while left > 0 {
        visitor.write_all(&block).await.unwrap();
        left -= block.len();
    }
}

#[test]
fn an_upload_goes_on_while_nobody_takes_the_response() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Peer::connect(world.http).await;
        visitor.say(format!("POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {UPLOAD}\r\n\r\n")).await;
        let connection = Peer::accept(&service).await;
        tokio::join!(serve(connection), upload(&mut visitor.0));
        assert!(visitor.head().await.starts_with("HTTP/1.1 200 "));
    });
}

#[test]
fn over_http2_too() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let length = UPLOAD.to_string();
        let (response, mut body) = visitor.send(post("/", &[("content-length", &length)]), false).await;
        body.send_data(Bytes::from(vec![1; UPLOAD]), true).unwrap();
        let connection = Peer::accept(&service).await;
        // Nobody gives its window back.
        let (response, ()) = tokio::join!(head(response), serve(connection));
        assert_eq!(response.status(), 200);
    });
}

#[test]
fn a_visitor_that_breaks_its_upload_off_ends_the_response() {
    let service = ByHand::new();
    run(service.addr(), |world| async move {
        let service = service.listen();
        let mut visitor = Visitor::connect(&world).await;
        let (response, mut body) = visitor.send(post("/", &[]), false).await;
        body.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let mut connection = Peer::accept(&service).await;
        connection.hear("abc\r\n").await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun").await;
        let mut response = head(response).await;
        let begun = timeout(Duration::from_secs(5), response.body_mut().data()).await.unwrap();
        assert_eq!(begun.unwrap().unwrap(), "begun");
        body.send_reset(h2::Reason::CANCEL);
        connection.broken().await;
    });
}
