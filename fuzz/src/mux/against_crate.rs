//! One end of ours, the other the `yamux` crate, and whatever the users of both may do.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::couple::Couple;
use crate::size::size;

/// So many operations are enough for anything; fewer than the 256 opens after which the crate waits for an ACK.
const OPERATIONS_MAX: usize = 200;

#[derive(Debug, Clone, Copy)]
enum Operation {
    Open(usize),
    Accept,
    Read(usize),
    Write(usize),
    Finish,
    Reset,
    Release,
    Send(usize),
    Deliver(usize),
    Tick(u8),
}

#[derive(Debug, Clone, Copy)]
struct Step {
    ours: bool,
    which: u8,
    operation: Operation,
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let [what, which, how] = <[u8; 3]>::arbitrary(u)?;
        let n = size(how);
        let operation = match what & 31 {
            0..=3 => Operation::Open(n),
            4..=5 => Operation::Accept,
            6..=9 => Operation::Read(n),
            10..=15 => Operation::Write(n),
            16..=18 => Operation::Finish,
            19 => Operation::Reset,
            20..=21 => Operation::Release,
            22..=25 => Operation::Send(n),
            26..=29 => Operation::Deliver(n),
            _ => Operation::Tick(how),
        };
        Ok(Self { ours: what >> 7 == 0, which, operation })
    }
}

/// The crate at the other end: what either wrote arrives, nobody breaks the rules, and nothing is left here at the end.
pub fn against_crate(data: &[u8]) {
    let [setup, script @ ..] = data else { return };
    let mut u = Unstructured::new(script);
    let mut couple = Couple::new(*setup);
    for _ in 0..OPERATIONS_MAX {
        if u.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut u) else { break };
        run(&mut couple, step);
    }
    couple.settle();
    couple.finish_all();
    couple.settle();
    couple.everything_came();
    couple.leave();
}

fn run(couple: &mut Couple, Step { ours, which, operation }: Step) {
    let chosen = couple.choose(ours, which);
    match (operation, chosen) {
        (Operation::Open(n), _) => couple.open(ours, n),
        (Operation::Accept, _) => {
            couple.accept(ours);
        }
        (Operation::Send(n), _) if ours => {
            couple.end.transmit(n, n.max(1), couple.now);
        }
        // The crate sends as soon as it runs.
        (Operation::Send(_), _) => {
            couple.accept(false);
        }
        (Operation::Deliver(n), _) => couple.deliver(ours, n),
        (Operation::Tick(after), _) => {
            couple.tick(Duration::from_millis(after.into()) * 8);
        }
        (_, None) => {}
        (Operation::Read(max), Some(index)) => {
            couple.read(ours, index, max.max(1));
        }
        (Operation::Write(n), Some(index)) => {
            couple.write(ours, index, n);
        }
        (Operation::Finish, Some(index)) => couple.finish(ours, index),
        (Operation::Reset, Some(index)) if ours => {
            couple.substreams[index].ours.reset(&mut couple.end.mux);
        }
        // The crate has no way to reset but leaving.
        (Operation::Reset | Operation::Release, Some(index)) => couple.release(ours, index),
    }
    couple.listen();
}
