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
    let (http, https) = (front.http().to_string(), front.https().to_string());
    let certificate = front.certificate().display().to_string();
    for how in [&[&*http, HOST][..], &[&*https, HOST, &*certificate]] {
        let cases = Program::start(python("http2_cases.py", how));
        let done = cases.finished(SOON * 2).await;
        assert_eq!(done.code, Some(0), "{how:?}: {}", done.text());
        assert!(done.stdout.ends_with(" hold"), "{}", done.text());
    }
}
