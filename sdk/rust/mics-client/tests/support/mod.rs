//! A gateway that does exactly what a test tells it, over a real loopback socket. It has no logic of its own.
#![allow(dead_code)]

use futures_util::{SinkExt, StreamExt};
use mics_client::{ConnectParams, Event, EventStream, MessageRequest, MicsClient, MicsClientOptions, MicsError};
use mics_proto::message::{ClientFrame, ConnectAck, MessageAck, MessageDelivery, ServerFrame};
use mics_proto::message::{client_frame, server_frame::Payload};
use mics_proto::prost::Message as _;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Far above what a loopback exchange takes; only a hang reaches it.
pub const HANG: Duration = Duration::from_secs(20);

pub struct Gate {
    listener: TcpListener,
    pub url: String,
}

pub struct Conn {
    ws: WebSocketStream<TcpStream>,
    /// The request's path and query.
    pub target: String,
    pub peer: std::net::SocketAddr,
}

impl Gate {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        Self { listener, url }
    }

    pub fn params(&self) -> ConnectParams {
        ConnectParams {
            url: self.url.clone(),
            tenant_id: "t1".into(),
            token: "valid:u1".into(),
            device_id: "dev1".into(),
        }
    }

    /// Accepts the WebSocket and says nothing yet.
    pub async fn accept_silent(&self) -> Conn {
        let (stream, peer) = tokio::time::timeout(HANG, self.listener.accept()).await.expect("no connection").unwrap();
        let mut target = String::new();
        #[allow(clippy::result_large_err)]
        let read_target = |request: &Request, response: Response| {
            target = request.uri().to_string();
            Ok(response)
        };
        let ws = accept_hdr_async(stream, read_target).await.unwrap();
        Conn { ws, target, peer }
    }

    /// Accepts and answers with a successful `connect_ack`.
    pub async fn accept(&self) -> Conn {
        let mut conn = self.accept_silent().await;
        conn.send(Payload::ConnectAck(connect_ack(1000))).await;
        conn
    }

    /// Connects a client and gives both ends.
    pub async fn pair(&self, options: MicsClientOptions) -> (MicsClient, EventStream, Conn) {
        let (client, conn) = tokio::join!(MicsClient::connect(self.params(), options), self.accept());
        let (client, events) = client.unwrap();
        (client, events, conn)
    }

    /// True when somebody connects within `wait`.
    pub async fn is_called(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.listener.accept()).await.is_ok()
    }
}

impl Conn {
    pub async fn send(&mut self, payload: Payload) {
        let bytes = ServerFrame { payload: Some(payload) }.encode_to_vec();
        self.ws.send(Message::binary(bytes)).await.unwrap();
    }

    pub async fn ack(&mut self, msg_id: &str, status: mics_client::AckStatus, reason: &str) {
        let ack =
            MessageAck { msg_id: msg_id.into(), status: status.into(), reason: reason.into(), ..Default::default() };
        self.send(Payload::Ack(ack)).await;
    }

    pub async fn deliver(&mut self, message: MessageRequest) {
        self.send(Payload::Delivery(MessageDelivery { message: Some(message) })).await;
    }

    /// The next chat message; heartbeats are passed over.
    pub async fn message(&mut self) -> MessageRequest {
        loop {
            if let client_frame::Payload::Message(message) = self.payload().await {
                return message;
            }
        }
    }

    pub async fn payload(&mut self) -> client_frame::Payload {
        loop {
            match self.raw().await.expect("connection ended") {
                Message::Binary(bytes) => return ClientFrame::decode(bytes).unwrap().payload.unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next WebSocket message; none at the end.
    pub async fn raw(&mut self) -> Option<Message> {
        tokio::time::timeout(HANG, self.ws.next()).await.expect("client is silent").and_then(Result::ok)
    }

    /// Says why and is gone, with a message of the client unread: the system answers further ones with a reset.
    pub async fn close_and_reset(self, code: u16, reason: &str) {
        let stream = self.ws.into_inner();
        tokio::time::timeout(HANG, stream.readable()).await.expect("client is silent").unwrap();
        let mut frame = vec![0x88, 2 + reason.len() as u8];
        frame.extend(code.to_be_bytes());
        frame.extend(reason.as_bytes());
        assert_eq!(stream.try_write(&frame).unwrap(), frame.len());
    }

    pub async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        let _ = self.ws.close(Some(frame)).await;
        let _ = tokio::time::timeout(HANG, async { while let Some(Ok(_)) = self.ws.next().await {} }).await;
    }
}

pub fn connect_ack(code: i32) -> ConnectAck {
    ConnectAck {
        code,
        tenant_id: "t1".into(),
        user_id: "u1".into(),
        device_id: "dev1".into(),
        node_id: "node-1".into(),
        trace_id: "trace".into(),
    }
}

/// Reconnects at once and gives up on a silent message soon.
pub fn quick() -> MicsClientOptions {
    MicsClientOptions {
        ack_timeout: Duration::from_millis(150),
        reconnect_min_delay: Duration::from_millis(10),
        reconnect_max_delay: Duration::from_millis(50),
        ..Default::default()
    }
}

/// Waits for an event that `pick` takes.
pub async fn wait_for<T>(events: &mut EventStream, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = pick(events.next().await.expect("events ended")) {
                return found;
            }
        }
    };
    tokio::time::timeout(HANG, found).await.expect("event did not come")
}

/// Everything up to the end of the stream.
pub async fn rest(mut events: EventStream) -> Vec<Event> {
    let all = async {
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event);
        }
        seen
    };
    tokio::time::timeout(HANG, all).await.expect("events did not end")
}

pub fn is_close(error: &MicsError, code: u16) -> bool {
    matches!(error, MicsError::Closed(info) if info.code == code)
}
