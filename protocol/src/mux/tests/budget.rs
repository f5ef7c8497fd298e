//! The bytes of all sessions of a process.

use std::time::Duration;

use super::pair::{MIB, Server, config, in_process};
use super::raw::{Raw, data};
use super::wire::SYN;
use crate::mux::{Broken, Config, Key, ProcessBudget, READ_SIZE};

/// Fills a session with what nobody reads, in substreams of 32 KiB.
fn fill(raw: &mut Raw, bytes: usize) -> Vec<Key> {
    let mut keys = Vec::new();
    for n in 0..u32::try_from(bytes / 32_768).unwrap() {
        raw.ok(&data(SYN, n * 2 + 1, &[1; 32_768]));
        keys.extend(raw.mux.accept());
    }
    keys
}

#[test]
fn many_sessions_together_stay_below_the_most() {
    let process = ProcessBudget::new(12 * MIB);
    let mut sessions: Vec<Raw> = Vec::new();
    for _ in 0..40 {
        let mut raw = Raw::with(in_process(Server, &process));
        fill(&mut raw, 10 * MIB);
        assert!(process.held() <= process.max() + READ_SIZE, "{}: {}", sessions.len(), process.held());
        sessions.push(raw);
    }
    // Each of them notices with its next tick that it has too much.
    for raw in &mut sessions {
        raw.pass(Duration::from_millis(500));
    }
    assert!(process.held() <= process.max() * 2 / 3, "{}", process.held());
    drop(sessions);
    assert_eq!(process.held(), 0);
}

#[test]
fn a_session_that_holds_little_is_left_alone() {
    let process = ProcessBudget::new(12 * MIB);
    let mut large: Vec<Raw> = (0..3).map(|_| Raw::with(in_process(Server, &process))).collect();
    let mut small = Raw::with(in_process(Server, &process));
    for raw in &mut large {
        fill(raw, 10 * MIB);
    }
    let keys = fill(&mut small, MIB / 2);
    for raw in &mut large {
        fill(raw, 0);
        raw.pass(Duration::from_millis(500));
    }
    small.pass(Duration::from_millis(500));
    assert_eq!(small.mux.held(), MIB / 2);
    assert!(keys.iter().all(|key| small.mux.broken(*key).is_none()));
}

#[test]
fn a_session_has_no_more_than_its_own_budget_whatever_the_process_has() {
    let mut raw = Raw::with(Config { max_held: MIB, ..config(Server) });
    let keys = fill(&mut raw, 8 * MIB);
    assert!(raw.mux.held() <= MIB && raw.mux.held() > MIB / 2);
    assert!(keys.iter().any(|key| raw.mux.broken(*key) == Some(Broken::OverBudget)));
}
