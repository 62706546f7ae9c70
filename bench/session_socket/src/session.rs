//! The session both ways share: an actor in a plain `Context`, fed by a stream of frames, writing to an `Out`. Must not
//! know how the socket is held.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use actix::prelude::*;
use actix_http::ws::{OpCode, Parser};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

/// Most bytes that wait for one client.
pub const OUTBOX: usize = 8 << 20;
pub const FLOOD_FRAMES: usize = 64;
pub const FLOOD_FRAME: usize = 64 << 10;

/// Commands: first byte of a client frame. Anything else is echoed.
pub const FLOOD: u8 = b'f';
pub const MARK: u8 = b'm';
pub const ASK: u8 = b'q';
pub const EVICT: u8 = b'x';

/// Where frames go. Never waits; drops what exceeds [`OUTBOX`].
pub trait Out {
    fn push(self: Rc<Self>, frame: Bytes);
    /// Bytes not handed on yet.
    fn queued(&self) -> usize;
    fn close(&self);
}

/// Where bytes come from.
pub trait Source: Unpin + 'static {
    /// Appends what has come; false at the end.
    fn poll_more(&mut self, cx: &mut task::Context<'_>, buffer: &mut BytesMut) -> Poll<bool>;
}

struct Frames<S> {
    source: S,
    buffer: BytesMut,
}

impl<S: Source> Stream for Frames<S> {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Bytes>> {
        let Frames { source, buffer } = &mut *self;
        loop {
            if !buffer.is_empty() {
                match Parser::parse(buffer, true, FLOOD_FRAME) {
                    Ok(Some((true, OpCode::Binary, Some(payload)))) => return Poll::Ready(Some(payload.freeze())),
                    Ok(None) => {}
                    _ => return Poll::Ready(None),
                }
            }
            if buffer.is_empty() {
                // An idle connection owns no buffer.
                *buffer = BytesMut::new();
            }
            if !ready!(source.poll_more(cx, buffer)) {
                return Poll::Ready(None);
            }
        }
    }
}

thread_local! {
    static STALLED: RefCell<Option<Addr<Session>>> = const { RefCell::new(None) };
}

/// Answer: frames of the stalled client seen since the flood, bytes still queued for it.
#[derive(Message)]
#[rtype(result = "(u8, u32)")]
struct Ask;

#[derive(Message)]
#[rtype(result = "()")]
struct Evict;

pub struct Session {
    out: Rc<dyn Out>,
    marks: u8,
}

/// Starts a session; `first` came with the handshake.
pub fn start(source: impl Source, first: BytesMut, out: Rc<dyn Out>) {
    Session::create(|ctx| {
        ctx.add_stream(Frames { source, buffer: first });
        Session { out, marks: 0 }
    });
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Drop for Session {
    fn drop(&mut self) {
        self.out.close();
    }
}

impl StreamHandler<Bytes> for Session {
    fn handle(&mut self, payload: Bytes, ctx: &mut Self::Context) {
        match payload.first() {
            Some(&FLOOD) => {
                STALLED.set(Some(ctx.address()));
                let frame = frame(&vec![0; FLOOD_FRAME]);
                (0..FLOOD_FRAMES).for_each(|_| self.out.clone().push(frame.clone()));
            }
            Some(&MARK) => self.marks += 1,
            Some(&ASK) => {
                let Some(stalled) = STALLED.with_borrow(Clone::clone) else { return };
                let answer = tokio::time::timeout(Duration::from_secs(1), stalled.send(Ask));
                ctx.spawn(answer.into_actor(self).map(|answer, session, _| {
                    let (answered, (marks, queued)) = match answer {
                        Ok(Ok(state)) => (1, state),
                        _ => (0, (0, 0)),
                    };
                    let [a, b, c, d] = queued.to_be_bytes();
                    session.out.clone().push(frame(&[answered, marks, a, b, c, d]));
                }));
            }
            Some(&EVICT) => {
                let _ = STALLED.take().map(|stalled| stalled.try_send(Evict));
            }
            _ => self.out.clone().push(frame(&payload)),
        }
    }
}

impl Handler<Ask> for Session {
    type Result = MessageResult<Ask>;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.marks, self.out.queued() as u32))
    }
}

impl Handler<Evict> for Session {
    type Result = ();

    fn handle(&mut self, _: Evict, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

fn frame(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    Parser::write_message(&mut frame, payload, OpCode::Binary, true, false);
    frame.freeze()
}
