//! Interim responses, as curl sees them.

use std::process::Command;

use tests::fixture::Ending;
use tokio::task::spawn_blocking;

use crate::stage::{HOST, Web};

const ANSWER: &str = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n\
                      Date: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

async fn curl(web: &Web<tests::fixture::Scripted>, version: &'static str) -> String {
    let (host, url) = (format!("Host: {HOST}"), format!("http://{}/", web.door()));
    let arguments = ["--silent", "--show-error", "--include", "--max-time", "10", version, "--header"];
    let asked = move || Command::new("curl").args(arguments).args([&host, &url]).output().unwrap();
    let answer = spawn_blocking(asked).await.unwrap();
    assert!(answer.status.success(), "{answer:?}");
    String::from_utf8(answer.stdout).unwrap()
}

#[tokio::test]
async fn curl_sees_early_hints_in_both_versions() {
    let web = Web::scripted(ANSWER, Ending::Fin).await;
    let seen = curl(&web, "--http1.1").await;
    let expected = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n\
                    date: x\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(seen, expected);
    let seen = curl(&web, "--http2-prior-knowledge").await;
    let expected = "HTTP/2 103 \r\nlink: </style.css>; rel=preload\r\n\r\nHTTP/2 200 \r\n\
                    date: x\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(seen, expected);
    let old = curl(&web, "--http1.0").await;
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n"), "{old}");
}
