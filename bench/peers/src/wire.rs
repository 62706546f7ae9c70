//! What differs between the servers on the wire: address, first frames, how a message is written and read. Must not
//! measure or decide anything.

use std::io;

use futures_util::{SinkExt, StreamExt};
use mics_proto::message::{
    AckStatus, ClientFrame, MessageRequest, MessageType, ServerFrame, client_frame, server_frame,
};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub type Socket = WebSocketStream<TcpStream>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Mics,
    SocketIo,
    Nchan,
    Bun,
}

/// Who a connection is and where its messages go: user `u<n>`, or the group `g`.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    pub user: usize,
    pub in_group: bool,
    pub to: Option<usize>,
}

impl Seat {
    fn group(&self) -> &'static str {
        if self.in_group { "g" } else { "" }
    }

    /// Name of the receiver; the group when no user is named.
    fn to(&self) -> String {
        self.to.map_or_else(|| "g".into(), |user| format!("u{user}"))
    }
}

/// A frame from the server.
pub enum Heard {
    Message(Vec<u8>),
    /// Number of the message, and whether it was accepted.
    Ack(usize, bool),
    Answer(Message),
    Nothing,
}

impl Server {
    pub fn parse(name: &str) -> Option<Server> {
        Some(match name {
            "mics" => Server::Mics,
            "socketio" => Server::SocketIo,
            "nchan" => Server::Nchan,
            "bun" => Server::Bun,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Server::Mics => "mics",
            Server::SocketIo => "socketio",
            Server::Nchan => "nchan",
            Server::Bun => "bun",
        }
    }

    fn path(self, seat: Seat) -> String {
        let Seat { user, in_group, .. } = seat;
        let group = seat.group();
        match self {
            Server::Mics => format!("ws?tenantId=t1&token=valid:u{user}&deviceId=d{user}"),
            Server::SocketIo => "socket.io/?EIO=4&transport=websocket".into(),
            Server::Nchan => format!("ws/{}/{}", if in_group { "g".into() } else { format!("u{user}") }, seat.to()),
            Server::Bun => format!("?user=u{user}&group={group}"),
        }
    }

    /// Connects, and goes through what the protocol wants before messages may flow.
    pub async fn open(self, port: u16, seat: Seat) -> io::Result<Socket> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let small = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
        let url = format!("ws://127.0.0.1:{port}/{}", self.path(seat));
        let opened = tokio_tungstenite::client_async_with_config(url, stream, Some(small)).await;
        let (mut socket, _) = opened.map_err(io::Error::other)?;
        match self {
            Server::Mics => match frame(&mut socket).await?.into_data() {
                data if connected(&data) => {}
                _ => return Err(io::Error::other("not connected")),
            },
            Server::SocketIo => {
                frame(&mut socket).await?;
                let who = format!(r#"40{{"user":"u{}","group":"{}"}}"#, seat.user, seat.group());
                socket.send(Message::text(who)).await.map_err(io::Error::other)?;
                if !frame(&mut socket).await?.into_data().starts_with(b"40") {
                    return Err(io::Error::other("not connected"));
                }
            }
            Server::Nchan | Server::Bun => {}
        }
        Ok(socket)
    }

    /// Message number `number` with this text as its body.
    pub fn write(self, seat: Seat, number: usize, body: String) -> Message {
        match self {
            Server::Mics => {
                let group = seat.to.is_none();
                let request = MessageRequest {
                    tenant_id: "t1".into(),
                    user_id: format!("u{}", seat.user),
                    device_id: format!("d{}", seat.user),
                    msg_id: number.to_string(),
                    msg_type: if group { MessageType::GroupChat } else { MessageType::SingleChat }.into(),
                    to_user_id: if group { String::new() } else { seat.to() },
                    group_id: if group { seat.to() } else { String::new() },
                    msg_body: body.into_bytes().into(),
                    timestamp_ms: 0,
                };
                let payload = Some(client_frame::Payload::Message(request));
                Message::binary(ClientFrame { payload }.encode_to_vec())
            }
            Server::SocketIo => Message::text(format!(r#"42{number}["m","{}","{body}"]"#, seat.to())),
            Server::Nchan => Message::text(body),
            Server::Bun => Message::text(format!("{} {body}", seat.to())),
        }
    }

    pub fn read(self, message: Message) -> Heard {
        match (self, message) {
            (Server::Mics, Message::Binary(data)) => read_mics(&data),
            (Server::SocketIo, Message::Text(text)) => read_socket_io(&text),
            // What Nchan says to publishers is not the fixed length of a message; the books look at the start anyway.
            (Server::Nchan | Server::Bun, Message::Text(text)) => Heard::Message(text.as_str().into()),
            _ => Heard::Nothing,
        }
    }
}

async fn frame(socket: &mut Socket) -> io::Result<Message> {
    socket.next().await.ok_or_else(|| io::Error::other("closed"))?.map_err(io::Error::other)
}

fn connected(data: &[u8]) -> bool {
    let frame = ServerFrame::decode(data).unwrap_or_default();
    matches!(frame.payload, Some(server_frame::Payload::ConnectAck(ack)) if ack.code < 4000)
}

fn read_mics(data: &[u8]) -> Heard {
    match ServerFrame::decode(data).unwrap_or_default().payload {
        Some(server_frame::Payload::Delivery(delivery)) => {
            Heard::Message(delivery.message.unwrap_or_default().msg_body.into())
        }
        Some(server_frame::Payload::Ack(ack)) => {
            let number = ack.msg_id.parse().unwrap_or(usize::MAX);
            Heard::Ack(number, ack.status == i32::from(AckStatus::Sent))
        }
        _ => Heard::Nothing,
    }
}

fn read_socket_io(text: &str) -> Heard {
    if text == "2" {
        return Heard::Answer(Message::text("3"));
    }
    if let Some(body) = text.strip_prefix(r#"42["m",""#) {
        return Heard::Message(body.trim_end_matches(r#""]"#).into());
    }
    match text.strip_prefix("43").and_then(|rest| rest.split('[').next()) {
        Some(number) => Heard::Ack(number.parse().unwrap_or(usize::MAX), true),
        None => Heard::Nothing,
    }
}
