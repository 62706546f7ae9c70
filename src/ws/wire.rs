//! A session's socket: whole messages in, ready frames out, over TCP and TLS alike. It owns a read buffer only while a
//! message is incomplete: that is what keeps an idle connection small.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use actix_rt::net::TcpStream;
use bytes::BytesMut;
use mics_actors::wire::{Incoming, Wire};

use super::decode::Decoder;

/// Bytes read in one system call, into one buffer per thread.
pub(super) const READ: usize = 64 * 1024;
/// First byte of a close frame.
const CLOSE: u8 = 0x88;

thread_local! {
    pub(super) static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// What carries a session's bytes.
pub trait Socket: 'static {
    /// What tells when there is something to read, and room to write.
    fn stream(&self) -> &TcpStream;

    /// What it has read and nobody has taken.
    fn take_read(&mut self) -> BytesMut {
        BytesMut::new()
    }

    /// Appends what has arrived; false once nothing more comes, `WouldBlock` when nothing is there yet. It may append
    /// nothing although something arrived.
    fn try_read(&self, into: &mut BytesMut) -> io::Result<bool>;

    /// The first byte that arrived; `None` when the peer is gone. It stays to be read, or is appended to `buffer`.
    fn poll_first(&self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<Option<u8>>;

    /// See [`Wire::try_write_vectored`].
    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize>;

    /// See [`Wire::committed`].
    fn committed(&self) -> usize {
        0
    }

    /// Tells the peer that nothing follows, if the protocol can, without waiting.
    fn say_goodbye(&self) {}
}

struct Reader {
    decoder: Decoder,
    buffer: BytesMut,
}

pub struct SocketWire<S> {
    socket: S,
    reader: RefCell<Reader>,
}

impl<S: Socket> SocketWire<S> {
    /// `first`: bytes that came with the handshake. `limit`: most bytes of a message.
    pub fn new(mut socket: S, mut first: BytesMut, limit: usize) -> Self {
        first.extend_from_slice(&socket.take_read());
        SocketWire { socket, reader: RefCell::new(Reader { decoder: Decoder::new(limit), buffer: first }) }
    }
}

impl<S: Socket> Wire for SocketWire<S> {
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
            if ready!(self.socket.stream().poll_read_ready(cx)).is_err() {
                return Poll::Ready(None);
            }
            match self.socket.try_read(buffer) {
                Ok(false) => return Poll::Ready(None),
                Ok(true) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    }

    fn poll_leaving(&self, cx: &mut Context<'_>) -> Poll<()> {
        let buffer = &mut self.reader.borrow_mut().buffer;
        let first = match buffer.first() {
            Some(first) => Some(*first),
            None => ready!(self.socket.poll_first(cx, buffer)),
        };
        match first {
            None | Some(CLOSE) => Poll::Ready(()),
            // It has something to say when it is let in.
            Some(_) => Poll::Pending,
        }
    }

    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_write(frames)
    }

    fn committed(&self) -> usize {
        self.socket.committed()
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.stream().poll_write_ready(cx)
    }

    fn shutdown(&self) {
        self.socket.say_goodbye();
        // Fails only when the peer is gone already.
        let _ = socket2::SockRef::from(self.socket.stream()).shutdown(Shutdown::Both);
    }
}
