//! Many users at two ends, on a link with a virtual clock, and an executor that runs them in any order, late, without
//! reason, and once for many wake-ups. The same seed is the same run.

use std::collections::HashMap;
use std::time::Duration;

use super::pair::{Client, MIB, Pair, Server, config};
use super::user::{Ending, Plan, Seen, User};
use super::wire::Random;
use crate::mux::{ABORT_TIMEOUT, Broken, Config, LINK_TIMEOUT, Notice, ORPHAN_TIMEOUT, ProcessBudget, Role};

/// Of each simulation; in the long form twenty times as many.
const RUNS: u64 = 50;
/// More turns than any run needs: who is stuck is found by it.
const TURNS_MAX: usize = 400_000;

/// One run.
struct Simulation {
    random: Random,
    pair: Pair,
    /// What is going to be done with each substream: by who opens it, and by its peer.
    plans: HashMap<u32, [Plan; 2]>,
    /// Both ends of every substream, where they are held.
    users: HashMap<(Role, u32), User>,
    /// Whom the executor is going to run, in no order.
    ready: Vec<(Role, u32)>,
    to_open: [usize; 2],
    cut: bool,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let process = ProcessBudget::new(1024 * MIB);
        let small = random.below(4) == 0;
        let bounds = |role| Config {
            // Little enough that a window must be given with care, and enough that nothing is refused.
            max_held: if small { 24 * MIB } else { 64 * MIB },
            process: process.clone(),
            ..config(role)
        };
        let mut pair = Pair::with(bounds(Client), bounds(Server));
        let one_way = Duration::from_micros([0, 50, 5_000, 80_000][random.below(4)]);
        pair.link(one_way, [None, Some(1_000_000), Some(30_000_000), Some(400_000_000)][random.below(4)]);
        if random.below(2) == 0 {
            pair.split_both(1 + random.below(20_000));
        }
        pair.batch = 1 + random.below(100_000);
        let to_open = [1 + random.below(24), random.below(24)];
        Self {
            random,
            pair,
            plans: HashMap::new(),
            users: HashMap::new(),
            ready: Vec::new(),
            to_open,
            cut: false,
        }
    }

    fn open(&mut self, role: Role) {
        let plans = [Plan::new(&mut self.random), Plan::new(&mut self.random)];
        let first = User::first(&plans[0]);
        let written = first.len();
        let key = self.pair.mux(role).open(first).unwrap();
        assert!(self.plans.insert(key.id(), plans).is_none(), "an id is used twice");
        self.hold(role, key.id(), User::new(key, plans[0], plans[1], written));
    }

    fn accept(&mut self, role: Role) {
        while let Some(key) = self.pair.mux(role).accept() {
            let [theirs, ours] = self.plans[&key.id()];
            self.hold(role, key.id(), User::new(key, ours, theirs, 0));
        }
    }

    fn hold(&mut self, role: Role, id: u32, user: User) {
        assert!(self.users.insert((role, id), user).is_none(), "{id} is handed out twice");
        self.wake(role, id);
    }

    fn wake(&mut self, role: Role, id: u32) {
        if !self.ready.contains(&(role, id)) {
            self.ready.push((role, id));
        }
    }

    fn listen(&mut self, role: Role) {
        for notice in self.pair.notices(role) {
            match notice {
                Notice::Acceptable => self.accept(role),
                Notice::Readable(key) | Notice::Writable(key) => self.wake(role, key.id()),
            }
        }
    }

    fn run_one(&mut self) {
        let chosen = self.ready.swap_remove(self.random.below(self.ready.len()));
        let Some(user) = self.users.get_mut(&chosen) else { return };
        let now = self.pair.now;
        if user.run(self.pair.mux(chosen.0), now, &mut self.random) {
            self.wake(chosen.0, chosen.1);
        }
    }

    /// One decision of the executor and the link; whether anything can still happen.
    fn turn(&mut self) -> bool {
        match self.random.below(12) {
            0 if self.to_open[0] > 0 => {
                self.to_open[0] -= 1;
                self.open(Client);
            }
            1 if self.to_open[1] > 0 => {
                self.to_open[1] -= 1;
                self.open(Server);
            }
            2 => {
                let way = if self.random.below(2) == 0 { &mut self.pair.up } else { &mut self.pair.down };
                way.stalled = !way.stalled;
            }
            3 => {
                let role = [Client, Server][self.random.below(2)];
                let now = self.pair.now;
                self.pair.mux(role).tick(now);
            }
            // Wakes somebody for nothing.
            4 => {
                let mut all: Vec<_> = self.users.keys().copied().collect();
                all.sort_unstable_by_key(|(role, id)| (*id, *role == Client));
                if let Some((role, id)) = all.get(self.random.below(all.len())) {
                    self.wake(*role, *id);
                }
            }
            5..=7 if !self.ready.is_empty() => self.run_one(),
            8 => {
                self.pair.send(Client);
                self.pair.receive(Client).unwrap();
            }
            9 => {
                self.pair.send(Server);
                self.pair.receive(Server).unwrap();
            }
            _ => return self.rest(),
        }
        true
    }

    /// Everything that is due, then the time passes; whether anything can still happen.
    fn rest(&mut self) -> bool {
        for _ in 0..50 {
            if !self.pair.turn() {
                break;
            }
        }
        let moves = self.pair.wait();
        for role in [Client, Server] {
            self.listen(role);
        }
        moves || !self.ready.is_empty() || self.to_open != [0, 0]
    }

    fn check(&self) {
        for mux in [&self.pair.client, &self.pair.server] {
            assert!(mux.held() <= mux.config.max_held, "{} bytes are held", mux.held());
        }
        let both = self.pair.client.held() + self.pair.server.held();
        assert_eq!(self.pair.client.config.process.held(), both, "the process counts otherwise");
    }

    /// Until nothing can happen any more, even if everything flows.
    fn run(&mut self, mut each: impl FnMut(&mut Self, usize) -> bool) {
        for turn in 0..TURNS_MAX {
            let moves = self.turn();
            self.check();
            if !each(self, turn) {
                return;
            }
            if moves {
                continue;
            }
            (self.pair.up.stalled, self.pair.down.stalled) = (false, false);
            if !self.rest() && !self.rest() {
                return;
            }
        }
        panic!("it never comes to an end: {} are ready", self.ready.len());
    }

    /// What every user has a right to, when all has been said.
    fn judge(&self) {
        for ((role, id), user) in &self.users {
            let other = if *role == Client { Server } else { Client };
            let peer = self.users.get(&(other, *id));
            let Some(seen) = user.seen else {
                panic!("{role:?} {id} still waits after {} bytes: {user:?}, {peer:?}", user.read)
            };
            assert!(user.wrote_all, "{role:?} {id} still writes: {user:?}");
            // Never told of it, or told when it was over.
            let Some(peer) = peer else { continue };
            match seen {
                Seen::End => {
                    assert_eq!(peer.plan.ending, Ending::Finish, "an end that nobody wrote");
                    assert_eq!(user.read, peer.plan.total, "an end before all was read");
                }
                Seen::Broken(why) => {
                    let by_peer = peer.plan.ending != Ending::Finish || peer.seen == Some(Seen::Enough);
                    let here = user.plan.ending != Ending::Finish;
                    assert!(by_peer || (here && why == Broken::Here), "{role:?} {id}: {why:?}, {peer:?}");
                }
                Seen::Enough => {}
            }
        }
    }

    /// All leave, and the last words of nobody take for ever.
    fn leave(&mut self) {
        let now = self.pair.now;
        for ((role, _), user) in &mut self.users {
            user.leave(self.pair.mux(*role), now);
        }
        for role in [Client, Server] {
            while let Some(key) = self.pair.mux(role).accept() {
                self.pair.mux(role).release(key, now);
            }
        }
        for patience in [ABORT_TIMEOUT, ORPHAN_TIMEOUT, ABORT_TIMEOUT, LINK_TIMEOUT] {
            self.pair.pass(patience);
        }
    }
}

fn each_seed(run: impl Fn(Simulation)) {
    let runs = if std::env::var_os("TUNNEL_FULL").is_some() { 20 * RUNS } else { RUNS };
    for seed in 0..runs {
        println!("seed {seed}");
        run(Simulation::new(seed));
    }
}

#[test]
fn whatever_the_executor_does_everybody_sees_all_that_they_have_a_right_to() {
    each_seed(|mut simulation| {
        simulation.run(|_, _| true);
        simulation.judge();
        simulation.leave();
        simulation.pair.assert_freed();
    });
}

#[test]
fn a_link_that_goes_dead_at_any_moment_leaves_bounded_memory_and_then_none() {
    each_seed(|mut simulation| {
        let at = simulation.random.below(3000);
        simulation.run(|simulation, turn| {
            if turn == at {
                simulation.cut = true;
                (simulation.pair.up.cut, simulation.pair.down.cut) = (true, true);
            }
            turn < at + 2000
        });
        simulation.leave();
        simulation.pair.assert_freed();
    });
}

#[test]
fn a_goaway_at_any_moment_costs_no_substream_that_is_open() {
    each_seed(|mut simulation| {
        let at = simulation.random.below(2000);
        simulation.run(|simulation, turn| {
            if turn == at {
                simulation.pair.mux(Server).go_away(0);
                simulation.to_open = [0, 0];
            }
            true
        });
        simulation.judge();
        simulation.leave();
        simulation.pair.assert_freed();
    });
}
