//! A WebSocket in memory: whole client frames one way, raw bytes the other. The client's side may stall, vanish or be
//! cut, and the network may die without a word.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use mics_actors::wire::{Incoming, Wire};

/// What a client that reads leaves unread at most.
const SOCKET_BYTES: usize = 1 << 20;

#[derive(Default)]
struct State {
    to_server: VecDeque<Incoming>,
    to_client: VecDeque<u8>,
    /// Bytes that the socket takes while its client does not read; `None`: the client reads.
    stalled: Option<usize>,
    /// The client's side ended.
    cut: bool,
    /// Nothing passes any more, and nobody is told.
    dead: bool,
    /// The server's side ended.
    shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Both ends of a connection.
#[derive(Clone, Default)]
pub struct Pipe(Rc<RefCell<State>>);

/// A frame from the server.
pub enum FromServer {
    Binary(Bytes),
    Pong,
    Close(Option<u16>),
}

impl Pipe {
    fn wake(&self) {
        let (reader, writer) = {
            let mut state = self.0.borrow_mut();
            (state.reader.take(), state.writer.take())
        };
        [reader, writer].into_iter().flatten().for_each(Waker::wake);
    }

    pub fn send(&self, frame: Incoming) {
        self.0.borrow_mut().to_server.push_back(frame);
        self.wake();
    }

    /// Stops reading, with this much room left in the socket; or reads again.
    pub fn stall(&self, stalled: Option<usize>) {
        self.0.borrow_mut().stalled = stalled;
        self.wake();
    }

    pub fn stalled(&self) -> bool {
        self.0.borrow().stalled.is_some()
    }

    /// The client is gone, as far as the server can see.
    pub fn cut(&self) {
        self.0.borrow_mut().cut = true;
        self.wake();
    }

    /// The network between the two is gone, as far as nobody can see.
    pub fn die(&self) {
        self.0.borrow_mut().dead = true;
    }

    /// The server ended the connection. Half a frame may be left.
    pub fn ended(&self) -> bool {
        self.0.borrow().shut
    }

    /// Whole frames that the server wrote and nobody has read.
    pub fn read(&self) -> Vec<FromServer> {
        let mut frames = Vec::new();
        let mut state = self.0.borrow_mut();
        while let Some((opcode, payload)) = next_frame(&mut state.to_client) {
            frames.push(match opcode {
                2 => FromServer::Binary(payload),
                8 => FromServer::Close((payload.len() >= 2).then(|| u16::from_be_bytes([payload[0], payload[1]]))),
                _ => FromServer::Pong,
            });
        }
        frames
    }
}

/// Takes one unmasked frame off the front, if it is there completely.
fn next_frame(bytes: &mut VecDeque<u8>) -> Option<(u8, Bytes)> {
    let (first, second) = (*bytes.front()?, *bytes.get(1)?);
    let (header, len) = match second {
        126 => (4, (2..4).try_fold(0, |len, at| Some(len << 8 | usize::from(*bytes.get(at)?)))?),
        127 => (10, (2..10).try_fold(0, |len, at| Some(len << 8 | usize::from(*bytes.get(at)?)))?),
        len => (2, usize::from(len)),
    };
    if bytes.len() < header + len {
        return None;
    }
    bytes.drain(..header);
    Some((first & 0xF, bytes.drain(..len).collect()))
}

impl Wire for Pipe {
    fn poll_incoming(&self, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let mut state = self.0.borrow_mut();
        if state.dead && !state.shut {
            return Poll::Pending;
        }
        match state.to_server.pop_front() {
            Some(frame) if !state.shut => Poll::Ready(Some(frame)),
            _ if state.cut || state.shut => Poll::Ready(None),
            _ => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_leaving(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        let gone = state.cut || state.shut || matches!(state.to_server.front(), Some(Incoming::Close(_)));
        if gone && !state.dead {
            return Poll::Ready(());
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        if state.cut || state.shut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = state.stalled.unwrap_or(SOCKET_BYTES).saturating_sub(state.to_client.len());
        if state.dead || room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = state.to_client.len();
        for frame in frames {
            let left = room - (state.to_client.len() - before);
            state.to_client.extend(&frame[..frame.len().min(left)]);
        }
        Ok(state.to_client.len() - before)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        let room = state.stalled.unwrap_or(SOCKET_BYTES).saturating_sub(state.to_client.len());
        if state.cut || state.shut || (!state.dead && room > 0) {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn shutdown(&self) {
        self.0.borrow_mut().shut = true;
        self.wake();
    }
}
