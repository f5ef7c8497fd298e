//! `timeouts`: how long the server waits, and for what.

use std::time::Duration;

use ops::config::{Placed, Problems, Section};
use proxy::concurrency::Limits;
use proxy::context::Timeouts as DataPlane;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// No wait is shorter or longer.
const RANGE: (Duration, Duration) = (Duration::from_millis(100), seconds(7 * 24 * 3600));
/// A member may keep its first answer for a second (`spec/06`): with less time than that, whatever takes a service longer would
/// be given up though it was accepted. Less is taken for this.
const OPEN_LEAST: Duration = seconds(2);
/// Sessions are lost unnoticed for three of them, and each costs every client a message.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(500), seconds(60));
/// Nothing is watched for longer, and 0 is not at all.
const WATCH: (Duration, Duration) = (Duration::ZERO, seconds(3600));

/// The waits of the server.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Those of the data plane.
    pub data_plane: DataPlane,
    /// `drain`: work in progress at the end of the server.
    pub drain: Duration,
    /// `tls_handshake`: a visitor's, and the PROXY header before it.
    pub tls_handshake: Duration,
    /// `heartbeat`: how often the server asks a client whether it is there; after three of them without a byte it is not.
    pub heartbeat: Duration,
    /// `watch`: a new configuration is watched for so long.
    pub watch: Duration,
    /// `queue`: a request waits so long for a place among those that are worked on.
    pub queue: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            data_plane: DataPlane::default(),
            drain: seconds(30),
            tls_handshake: seconds(5),
            heartbeat: protocol::limits::HEARTBEAT_INTERVAL,
            watch: seconds(60),
            queue: Limits::default().wait,
        }
    }
}

pub(super) fn timeouts(mut section: Section<'_>, problems: &mut Problems) -> Timeouts {
    let mut all = Timeouts::default();
    let mut read = |key: &'static str, place: &mut Duration| {
        if let Some(time) = section.duration(key, RANGE.0..=RANGE.1, problems) {
            *place = time.value;
        }
    };
    let waits = &mut all.data_plane;
    read("detect", &mut waits.detect);
    read("head", &mut waits.head);
    read("keep_alive", &mut waits.keep_alive);
    read("body", &mut waits.stalled);
    read("silence", &mut waits.silence);
    read("dial", &mut waits.dial);
    read("member", &mut waits.member);
    read("upgraded", &mut waits.upgraded);
    read("half_closed", &mut waits.half_closed);
    read("half_closed_tcp", &mut waits.half_closed_tcp);
    read("linger", &mut waits.linger);
    read("queue", &mut all.queue);
    read("drain", &mut all.drain);
    read("tls_handshake", &mut all.tls_handshake);
    if let Some(time) = or_none(&mut section, "request", RANGE, problems) {
        // What never comes to an end has no limit.
        all.data_plane.request = if time.value.is_zero() { Duration::MAX } else { time.value };
    }
    let mut read = |key: &'static str, range: (Duration, Duration), place: &mut Duration| {
        if let Some(time) = section.duration(key, range.0..=range.1, problems) {
            *place = time.value;
        }
    };
    read("open", RANGE, &mut all.data_plane.open);
    read("heartbeat", HEARTBEAT, &mut all.heartbeat);
    read("watch", WATCH, &mut all.watch);
    all.data_plane.open = all.data_plane.open.max(OPEN_LEAST);
    section.finish(&[], problems);
    all
}

/// A time within `range`, or zero for none.
pub(super) fn or_none(
    section: &mut Section<'_>,
    key: &'static str,
    (least, most): (Duration, Duration),
    problems: &mut Problems,
) -> Option<Placed<Duration>> {
    let time = section.duration(key, Duration::ZERO..=most, problems)?;
    if !time.value.is_zero() && time.value < least {
        let least = least.as_millis();
        problems.add(time.span, format_args!("`{key}` is \"0s\" for no limit, or at least {least}ms"));
        return None;
    }
    Some(time)
}
