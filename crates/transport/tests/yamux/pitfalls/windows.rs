//! Windows that grow: how far, and at whose cost.

use bytes::Bytes;
use futures_util::future::join;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::yield_now;
use transport::session::{ProcessBudget, Role};
use yamux::{Config, Mode};

use super::stuck::beside;
use crate::crate_peer::CratePeer;
use crate::ours::{begin_with, config, run};
use crate::raw::{ACK, PING, Raw, SYN, UPDATE, WINDOW, data, frame};

/// What is sent at once.
const PIECE: usize = 32 * 1024;
/// A peer that answers pings only after it has sent so much seems to be far away, and windows grow.
const FAR: usize = 2 << 20;

/// One who sends without end on a substream, as fast as the other end gives credit.
struct Sender {
    id: u32,
    credit: usize,
    most: usize,
    sent: usize,
}

impl Sender {
    async fn open(raw: &mut Raw, id: u32) -> Self {
        raw.send(&data(SYN, id, b"")).await;
        Self { id, credit: WINDOW, most: WINDOW, sent: 0 }
    }

    /// Sends a piece, or takes a frame if there is no credit for one. Pings that came are answered late.
    async fn step(&mut self, raw: &mut Raw, pings: &mut Vec<u32>) {
        if self.credit >= PIECE {
            raw.send(&data(0, self.id, &[7; PIECE])).await;
            self.credit -= PIECE;
            self.sent += PIECE;
            return;
        }
        let got = raw.next().await.unwrap();
        if got.kind == UPDATE && got.id == self.id {
            self.credit += got.length as usize;
            self.most = self.most.max(self.credit);
        } else if got.kind == PING && got.flags == SYN {
            pings.push(got.length);
        }
        if self.sent > FAR {
            for value in pings.drain(..) {
                raw.send(&frame(PING, ACK, 0, value)).await;
            }
        }
    }
}

async fn read_on(mut stream: impl AsyncRead + Unpin) {
    let mut buffer = vec![0; 4 * PIECE];
    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
}

#[test]
fn what_one_window_grows_by_leaves_the_others_theirs() {
    const MEMORY: usize = 8 << 20;
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let mut config = config(Role::Server);
        config.budget = ProcessBudget::new(MEMORY);
        let budget = config.budget.clone();
        let (session, mut inbound) = begin_with(link, config, &spawner);
        let mut pings = Vec::new();
        let mut greedy = Sender::open(&mut raw, 1).await;
        spawner.spawn(spawner.here(), "reader", read_on(inbound.accept().await.unwrap()));
        while greedy.most < 2 * WINDOW || greedy.sent < 32 << 20 {
            greedy.step(&mut raw, &mut pings).await;
            // Half of the memory is never promised.
            assert!(greedy.most <= WINDOW + MEMORY / 2, "{} bytes", greedy.most);
        }
        // One that comes now, and does not read at once, still gets all that yamux promises.
        let mut late = Sender::open(&mut raw, 3).await;
        let mut waits = inbound.accept().await.unwrap();
        raw.send(&data(0, 3, &[7; WINDOW])).await;
        late.credit = 0;
        raw.settle().await;
        assert!(budget.held() >= WINDOW);
        waits.read_exact(&mut vec![0; WINDOW]).await.unwrap();
        while late.credit < PIECE {
            late.step(&mut raw, &mut pings).await;
        }
        assert!(session.open(Bytes::new()).is_ok());
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_lets_one_stream_take_all_there_is_to_grow_by() {
    const EXTRA: usize = 1 << 20;
    let (mut raw, link) = Raw::new();
    let mut config = Config::default();
    config.set_max_num_streams(2);
    config.set_max_connection_receive_window(Some(2 * WINDOW + EXTRA));
    let (mut peer, driver) = CratePeer::new(link, Mode::Server, config);
    beside(driver, async {
        let mut pings = Vec::new();
        let mut greedy = Sender::open(&mut raw, 1).await;
        let mut late = Sender::open(&mut raw, 3).await;
        let (first, second) = (peer.accept().await.unwrap(), peer.accept().await.unwrap());
        let work = async {
            while greedy.most < WINDOW + EXTRA / 2 {
                greedy.step(&mut raw, &mut pings).await;
                yield_now().await;
            }
            // It reads and is fast, and grows by what is left at most.
            while late.sent < 8 << 20 {
                late.step(&mut raw, &mut pings).await;
                yield_now().await;
            }
            assert!(late.most <= WINDOW + EXTRA / 4, "{} bytes", late.most);
        };
        tokio::select! {
            () = work => {}
            _ = join(read_on(first), read_on(second)) => panic!("they ended"),
        }
    })
    .await;
}
