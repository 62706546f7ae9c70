//! Way A: the socket stays with actix-web's HTTP/1 dispatcher. Frames come from the request's payload and leave as the
//! response's body. The frame stream is ours: `WsStream` of actix-web-actors is private.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_web::web::{self, Payload};
use actix_web::{App, Error, HttpRequest, HttpResponse, HttpServer};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use crate::session::{self, OUTBOX, Out, Source};

#[derive(Default)]
struct Queue {
    frames: VecDeque<Bytes>,
    bytes: usize,
    reader: Option<Waker>,
    closed: bool,
}

#[derive(Default)]
struct Outbox(RefCell<Queue>);

impl Out for Outbox {
    fn push(self: Rc<Self>, frame: Bytes) {
        let mut queue = self.0.borrow_mut();
        if queue.bytes + frame.len() <= OUTBOX {
            queue.bytes += frame.len();
            queue.frames.push_back(frame);
            if let Some(reader) = queue.reader.take() {
                reader.wake();
            }
        }
    }

    fn queued(&self) -> usize {
        self.0.borrow().bytes
    }

    fn close(&self) {
        let mut queue = self.0.borrow_mut();
        queue.closed = true;
        if let Some(reader) = queue.reader.take() {
            reader.wake();
        }
    }
}

/// The response's body.
struct Body(Rc<Outbox>);

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.0.0.borrow_mut();
        if queue.closed {
            return Poll::Ready(None);
        }
        if let Some(frame) = queue.frames.pop_front() {
            queue.bytes -= frame.len();
            return Poll::Ready(Some(Ok(frame)));
        }
        if queue.frames.capacity() > 0 {
            queue.frames = VecDeque::new();
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Source for Payload {
    fn poll_more(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<bool> {
        Pin::new(self).poll_next(cx).map(|chunk| match chunk {
            Some(Ok(chunk)) => {
                buffer.extend_from_slice(&chunk);
                true
            }
            _ => false,
        })
    }
}

async fn open(request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
    let mut response = actix_web_actors::ws::handshake(&request)?;
    let outbox = Rc::new(Outbox::default());
    session::start(payload, BytesMut::new(), outbox.clone());
    Ok(response.streaming(Body(outbox)))
}

pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let server = HttpServer::new(|| App::new().route("/ws", web::get().to(open)));
    server.workers(1).backlog(4096).max_connections(30_000).tcp_nodelay(true).listen(listener)?.run().await
}
