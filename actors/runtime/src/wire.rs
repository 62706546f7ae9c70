//! A session's socket as the runtime sees it, so that sessions run over TCP and over pipes in memory alike.
//! Must not know HTTP or any concrete socket.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use bytes::Bytes;
use mics_domain::codes::Close;

/// One thing that arrived.
#[derive(Debug)]
pub enum Incoming {
    /// A whole binary message, fragments joined.
    Binary(Bytes),
    /// A whole text message; MICS ignores its content.
    Text(Bytes),
    Ping(Bytes),
    Pong,
    /// A binary or text message beyond the limit; its bytes were passed over, not kept.
    TooLarge,
    /// The peer's close, with its code.
    Close(Option<u16>),
    /// The peer broke the protocol; close with this.
    Broken(Close),
}

/// A socket that speaks WebSocket frames. Used from one thread only.
pub trait Wire {
    /// The next message; `None` once the peer is gone.
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Option<Incoming>>;

    /// Ready once the peer is seen to go: it hung up, or a close frame is what it sent first. Takes nothing of what arrived,
    /// and looks no further than its first byte.
    fn poll_leaving(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Writes what fits without waiting; `WouldBlock` when nothing does. What it answers is with the system, and arrives
    /// even if the connection is cut then.
    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Bytes behind the written ones that can't be taken back, although the system does not have them yet (they are
    /// encrypted): they must come first in the next write.
    fn committed(&self) -> usize {
        0
    }

    /// Ready when writing may make progress again.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Cuts the connection, both directions. The peer sees the end after what was written.
    fn shutdown(&self);
}
