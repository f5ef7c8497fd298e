//! Flow control: by what the reader consumed. That no end ever sends more than its credit is checked on every link.

use std::time::Duration;

use super::pair::{Client, FIRST, MIB, Pair, Server, config, in_process};
use super::raw::{Raw, data};
use super::wire::UPDATE;
use crate::mux::{Breach, Config, Key, ProcessBudget, Read, WINDOW_MAX, Write, YAMUX_WINDOW};

fn window(pair: &Pair, key: Key) -> usize {
    pair.server.streams.get(key).unwrap().receive.growth() + FIRST as usize
}

#[test]
fn more_than_the_window_is_a_breach() {
    let mut raw = Raw::new();
    raw.open(1);
    for _ in 0..256 {
        raw.ok(&data(0, 1, &[1; 1024]));
    }
    assert_eq!(raw.recv(&data(0, 1, b"x")), Err(Breach::Window(1)));
}

#[test]
fn what_was_granted_may_be_sent_and_no_more() {
    let mut raw = Raw::new();
    let key = raw.open(1);
    let mut granted = 0;
    for _ in 0..256 {
        raw.ok(&data(0, 1, &[1; 1024]));
        raw.mux.read(key, usize::MAX);
        granted +=
            raw.sent().iter().filter(|frame| frame.kind == UPDATE).map(|frame| frame.length).sum::<u32>();
    }
    assert!(granted >= YAMUX_WINDOW - FIRST);
    let more = vec![1; granted as usize];
    for piece in more.chunks(10_000) {
        raw.ok(&data(0, 1, piece));
    }
    assert_eq!(raw.recv(&data(0, 1, b"x")), Err(Breach::Window(1)));
}

#[test]
fn the_first_window_of_the_peer_is_respected() {
    for (stated, used) in
        [(20_000, 20_000), (FIRST, FIRST), (YAMUX_WINDOW, YAMUX_WINDOW), (1 << 24, YAMUX_WINDOW)]
    {
        let mut pair = Pair::with(
            Config { send_first: stated, ..config(Client) },
            Config { receive_first: stated, ..config(Server) },
        );
        let key = pair.client.open(vec![1; MIB].into()).unwrap();
        pair.drive();
        assert_eq!(pair.up_bytes(key.id()), used as usize);
        let server = pair.server.accept().unwrap();
        assert_eq!(pair.drain(Server, server).0.len(), MIB);
    }
}

#[test]
fn bytes_put_back_are_given_as_credit_once() {
    let mut raw = Raw::new();
    let key = raw.open(1);
    raw.ok(&data(0, 1, &[1; 48_000]));
    let mut granted = 0;
    for _ in 0..100 {
        let mut read = Vec::new();
        while let Read::Bytes(bytes) = raw.mux.read(key, 16_000) {
            read.push(bytes);
        }
        granted += raw.sent().iter().map(|frame| frame.length).sum::<u32>();
        for bytes in read.into_iter().rev() {
            raw.mux.unread(key, bytes);
        }
    }
    assert_eq!((raw.mux.held(), granted), (48_000, 48_000));
    assert_eq!(super::pair::read_all(&mut raw.mux, key).0.len(), 48_000);
    raw.ok(&data(0, 1, &[1; 48_000]));
    super::pair::read_all(&mut raw.mux, key);
    assert_eq!(raw.sent().iter().map(|frame| frame.length).sum::<u32>(), 48_000);
}

/// Sends as fast as it can for a while; the reader takes `amount` every `every`. How much was read.
fn run(pair: &mut Pair, keys: (Key, Key), time: Duration, every: Duration, amount: usize) -> usize {
    let (end, mut read, mut turn) = (pair.now + time, 0, pair.now);
    while pair.now < end {
        while pair.client.poll_write(keys.0) == Write::Ready {
            pair.write(Client, keys.0, &[1; 16_384]);
        }
        if pair.now >= turn {
            turn += every;
            let mut left = amount;
            while left > 0
                && let Read::Bytes(bytes) = pair.server.read(keys.1, left)
            {
                left -= bytes.len();
                read += bytes.len();
            }
        }
        if !pair.turn() {
            let next = [pair.up.next(), pair.down.next(), Some(turn)].into_iter().flatten().min().unwrap();
            pair.now = next.max(pair.now + Duration::from_micros(100));
        }
    }
    read
}

#[test]
fn windows_follow_the_bandwidth_delay_product_up_and_down() {
    // 20 MB/s, 100 ms: the product is 2 MB.
    let mut pair = Pair::far(Duration::from_millis(50), Some(20_000_000));
    let keys = pair.open();
    assert_eq!(pair.client.round_trip().unwrap().as_millis(), 100);
    let read = run(&mut pair, keys, Duration::from_secs(1), Duration::from_millis(1), MIB);
    assert!(read > 10_000_000, "half of what the link can, from the first byte on: {read}");
    run(&mut pair, keys, Duration::from_secs(2), Duration::from_millis(1), MIB);
    let read = run(&mut pair, keys, Duration::from_secs(2), Duration::from_millis(1), MIB);
    assert!(read > 36_000_000, "nine tenths of what the link can: {read}");
    let grown = window(&pair, keys.1);
    // Twice the product, or four times where the sender was still speeding up when it came to what the link can.
    assert!((3_000_000..=9_600_000).contains(&grown), "{grown}");
    assert_eq!(pair.server.budget.growth(), grown - FIRST as usize);

    // A reader of 200 kB/s needs 40 kB.
    run(&mut pair, keys, Duration::from_secs(60), Duration::from_millis(10), 2_000);
    let shrunk = window(&pair, keys.1);
    assert!(shrunk <= 2 * YAMUX_WINDOW as usize, "{shrunk}");

    pair.release(Server, keys.1);
    pair.drive();
    assert_eq!(pair.server.budget.growth(), 0, "what it grew by is free again");
}

#[test]
fn no_window_grows_above_the_most() {
    // 2 GB/s, 100 ms.
    let mut pair = Pair::far(Duration::from_millis(50), Some(2_000_000_000));
    let keys = pair.open();
    run(&mut pair, keys, Duration::from_millis(2500), Duration::from_millis(1), 64 * MIB);
    assert_eq!(window(&pair, keys.1), WINDOW_MAX as usize);
}

#[test]
fn windows_grow_only_out_of_free_budget() {
    let max_held = 2 * MIB;
    let mut pair = Pair::with(config(Client), Config { max_held, ..config(Server) });
    pair.link(Duration::from_millis(50), Some(20_000_000));
    pair.drive();
    let keys: Vec<_> = (0..6).map(|_| pair.open()).collect();
    for _ in 0..200 {
        for key in &keys {
            run(&mut pair, *key, Duration::from_millis(5), Duration::from_millis(1), MIB);
        }
        assert!(pair.server.budget.growth() <= max_held / 2);
    }
    let growth: usize = keys.iter().map(|key| window(&pair, key.1) - FIRST as usize).sum();
    assert!(growth > 0 && growth == pair.server.budget.growth());
    for (client, server) in keys {
        pair.release(Client, client);
        pair.release(Server, server);
    }
    pair.drive();
    assert_eq!(pair.server.budget.growth(), 0);
}

/// Moves bulk over a long link until the window of the substream has grown.
fn grow(pair: &mut Pair, keys: (Key, Key)) {
    run(pair, keys, Duration::from_secs(2), Duration::from_millis(1), MIB);
}

#[test]
fn windows_that_nobody_uses_are_given_up_when_others_want_to_grow() {
    let mut pair = Pair::with(config(Client), Config { max_held: 4 * MIB, ..config(Server) });
    pair.link(Duration::from_millis(50), Some(20_000_000));
    pair.drive();
    let idle: Vec<_> = (0..4).map(|_| pair.open()).collect();
    for keys in &idle {
        grow(&mut pair, *keys);
    }
    assert!(idle.iter().any(|(_, server)| window(&pair, *server) > FIRST as usize));
    for _ in 0..3 {
        pair.pass(Duration::from_secs(5));
    }
    let busy = pair.open();
    for _ in 0..2 {
        grow(&mut pair, busy);
        pair.pass(Duration::from_millis(500));
    }
    grow(&mut pair, busy);
    assert!(window(&pair, busy.1) >= 4 * FIRST as usize, "{}", window(&pair, busy.1));
    // Those that have lapsed still work, and grow again.
    grow(&mut pair, idle[0]);
    assert_eq!(pair.drain(Server, idle[0].1).1, Read::Blocked);
}

#[test]
fn who_can_send_nothing_more_keeps_no_window() {
    for reset in [false, true] {
        let mut pair = Pair::far(Duration::from_millis(50), Some(20_000_000));
        let (client, server) = pair.open();
        grow(&mut pair, (client, server));
        assert!(pair.server.budget.growth() > 0);
        if reset {
            pair.client.reset(client);
        } else {
            pair.client.finish(client);
        }
        pair.drain(Server, server);
        assert_eq!(pair.server.budget.growth(), 0, "{reset}");
    }
}

#[test]
fn one_session_leaves_others_of_its_process_room_to_grow() {
    let process = ProcessBudget::new(8 * MIB);
    let mut greedy = Pair::with(config(Client), in_process(Server, &process));
    greedy.link(Duration::from_millis(50), Some(50_000_000));
    greedy.drive();
    let keys: Vec<_> = (0..8).map(|_| greedy.open()).collect();
    for _ in 0..3 {
        for keys in &keys {
            grow(&mut greedy, *keys);
        }
    }
    let mut modest = Pair::with(config(Client), in_process(Server, &process));
    modest.link(Duration::from_millis(50), Some(50_000_000));
    modest.drive();
    let keys = modest.open();
    grow(&mut modest, keys);
    assert!(window(&modest, keys.1) >= MIB / 2, "{}", window(&modest, keys.1));
}

#[test]
fn a_reader_never_waits_for_a_writer_that_waits_for_credit() {
    for read_size in [1, 1000, 32_767, 32_768, 65_536, MIB] {
        let mut pair = Pair::new();
        let (client, server) = pair.open();
        let total = if read_size == 1 { 100_000 } else { 2 * MIB };
        pair.write(Client, client, &vec![1; total]);
        let mut read = 0;
        while read < total {
            pair.drive();
            match pair.server.read(server, read_size) {
                Read::Bytes(bytes) => read += bytes.len(),
                other => panic!("{read} of {total}, then {other:?}"),
            }
        }
    }
}
