//! A WebSocket client on a blocking socket that controls every byte, so that it can also misbehave.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};

use mics_proto::message::{
    ClientFrame, ConnectAck, HeartbeatPing, MessageAck, MessageRequest, MessageType, ServerFrame, client_frame,
    server_frame,
};
use mics_proto::prost::Message as _;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Protocol, Socket, Type};

use super::PATIENCE;

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the server sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Binary(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    /// Code (if any) and reason.
    Close(Option<u16>, String),
    /// The connection ended without (another) frame.
    End,
}

/// How all clients of this process speak TLS; unset, they don't.
pub static TLS: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// A socket, with or without TLS.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

pub struct Client {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

/// A one-to-one message without identity.
pub fn single(msg_id: &str, to: &str, body: &[u8]) -> MessageRequest {
    MessageRequest {
        msg_id: msg_id.into(),
        msg_type: MessageType::SingleChat as i32,
        to_user_id: to.into(),
        msg_body: body.to_vec().into(),
        timestamp_ms: 1,
        ..MessageRequest::default()
    }
}

/// A group message without identity.
pub fn group(msg_id: &str, group: &str) -> MessageRequest {
    MessageRequest {
        msg_id: msg_id.into(),
        msg_type: MessageType::GroupChat as i32,
        group_id: group.into(),
        msg_body: b"to all".to_vec().into(),
        timestamp_ms: 1,
        ..MessageRequest::default()
    }
}

/// Sends a request head and reads the answer's: (status, bytes that came behind it).
fn request(stream: &mut dyn Stream, head: &str) -> (u16, Vec<u8>) {
    stream.write_all(head.as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0; 1]);
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).unwrap() {
            0 => panic!("no answer: {:?}", String::from_utf8_lossy(&answer)),
            _ => answer.push(byte[0]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn dial(address: SocketAddr, receive_buffer: Option<usize>) -> Box<dyn Stream> {
    let stream = dial_tcp(address, receive_buffer);
    match TLS.get() {
        Some(config) => Box::new(secured(stream, config.clone())),
        None => Box::new(stream),
    }
}

/// Speaks TLS to `localhost` over a connection; the handshake is done by the first read or write.
pub fn secured(stream: TcpStream, config: Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    StreamOwned::new(ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap(), stream)
}

/// A connection without TLS.
pub fn dial_tcp(address: SocketAddr, receive_buffer: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket.connect(&address.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn upgrade_head(query: &str) -> String {
    format!(
        "GET /ws?{query} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Status of an upgrade request.
pub fn upgrade_status(address: SocketAddr, query: &str) -> u16 {
    request(&mut *dial(address, None), &upgrade_head(query)).0
}

pub fn http_get(address: SocketAddr, path: &str) -> (u16, String) {
    http_get_over(dial(address, None), path)
}

pub fn http_post_json(address: SocketAddr, path: &str, json: &str) -> (u16, String) {
    let length = json.len();
    exchange(
        dial(address, None),
        &format!(
            "POST {path} HTTP/1.1\r\nHost: mock\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{json}"
        ),
    )
}

pub fn http_get_over(stream: Box<dyn Stream>, path: &str) -> (u16, String) {
    exchange(stream, &format!("GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"))
}

fn exchange(mut stream: Box<dyn Stream>, whole: &str) -> (u16, String) {
    let (status, head) = request(&mut *stream, whole);
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    (status, format!("{}{}", String::from_utf8_lossy(&head), String::from_utf8_lossy(&body)))
}

impl Client {
    pub fn open(address: SocketAddr, query: &str) -> Client {
        Client::open_with(address, query, None)
    }

    /// With a receive buffer of about this many bytes, for clients that do not read.
    pub fn open_with(address: SocketAddr, query: &str, receive_buffer: Option<usize>) -> Client {
        Client::over(dial(address, receive_buffer), query)
    }

    /// Upgrades a connection.
    pub fn over(mut stream: Box<dyn Stream>, query: &str) -> Client {
        let (status, head) = request(&mut *stream, &upgrade_head(query));
        assert_eq!(status, 101, "{}", String::from_utf8_lossy(&head));
        assert!(head.windows(28).any(|part| part == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "wrong accept key");
        Client { stream, unread: Vec::new() }
    }

    /// Sends the first bytes in the same packet as the handshake.
    pub fn open_and_send(address: SocketAddr, query: &str, bytes: &[u8]) -> Client {
        let mut stream = dial(address, None);
        stream.write_all(&[upgrade_head(query).as_bytes(), bytes].concat()).unwrap();
        let (status, _) = request(&mut *stream, "");
        assert_eq!(status, 101);
        Client { stream, unread: Vec::new() }
    }

    /// A connection that sends bytes instead of a request and goes, orderly or by a reset.
    pub fn raw(address: SocketAddr, bytes: &[u8], orderly: bool) {
        let mut stream = dial_tcp(address, None);
        let _ = stream.write_all(bytes);
        if orderly {
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }

    /// Writes bytes as they are; false when the server has gone.
    pub fn bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// One WebSocket frame, masked.
    pub fn frame(&mut self, opcode: u8, fin: bool, payload: &[u8]) -> bool {
        let bytes = masked(opcode, fin, payload);
        self.bytes(&bytes)
    }

    pub fn binary(&mut self, payload: &[u8]) -> bool {
        self.frame(2, true, payload)
    }

    pub fn close(&mut self, code: u16) {
        self.frame(8, true, &code.to_be_bytes());
    }

    pub fn send(&mut self, message: MessageRequest) {
        let frame = ClientFrame { payload: Some(client_frame::Payload::Message(message)) };
        assert!(self.binary(&frame.encode_to_vec()), "the server has gone");
    }

    pub fn ping(&mut self) -> bool {
        let ping = HeartbeatPing { timestamp_ms: 5 };
        self.binary(&ClientFrame { payload: Some(client_frame::Payload::HeartbeatPing(ping)) }.encode_to_vec())
    }

    /// The next frame, keep-alives included.
    pub fn next(&mut self) -> Frame {
        let mut chunk = [0; 64 * 1024];
        loop {
            if let Some((frame, used)) = parse(&self.unread) {
                self.unread.drain(..used);
                return frame;
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Frame::End,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("the server sent nothing")
                }
                Err(_) => return Frame::End,
            }
        }
    }

    /// The next application frame.
    pub fn payload(&mut self) -> server_frame::Payload {
        match self.next() {
            Frame::Binary(bytes) => ServerFrame::decode(&bytes[..]).unwrap().payload.unwrap(),
            other => panic!("expected an application frame, got {other:?}"),
        }
    }

    pub fn welcome(&mut self) -> ConnectAck {
        match self.payload() {
            server_frame::Payload::ConnectAck(ack) => ack,
            other => panic!("expected connect_ack, got {other:?}"),
        }
    }

    pub fn ack(&mut self) -> MessageAck {
        match self.payload() {
            server_frame::Payload::Ack(ack) => ack,
            other => panic!("expected an ack, got {other:?}"),
        }
    }

    pub fn delivery(&mut self) -> MessageRequest {
        match self.payload() {
            server_frame::Payload::Delivery(delivery) => delivery.message.unwrap(),
            other => panic!("expected a delivery, got {other:?}"),
        }
    }

    pub fn pong(&mut self) -> i64 {
        match self.payload() {
            server_frame::Payload::HeartbeatPong(pong) => pong.timestamp_ms,
            other => panic!("expected heartbeat_pong, got {other:?}"),
        }
    }

    /// (code, message) of an error frame.
    pub fn error(&mut self) -> (i32, String) {
        match self.payload() {
            server_frame::Payload::Error(error) => (error.code, error.message),
            other => panic!("expected an error, got {other:?}"),
        }
    }

    /// (code, reason) with which the server closes; application frames before it are passed over.
    pub fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Frame::Close(code, reason) => return (code.unwrap_or(1005), reason),
                Frame::End => panic!("the connection ended without a close frame"),
                _ => {}
            }
        }
    }

    /// Ids of the deliveries up to the end of the connection, and the close code if one came.
    pub fn rest(&mut self) -> (Vec<String>, Option<u16>) {
        let (mut ids, mut closed) = (Vec::new(), None);
        loop {
            match self.next() {
                Frame::Binary(bytes) => {
                    let payload = ServerFrame::decode(&bytes[..]).unwrap().payload.unwrap();
                    if let server_frame::Payload::Delivery(delivery) = payload {
                        ids.push(delivery.message.unwrap().msg_id);
                    }
                }
                Frame::Close(code, _) => closed = code,
                Frame::End => return (ids, closed),
                Frame::Ping | Frame::Pong(_) => {}
            }
        }
    }

    /// Sends a message and returns its ack; nothing else may come before it.
    pub fn say(&mut self, message: MessageRequest) -> MessageAck {
        self.send(message);
        self.ack()
    }

    /// The next `count` deliveries' ids.
    pub fn ids(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.delivery().msg_id).collect()
    }
}

pub fn masked(opcode: u8, fin: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | if fin { 0x80 } else { 0 }];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The first whole frame and its length. Server frames are unmasked and never fragmented.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!(first & 0xF0, 0x80, "fragment or reserved bits from the server");
    let (len, head) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize, 10),
        short => (usize::from(short), 2),
    };
    let payload = bytes.get(head..head + len)?.to_vec();
    let frame = match first & 0x0F {
        2 => Frame::Binary(payload),
        8 => {
            let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
            Frame::Close(code, String::from_utf8(payload.get(2..).unwrap_or_default().to_vec()).unwrap())
        }
        9 => Frame::Ping,
        10 => Frame::Pong(payload),
        other => panic!("opcode {other} from the server"),
    };
    Some((frame, head + len))
}
