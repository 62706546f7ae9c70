//! A session's socket over plain TCP.

use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use actix_rt::net::TcpStream;
use bytes::BytesMut;
use tokio::io::ReadBuf;

use super::wire::{SCRATCH, Socket, SocketWire};

pub type TcpWire = SocketWire<TcpStream>;

impl Socket for TcpStream {
    fn stream(&self) -> &TcpStream {
        self
    }

    fn try_read(&self, into: &mut BytesMut) -> io::Result<bool> {
        SCRATCH.with_borrow_mut(|scratch| {
            let count = TcpStream::try_read(self, scratch)?;
            into.extend_from_slice(&scratch[..count]);
            Ok(count > 0)
        })
    }

    fn poll_first(&self, cx: &mut Context<'_>, _: &mut BytesMut) -> Poll<Option<u8>> {
        let mut byte = [0];
        let mut peeked = ReadBuf::new(&mut byte);
        Poll::Ready(match ready!(self.poll_peek(cx, &mut peeked)) {
            Ok(_) => peeked.filled().first().copied(),
            Err(_) => None,
        })
    }

    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(frames)
    }
}
