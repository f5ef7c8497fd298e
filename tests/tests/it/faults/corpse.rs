//! D02: the server holds a corpse of a session; the client is back at once, and the corpse's death undoes nothing.

use std::time::Duration;

use tests::fixture::HttpService;
use tests::tunnelc::SESSIONS;
use tests::wait::{SOON, promised, throughout, until};

use super::{Linked, long};
use crate::stage::HOST;

#[tokio::test]
async fn d02_a_corpse_is_taken_over_and_undoes_nothing() {
    let service = HttpService::start().await;
    let linked = Linked::http(service.addr()).await;
    let (server, link) = (&linked.server, &linked.link);
    server.serves(HOST, SOON).await;
    let baseline = linked.baseline().await;
    let replaced = async || server.metric(r#"tunnel_session_replaced_total{reason="reconnected"}"#).await;
    let (mut slowest, mut dead) = (Duration::ZERO, 0);
    let rounds = if long() { 50 } else { 10 };
    for round in 0..rounds {
        let before = link.connections();
        link.orphan();
        let again = async || (link.connections() >= before + SESSIONS as usize).then_some(());
        until("both slots dial again", SOON, again).await;
        slowest = slowest.max(server.serves(HOST, SOON).await);
        if round % 2 == 1 {
            // The corpses of the rounds before finally die, while the newer sessions are there.
            (dead..before).for_each(|n| link.cut_one(n));
            dead = before;
        }
    }
    assert!(slowest <= promised(Duration::from_secs(3)), "{slowest:?}");
    server.has_sessions(SESSIONS, SOON).await;
    let last = link.connections() - SESSIONS as usize;
    (dead..last).for_each(|n| link.cut_one(n));
    let served = async || server.visit(HOST, "/").await == 200;
    throughout("the name is served", Duration::from_secs(1), served).await;
    assert!(replaced().await >= f64::from(rounds), "{} corpses were replaced", replaced().await);
    println!("D02: {rounds} corpses, the slowest takeover took {slowest:?}");
    drop(service);
    linked.leaves_nothing(&baseline).await;
}
