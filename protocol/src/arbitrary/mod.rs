//! Arbitrary values of every message that can be sent, for the structured fuzz targets and the round-trip tests: within
//! their limits, but with every corner of them.

mod control;
mod exchange;
mod handshake;
mod id;
mod join;
mod request;

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::limits::TEXT_MAX;
use crate::text::Text;

/// A string of 0 to `max` bytes that any string field takes.
fn string(u: &mut Unstructured<'_>, max: usize) -> Result<String> {
    let mut text = String::arbitrary(u)?;
    text.retain(|c| !c.is_control());
    while text.len() > max {
        text.pop();
    }
    Ok(text)
}

/// A string of 1 to `max` bytes out of `alphabet`.
fn word(u: &mut Unstructured<'_>, alphabet: &[u8], max: usize) -> Result<String> {
    let length = u.int_in_range(1..=max)?;
    (0..length).map(|_| u.choose(alphabet).map(|byte| char::from(*byte))).collect()
}

/// A duration as the wire has it: 32 bits of milliseconds.
fn duration(u: &mut Unstructured<'_>) -> Result<Duration> {
    u32::arbitrary(u).map(|millis| Duration::from_millis(u64::from(millis)))
}

/// A list of 0 to `max` items.
fn list<'a, T>(
    u: &mut Unstructured<'a>,
    max: usize,
    mut item: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut items = Vec::new();
    while items.len() < max && !u.is_empty() && bool::arbitrary(u)? {
        items.push(item(u)?);
    }
    Ok(items)
}

/// A value that may be absent.
fn option<'a, T>(
    u: &mut Unstructured<'a>,
    item: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if bool::arbitrary(u)? { item(u).map(Some) } else { Ok(None) }
}

impl<'a> Arbitrary<'a> for Text {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        string(u, TEXT_MAX).map(Self::from)
    }
}
