//! An echo server over the product's own WebSocket edge, so that Autobahn can judge it (`scripts/autobahn.sh`). It
//! knows neither tenants nor messages, and must not mend what the edge does.
//!
//! `ws_echo [ADDRESS]` listens there (default 127.0.0.1:0) and prints `listening on ADDRESS`.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};

use actix_http::ws;
use actix_rt::net::{TcpListener, TcpStream};
use bytes::{Bytes, BytesMut};
use mics::ws::tcp::TcpWire;
use mics_actors::frame;
use mics_actors::wire::{Incoming, Wire};
use mics_domain::codes::Close;

/// Most bytes of a message: Autobahn's largest in the groups that run.
const LIMIT: usize = 16 * 1024 * 1024;
/// Most bytes of a request's head.
const HEAD: usize = 16 * 1024;
/// A final text frame's first byte; the gateway itself never sends text.
const TEXT: u8 = 0x81;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    actix_rt::System::new().block_on(async move {
        let listener = TcpListener::bind(address).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            actix_rt::spawn(async move {
                if let Err(error) = serve(stream).await {
                    eprintln!("connection ended: {error}");
                }
            });
        }
    })
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break buffer.split_to(end + 4);
        }
        if buffer.len() > HEAD {
            return Err(io::Error::new(ErrorKind::InvalidData, "request head too long"));
        }
        stream.readable().await?;
        match stream.try_read_buf(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    };
    let key = key(&head).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no Sec-WebSocket-Key"))?;
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n".to_vec();
    answer.extend_from_slice(b"sec-websocket-accept: ");
    answer.extend_from_slice(&ws::hash_key(key.as_bytes()));
    answer.extend_from_slice(b"\r\n\r\n");
    let wire = TcpWire::new(stream, buffer, LIMIT);
    write(&wire, &answer).await?;
    let ended = echo(&wire).await;
    wire.shutdown();
    ended
}

/// The value of `Sec-WebSocket-Key`.
fn key(head: &[u8]) -> Option<&str> {
    let lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let mut headers = lines.filter_map(|line| line.split_once(':'));
    headers.find(|(name, _)| name.trim().eq_ignore_ascii_case("sec-websocket-key")).map(|(_, value)| value.trim())
}

/// Answers until either side closes.
async fn echo(wire: &TcpWire) -> io::Result<()> {
    while let Some(incoming) = poll_fn(|cx| wire.poll_incoming(cx)).await {
        let (answer, last) = match incoming {
            Incoming::Binary(data) => (frame::binary(&data), false),
            Incoming::Text(data) => (text(&data), false),
            Incoming::Ping(data) => (frame::pong(&data), false),
            Incoming::Pong => continue,
            Incoming::TooLarge => (frame::close(&Close::Echo(Some(1009))), true),
            Incoming::Close(code) => (frame::close(&Close::Echo(code)), true),
            Incoming::Broken(close) => (frame::close(&close), true),
        };
        write(wire, &answer).await?;
        if last {
            break;
        }
    }
    Ok(())
}

/// A text frame: a binary one with another opcode.
fn text(payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::from(frame::binary(payload));
    frame[0] = TEXT;
    frame.freeze()
}

async fn write(wire: &TcpWire, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match wire.try_write_vectored(&[IoSlice::new(bytes)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => poll_fn(|cx| wire.poll_writable(cx)).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
