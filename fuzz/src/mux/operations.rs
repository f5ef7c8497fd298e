//! Two ends of ours, and whatever their users may do.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use protocol::mux::{ORPHAN_TIMEOUT, YAMUX_WINDOW};

use super::end::Bounds;
use super::pair::Pair;
use crate::size::size;

/// So many operations are enough for anything.
const OPERATIONS_MAX: usize = 400;

/// The bounds of one end, and how both start.
#[derive(Debug, Clone, Copy, Arbitrary)]
struct Setup {
    first_windows: u8,
    limits: u8,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Open { bytes: usize },
    Accept,
    Read { max: usize, keep: usize },
    Write { bytes: usize, copied: bool },
    Finish,
    Reset,
    Release,
    Watch,
    Transmit { max: usize, step: usize },
    Deliver { bytes: usize },
    Tick { after: Duration },
    GoAway,
}

/// What one user does: an operation, at one end, with one of the substreams there.
#[derive(Debug, Clone, Copy)]
struct Step {
    at: usize,
    which: u8,
    operation: Operation,
}

impl<'a> Arbitrary<'a> for Step {
    /// Three bytes: a script stays readable for who changes it blindly.
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let [what, which, how] = <[u8; 3]>::arbitrary(u)?;
        let at = usize::from(what >> 7);
        let operation = match what & 31 {
            0..=3 => Operation::Open { bytes: size(how) },
            4..=6 => Operation::Accept,
            7..=9 => Operation::Read { max: size(how), keep: usize::MAX },
            10 => Operation::Read { max: usize::MAX, keep: size(how) },
            11..=13 => Operation::Write { bytes: size(how), copied: false },
            14..=16 => Operation::Write { bytes: size(how), copied: true },
            17..=18 => Operation::Finish,
            19 => Operation::Reset,
            20..=21 => Operation::Release,
            22 => Operation::Watch,
            23..=25 => Operation::Transmit { max: size(how), step: size(which).max(1) },
            26..=28 => Operation::Deliver { bytes: size(how) },
            29..=30 => Operation::Tick { after: Duration::from_millis(u64::from(how) * u64::from(how) / 8) },
            _ => Operation::GoAway,
        };
        Ok(Self { at, which, operation })
    }
}

/// Two honest ends: what is read is what was written, in order and to the end, unless somebody broke it off; who waits is
/// told; nobody breaks the rules; and nothing is left when everybody has left.
pub fn operations(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok(setups) = <[Setup; 2]>::arbitrary(&mut u) else { return };
    let mut pair = Pair::new(bounds(setups[0], setups[1]), bounds(setups[1], setups[0]));
    for _ in 0..OPERATIONS_MAX {
        if u.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        run(&mut pair, step);
    }
    pair.settle();
    pair.nobody_waits_to_write();
    pair.finish_all();
    pair.settle();
    pair.everything_came();
    pair.release_all();
    pair.settle();
    // Two that have both left, each with more to say than the other gives credit for, wait for each other that long.
    pair.pass(ORPHAN_TIMEOUT);
    pair.settle();
    pair.nothing_is_left();
}

fn bounds(here: Setup, there: Setup) -> Bounds {
    let first =
        |setup: Setup| [16 * 1024, 64 * 1024, 100_000, YAMUX_WINDOW][usize::from(setup.first_windows % 4)];
    let max_held = [64 << 20, 64 << 20, 256 * 1024, 96 * 1024][usize::from(here.limits % 4)];
    // An end that has refused as many as it takes both ways, without being able to say so, calls that a flood: no script
    // may get there.
    let (max_inbound, max_outbound) =
        [(512, 512), (512, 512), (3, 512), (512, 2)][usize::from(here.limits / 4 % 4)];
    Bounds { receive_first: first(here), send_first: first(there), max_inbound, max_outbound, max_held }
}

fn run(pair: &mut Pair, Step { at, which, operation }: Step) {
    let chosen = pair.choose(at, which);
    match (operation, chosen) {
        (Operation::Open { bytes }, _) => pair.open(at, bytes),
        (Operation::Accept, _) => {
            pair.accept(at);
        }
        (Operation::Transmit { max, step }, _) => pair.transmit(at, max, step),
        (Operation::Deliver { bytes }, _) => pair.deliver(at, bytes),
        (Operation::Tick { after }, _) => {
            pair.pass(after);
            pair.tick(at);
        }
        (Operation::GoAway, _) => pair.ends[at].mux.go_away(0),
        (_, None) => {}
        (Operation::Read { max, keep }, Some(index)) => {
            pair.read(at, index, max, keep);
        }
        (Operation::Write { bytes, copied }, Some(index)) => {
            pair.write(at, index, bytes, copied);
        }
        (Operation::Finish, Some(index)) => {
            pair.finish(at, index);
        }
        (Operation::Reset, Some(index)) => pair.reset(at, index),
        (Operation::Release, Some(index)) => pair.release(at, index),
        (Operation::Watch, Some(index)) => {
            if let Some(key) = pair.substreams[index].sides[at].key {
                pair.ends[at].mux.watch(key);
            }
        }
    }
}
