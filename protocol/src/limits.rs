//! Every number of the spec that a peer can reach (`spec/09-limits.md`). Lengths are in bytes.

use std::time::Duration;

/// Largest payload that the 24-bit length of a frame header can state.
pub const FRAME_LENGTH_MAX: usize = 0x00FF_FFFF;
/// Largest payload of a handshake frame; nobody has proved anything yet.
pub const HANDSHAKE_FRAME_MAX: usize = 16 * 1024;
/// Largest payload of a control frame.
pub const CONTROL_FRAME_MAX: usize = 64 * 1024;
/// Largest payload of the head that starts a request substream.
pub const SUBSTREAM_HEAD_MAX: usize = 1024;
/// Largest payload of a status, a `reset` or a `stop`.
pub const STATUS_MAX: usize = 2 * 1024;
/// Largest payload of a request or response head of an exchange.
pub const HEAD_FRAME_MAX: usize = 128 * 1024;
/// Largest payload of a `data` frame; the smallest is one byte.
pub const DATA_MAX: usize = 64 * 1024;
/// Largest payload of a `trailers` frame.
pub const TRAILERS_MAX: usize = 16 * 1024;
/// Largest payload of a frame of an unknown type that may be skipped.
pub const SKIPPED_MAX: usize = 64 * 1024;

/// Visitor bytes that may go ahead of `connected` on a TCP substream, and that the opener keeps for replay.
pub const TCP_AHEAD_MAX: usize = 64 * 1024;

/// Longest text for people ([`crate::text::Text`]).
pub const TEXT_MAX: usize = 1024;
/// Longest name of a client, group, service or registration.
pub const NAME_MAX: usize = 64;
/// Longest user agent of a client.
pub const AGENT_MAX: usize = 64;
/// Longest service name, whatever its form.
pub const SERVICE_NAME_MAX: usize = 255;
/// Longest id of a credential.
pub const CREDENTIAL_ID_MAX: usize = 32;
/// Longest host name (RFC 1035 section 2.3.4, without the final dot).
pub const HOST_MAX: usize = 253;
/// Longest public URL of a registration.
pub const URL_MAX: usize = 512;
/// Longest address range as text.
pub const CIDR_MAX: usize = 64;
/// Most address ranges in one registration.
pub const ALLOW_MAX: usize = 64;
/// Most registrations in one `register`, results in one `registered` and ids in one `unregister`.
pub const REGISTRATIONS_MAX: usize = 256;
/// Largest part of a group's configuration.
pub const PART_MAX: usize = 1024 * 1024;
/// Most bytes of a part in one frame.
pub const PART_PIECE_MAX: usize = 32 * 1024;
/// Most parts that an instance holds: those of its groups, twice while one takes the place of another.
pub const PARTS_MAX: usize = 256;
/// Most services in one `health`.
pub const REPORTED_SERVICES_MAX: usize = 256;
/// Most servers of a service in one `health`; with the longest names they fit into a control frame.
pub const REPORTED_SERVERS_MAX: usize = 256;
/// Longest name of a server in a `health`.
pub const SERVER_MAX: usize = 128;

/// Most fields in a head or in trailers; with it a head costs at most some 20 KiB beyond its own bytes.
pub const FIELDS_MAX: usize = 256;
/// Longest request method.
pub const METHOD_MAX: usize = 32;
/// Longest authority of a request: a host, a colon and a port, with room.
pub const AUTHORITY_MAX: usize = 512;
/// Longest path with query.
pub const PATH_MAX: usize = 16 * 1024;
/// Longest name of a protocol to upgrade to.
pub const PROTOCOL_MAX: usize = 64;

/// Most pins in a join string: one in use, one to rotate to, with room.
pub const PINS_MAX: usize = 8;

/// Bytes that this version takes on a new substream before its first window update.
pub const FIRST_WINDOW: u32 = 64 * 1024;
/// Smallest initial window a peer may state: below it a head and its answer could wait for each other.
pub const FIRST_WINDOW_MIN: u32 = 16 * 1024;
/// Substreams that this version accepts at once on a session.
pub const SUBSTREAMS_ACCEPTED_MAX: u32 = 16_384;
/// What it really accepts above that: a substream that the opener counts as ended may still be open for the acceptor.
pub const SUBSTREAMS_SLACK: u32 = 4_096;
/// Substreams that this version opens at once on a session.
pub const SUBSTREAMS_OPENED_MAX: u32 = 16_384;
/// Bytes that a session may hold: received and unread, written and unsent.
pub const SESSION_BUFFER_MAX: usize = 128 * 1024 * 1024;

/// From accepting a TCP connection to the last byte of the handshake, TLS included.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// From `welcome` to the control substream.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);
/// From the last piece of a part to its answer.
pub const PART_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two heartbeats of one side.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Without a received byte for so long, a session is dead.
pub const DEAD_AFTER: Duration = Duration::from_secs(15);
/// From opening a substream to `accepted` or `refused`; at the acceptor, to the complete head.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// A `reset` frame that could not be written for so long becomes a yamux RST.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a name stays reserved for its principal after its last session was lost.
pub const RESERVATION: Duration = Duration::from_secs(60);
/// Longest time that a wire duration can state: 32 bits of milliseconds.
pub const DURATION_MAX: Duration = Duration::from_millis(0xFFFF_FFFF);
