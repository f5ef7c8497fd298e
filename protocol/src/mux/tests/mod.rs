//! The whole multiplexer: two ends on a virtual link, or one end and a hostile peer that speaks raw frames.

mod breaches;
mod budget;
mod ends;
mod fairness;
mod floods;
mod flow;
mod limits;
mod memory;
mod pair;
mod raw;
mod simulation;
mod user;
mod wire;
