//! A session's socket over TCP. It owns a read buffer only while a message is incomplete: that is what keeps an idle
//! connection small.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use actix_rt::net::TcpStream;
use bytes::BytesMut;
use mics_actors::wire::{Incoming, Wire};
use tokio::io::ReadBuf;

use super::decode::Decoder;

/// Bytes read in one system call, into one buffer per thread.
const READ: usize = 64 * 1024;
/// First byte of a close frame.
const CLOSE: u8 = 0x88;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

struct Reader {
    decoder: Decoder,
    buffer: BytesMut,
}

pub struct TcpWire {
    stream: TcpStream,
    reader: RefCell<Reader>,
}

impl TcpWire {
    /// `first`: bytes that came with the handshake. `limit`: most bytes of a message.
    pub fn new(stream: TcpStream, first: BytesMut, limit: usize) -> Self {
        TcpWire { stream, reader: RefCell::new(Reader { decoder: Decoder::new(limit), buffer: first }) }
    }
}

impl Wire for TcpWire {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let Reader { decoder, buffer } = &mut *self.reader.borrow_mut();
        loop {
            if !buffer.is_empty() {
                if let Some(incoming) = decoder.next(buffer) {
                    return Poll::Ready(Some(incoming));
                }
                if buffer.is_empty() {
                    *buffer = BytesMut::new();
                }
            }
            if ready!(self.stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let count = self.stream.try_read(scratch)?;
                buffer.extend_from_slice(&scratch[..count]);
                Ok::<_, io::Error>(count)
            });
            match read {
                Ok(0) => return Poll::Ready(None),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    }

    fn poll_leaving(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        let mut peeked = ReadBuf::new(&mut byte);
        let first = match self.reader.borrow().buffer.first() {
            Some(first) => Some(*first),
            None => match ready!(self.stream.poll_peek(cx, &mut peeked)) {
                Ok(_) => peeked.filled().first().copied(),
                Err(_) => None,
            },
        };
        match first {
            None | Some(CLOSE) => Poll::Ready(()),
            // It has something to say when it is let in.
            Some(_) => Poll::Pending,
        }
    }

    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.try_write_vectored(frames)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    fn shutdown(&self) {
        // Fails only when the peer is gone already.
        let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Both);
    }
}
