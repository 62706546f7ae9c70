//! Way B: actix-http's upgrade service hands the connection over, and the session owns the raw socket.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpListener};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_codec::Framed;
use actix_http::h1::Codec;
use actix_http::{HttpMessage, HttpService, Request, Response, header, ws};
use actix_rt::net::TcpStream;
use actix_rt::task::JoinHandle;
use actix_server::Server;
use actix_service::fn_service;
use bytes::{Buf, Bytes, BytesMut};

use crate::session::{self, OUTBOX, Out, Source};

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

struct Socket {
    stream: TcpStream,
    queue: RefCell<VecDeque<Bytes>>,
    /// Runs while the peer does not take everything.
    writer: RefCell<Option<JoinHandle<()>>>,
}

impl Socket {
    /// Writes what the peer takes; true when nothing is left, or nothing more can be sent.
    fn flush(&self) -> bool {
        let mut queue = self.queue.borrow_mut();
        while let Some(frame) = queue.front_mut() {
            match self.stream.try_write(frame) {
                Ok(count) if count < frame.len() => frame.advance(count),
                Ok(_) => drop(queue.pop_front()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => break,
            }
        }
        *queue = VecDeque::new();
        true
    }
}

impl Out for Socket {
    fn push(self: Rc<Self>, frame: Bytes) {
        if self.queued() + frame.len() > OUTBOX {
            return;
        }
        self.queue.borrow_mut().push_back(frame);
        if self.writer.borrow().is_none() && !self.flush() {
            let socket = self.clone();
            *self.writer.borrow_mut() = Some(actix_rt::spawn(async move {
                while socket.stream.writable().await.is_ok() && !socket.flush() {}
                *socket.writer.borrow_mut() = None;
            }));
        }
    }

    fn queued(&self) -> usize {
        self.queue.borrow().iter().map(Bytes::len).sum()
    }

    fn close(&self) {
        if let Some(writer) = self.writer.take() {
            writer.abort();
        }
        // Fails only when the peer is gone already.
        let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Both);
    }
}

impl Source for Rc<Socket> {
    fn poll_more(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<bool> {
        loop {
            if ready!(self.stream.poll_read_ready(cx)).is_err() {
                return Poll::Ready(false);
            }
            let read = SCRATCH.with_borrow_mut(|scratch| {
                let count = self.stream.try_read(scratch)?;
                buffer.extend_from_slice(&scratch[..count]);
                Ok::<_, io::Error>(count)
            });
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.is_ok_and(|count| count > 0)),
            }
        }
    }
}

async fn upgrade((request, framed): (Request, Framed<TcpStream, Codec>)) -> Result<(), actix_web::Error> {
    let parts = framed.into_parts();
    let invalid = || io::Error::from(ErrorKind::InvalidData);
    ws::verify_handshake(request.head()).map_err(|_| invalid())?;
    let key = ws::hash_key(request.headers().get(header::SEC_WEBSOCKET_KEY).ok_or_else(invalid)?.as_bytes());
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n".to_vec();
    answer.extend([b"sec-websocket-accept: ", &key[..], b"\r\n\r\n"].concat());
    let socket = Rc::new(Socket { stream: parts.io, queue: RefCell::default(), writer: RefCell::default() });
    socket.clone().push(answer.into());
    session::start(socket.clone(), parts.read_buf, socket);
    Ok(())
}

pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let server = Server::build().workers(1).backlog(4096).max_concurrent_connections(30_000);
    let service = || {
        let not_found = fn_service(|_: Request| async { Ok::<_, Infallible>(Response::not_found()) });
        HttpService::build().tcp_nodelay(true).upgrade(fn_service(upgrade)).h1(not_found).tcp()
    };
    server.listen("ws", listener, service)?.run().await
}
