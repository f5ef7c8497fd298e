//! D04: the server is killed again and again; the client is there each time.

use std::time::{Duration, Instant};

use tests::wait::promised;

use super::long;
use crate::stage::{HOST, Web};

/// Of the times to the first answer.
const P95: Duration = Duration::from_secs(3);
const MOST: Duration = Duration::from_secs(10);

#[tokio::test]
async fn d04_a_killed_server_is_back_with_its_client() {
    let mut web = Web::up().await;
    let mut took = Vec::new();
    for _ in 0..if long() { 20 } else { 4 } {
        assert_eq!(web.get("/").await.status, 200);
        web.server.kill();
        let began = Instant::now();
        web.server.start_again().await;
        web.server.serves(HOST, MOST).await;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let p95 = took[(took.len() * 95).div_ceil(100) - 1];
    println!("D04: {} kills, median {:?}, p95 {p95:?}", took.len(), took[took.len() / 2]);
    assert!(p95 <= promised(P95), "{took:?}");
    assert!(web.tunnel.program.is_running());
}
