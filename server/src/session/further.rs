//! Substreams that a client opens besides its control substream. Reaching services next to the server is not in this
//! version, so each is refused; a second control substream is against the protocol.

use std::sync::Arc;

use bytes::BytesMut;
use protocol::code::Code;
use protocol::control::CloseReason;
use protocol::frame::{Frame, FrameType};
use protocol::limits::{OPEN_TIMEOUT, SUBSTREAM_HEAD_MAX};
use protocol::request::Status;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_util::codec::FramedRead;
use transport::frames::FrameCodec;
use transport::session::Substream;

use super::Live;

/// Refused substreams that are being answered at once; a client that opens more sees them reset.
pub(super) const ANSWERED_AT_ONCE: usize = 64;

/// Answers one such substream, within [`OPEN_TIMEOUT`]; dropping it without an answer is a reset.
pub(super) async fn refuse(live: Arc<Live>, substream: Substream) {
    drop(timeout(OPEN_TIMEOUT, answer(&live, substream)).await);
}

async fn answer(live: &Live, substream: Substream) -> Option<()> {
    let mut frames = FramedRead::new(substream, FrameCodec::new(SUBSTREAM_HEAD_MAX));
    let Frame { kind, .. } = futures_util::StreamExt::next(&mut frames).await?.ok()?;
    if is_control(kind) {
        live.cut(CloseReason::PROTOCOL_ERROR, "a session has one control substream");
        return None;
    }
    let mut refusal = BytesMut::new();
    let text = "services next to the server are not in this version".into();
    Status::Refused { code: Code::NOT_ALLOWED, text }.encode(&mut refusal).ok()?;
    let mut substream = frames.into_inner();
    substream.write_all(&refusal).await.ok()?;
    substream.shutdown().await.ok()
}

fn is_control(kind: FrameType) -> bool {
    (FrameType::REGISTER..=FrameType::NOTICE).contains(&kind)
}
