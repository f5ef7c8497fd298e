//! Ours and the `yamux` crate over TCP, in both roles, whoever opens.

use std::future::Future;
use std::io::ErrorKind;

use bytes::Bytes;
use futures_util::future::join_all;
use ops::spawn::Spawner;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::io::InspectReader;
use transport::session::{Inbound, Role, Session, SessionEnd, Substream};
use yamux::Mode;

use crate::crate_peer::{CratePeer, CrateStream};
use crate::ours::{begin, exchange, pattern, run, tcp};

/// Who opens a substream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Ours,
    Crate,
}

/// Both ends of a session.
struct Meeting {
    session: Session,
    inbound: Inbound,
    peer: CratePeer,
}

fn mode_beside(role: Role) -> Mode {
    match role {
        Role::Client => Mode::Server,
        Role::Server => Mode::Client,
    }
}

async fn meet(role: Role, spawner: &Spawner) -> Meeting {
    let (here, there) = tcp().await;
    let (session, inbound) = begin(here, role, spawner);
    Meeting { session, inbound, peer: CratePeer::start(there, mode_beside(role), spawner) }
}

impl Meeting {
    async fn open(&mut self, by: By) -> (Substream, CrateStream) {
        match by {
            By::Ours => {
                let ours = self.session.open(Bytes::new()).unwrap();
                (ours, self.peer.accept().await.unwrap())
            }
            By::Crate => {
                let theirs = self.peer.open().await;
                (self.inbound.accept().await.unwrap(), theirs)
            }
        }
    }
}

/// Runs a test in both roles and with both openers.
fn every_way<F: Future<Output = ()>>(test: impl Fn(Meeting, By) -> F) {
    run(|spawner| async move {
        for role in [Role::Client, Role::Server] {
            for by in [By::Ours, By::Crate] {
                test(meet(role, &spawner).await, by).await;
            }
        }
    });
}

#[test]
fn one_byte_comes_back() {
    every_way(async |mut meeting, by| {
        let (mut ours, mut theirs) = meeting.open(by).await;
        ours.write_all(&[7]).await.unwrap();
        assert_eq!(theirs.read_u8().await.unwrap(), 7);
        theirs.write_all(&[8]).await.unwrap();
        assert_eq!(ours.read_u8().await.unwrap(), 8);
    });
}

#[test]
fn three_mebibytes_cross_on_each_of_eight_substreams() {
    every_way(async |mut meeting, by| {
        let mut pairs = Vec::new();
        for _ in 0..8 {
            pairs.push(meeting.open(by).await);
        }
        let exchanges = pairs.iter_mut().enumerate().map(async |(n, (ours, theirs))| {
            let (up, down) = (pattern(2 * n, 3 << 20), pattern(2 * n + 1, 3 << 20));
            let (got_down, got_up) = tokio::join!(exchange(ours, &up), exchange(theirs, &down));
            assert!(got_up == up && got_down == down, "substream {n}");
        });
        join_all(exchanges).await;
        drop(pairs);
        assert_eq!(meeting.session.substreams_open(), 0);
    });
}

#[test]
fn after_our_end_the_crate_goes_on_writing() {
    every_way(async |mut meeting, by| {
        let (mut ours, mut theirs) = meeting.open(by).await;
        ours.write_all(b"question").await.unwrap();
        ours.shutdown().await.unwrap();
        let mut question = String::new();
        theirs.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        // More than a window, so that credit still comes from an end that writes no more.
        let answer = pattern(1, 1 << 20);
        let write = async {
            theirs.write_all(&answer).await.unwrap();
            theirs.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(write, ours.read_to_end(&mut got));
        read.unwrap();
        assert!(got == answer);
    });
}

#[test]
fn after_the_end_of_the_crate_we_go_on_writing() {
    every_way(async |mut meeting, by| {
        let (mut ours, mut theirs) = meeting.open(by).await;
        theirs.write_all(b"question").await.unwrap();
        theirs.shutdown().await.unwrap();
        let mut question = String::new();
        ours.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        let answer = pattern(1, 1 << 20);
        let write = async {
            ours.write_all(&answer).await.unwrap();
            ours.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = tokio::join!(write, theirs.read_to_end(&mut got));
        read.unwrap();
        assert!(got == answer);
    });
}

#[test]
fn what_we_drop_the_crate_can_not_write_to() {
    every_way(async |mut meeting, by| {
        let (mut ours, mut theirs) = meeting.open(by).await;
        ours.write_all(b"last words").await.unwrap();
        drop(ours);
        // A reset and an end read alike there, but only behind an end can be written.
        let mut words = String::new();
        theirs.read_to_string(&mut words).await.unwrap();
        assert_eq!(words, "last words");
        assert!(theirs.write_all(b"x").await.is_err());
    });
}

#[test]
fn what_the_crate_drops_is_reset_here() {
    every_way(async |mut meeting, by| {
        let (mut ours, mut theirs) = meeting.open(by).await;
        theirs.write_all(b"last words").await.unwrap();
        drop(theirs);
        let mut words = Vec::new();
        let error = ours.read_to_end(&mut words).await.unwrap_err();
        assert_eq!((error.kind(), &words[..]), (ErrorKind::ConnectionReset, &b"last words"[..]));
        assert_eq!(ours.write_all(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn three_hundred_substreams_are_open_at_once() {
    const MANY: usize = 300;
    every_way(async |meeting, by| {
        let Meeting { session, mut inbound, mut peer } = meeting;
        let number = |n: usize| u32::try_from(n).unwrap().to_be_bytes();
        // The accepting end answers at once, as it must: the crate opens only so many that nobody has answered.
        match by {
            By::Ours => {
                let opened: Vec<_> =
                    (0..MANY).map(|n| session.open(Bytes::copy_from_slice(&number(n))).unwrap()).collect();
                let mut accepted = Vec::new();
                for n in 0..MANY {
                    let mut theirs = peer.accept().await.unwrap();
                    assert_eq!(theirs.read_u32().await.unwrap().to_be_bytes(), number(n));
                    theirs.write_all(&number(n)).await.unwrap();
                    accepted.push(theirs);
                }
                for (n, mut ours) in opened.into_iter().enumerate() {
                    assert_eq!(ours.read_u32().await.unwrap().to_be_bytes(), number(n));
                }
            }
            By::Crate => {
                let open = async {
                    let mut opened = Vec::new();
                    for n in 0..MANY {
                        let mut theirs = peer.open_silently().await.unwrap();
                        theirs.write_all(&number(n)).await.unwrap();
                        opened.push(theirs);
                    }
                    opened
                };
                let accept = async {
                    let mut accepted = Vec::new();
                    for n in 0..MANY {
                        let mut ours = inbound.accept().await.unwrap();
                        assert_eq!(ours.read_u32().await.unwrap().to_be_bytes(), number(n));
                        ours.write_all(&number(n)).await.unwrap();
                        accepted.push(ours);
                    }
                    accepted
                };
                let (opened, accepted) = tokio::join!(open, accept);
                assert_eq!(session.substreams_open(), MANY);
                for (n, mut theirs) in opened.into_iter().enumerate() {
                    assert_eq!(theirs.read_u32().await.unwrap().to_be_bytes(), number(n));
                }
                drop(accepted);
            }
        }
    });
}

#[test]
fn a_ping_of_the_crate_is_answered() {
    /// Kind, flags and value of the answer to its first ping.
    const PONG: [u8; 12] = [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
    run(|spawner| async move {
        for role in [Role::Client, Role::Server] {
            let (here, there) = tcp().await;
            let (seen, mut sights) = mpsc::channel(64);
            let there = InspectReader::new(there, move |bytes: &[u8]| {
                seen.try_send(bytes.to_vec()).unwrap();
            });
            let (_session, _inbound) = begin(here, role, &spawner);
            let _peer = CratePeer::start(there, mode_beside(role), &spawner);
            let mut all = Vec::new();
            // Before there is a substream, there are frames of one header only.
            while !all.chunks_exact(12).any(|frame| frame == PONG) {
                all.extend(sights.recv().await.unwrap());
            }
        }
    });
}

#[test]
fn the_crate_hears_that_we_close_and_we_hear_that_it_does() {
    every_way(async |mut meeting, by| {
        let (mut ours, mut theirs) = meeting.open(by).await;
        if by == By::Ours {
            meeting.session.close();
            assert!(meeting.peer.accept().await.is_none());
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
            assert_eq!(meeting.session.closed().await, SessionEnd::Closed);
        } else {
            meeting.peer.close();
            assert_eq!(meeting.session.closed().await, SessionEnd::ClosedByPeer);
        }
        assert_eq!(ours.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    });
}
