//! What a person sees of `tunnelc http` and `tcp`, on stdout: a calm live view on a terminal, plain lines elsewhere.

pub(crate) mod log;
mod plain;
mod show;
mod terminal;
mod words;

pub(crate) use show::View;
