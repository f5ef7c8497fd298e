//! The generic demands on a server of HTTP/2, one by one, by somebody who shares no code with ours.

use tests::fixture::HttpService;
use tests::peer::python;
use tests::program::Program;
use tests::wait::SOON;

use crate::front::{Front, HOST};

#[tokio::test]
async fn every_case_of_the_standard_ends_as_it_says() {
    let service = HttpService::start().await;
    let front = Front::to(service.addr()).await;
    let cases = Program::start(python("http2_cases.py", &[&front.http().to_string(), HOST]));
    let done = cases.finished(SOON * 2).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(done.stdout.ends_with(" hold"), "{}", done.text());
}
