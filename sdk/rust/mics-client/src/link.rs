//! From nothing to a session: token, socket, `connect_ack`; and the loop that repeats it with pauses.

use crate::backoff::Backoff;
use crate::endpoint;
use crate::error::{CloseAction, CloseInfo, MicsError};
use crate::event::MicsSession;
use crate::options::{ConnectParams, MicsClientOptions};
use crate::transport::{self, Ws};
use futures_util::StreamExt;
use mics_proto::message::{ServerFrame, server_frame::Payload};
use mics_proto::prost::Message as _;
use tokio_tungstenite::tungstenite::Message;

const CONNECTED: i32 = 1000;

/// An open connection with its session.
pub(crate) struct Link {
    pub ws: Ws,
    pub session: MicsSession,
    /// Frames that came before `connect_ack`: some gateways let a delivery slip in.
    pub early: Vec<Payload>,
}

/// One attempt, within `connect_timeout` in all (the token provider included).
pub(crate) async fn establish(params: &ConnectParams, options: &MicsClientOptions) -> Result<Link, MicsError> {
    let attempt = async {
        let token = params.token.token().await?;
        let url = endpoint::build(&params.url, &params.tenant_id, &token, &params.device_id)?;
        let ws = transport::open(&url, options).await?;
        await_session(ws).await
    };
    tokio::time::timeout(options.connect_timeout, attempt).await.unwrap_or(Err(MicsError::ConnectTimeout))
}

async fn await_session(mut ws: Ws) -> Result<Link, MicsError> {
    let mut early = Vec::new();
    loop {
        let bytes = match ws.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Close(frame))) => {
                answer_close(&mut ws).await;
                return Err(MicsError::Closed(close_info(frame)));
            }
            Some(Ok(_)) => continue,
            Some(Err(e)) => return Err(MicsError::Connect(e.to_string())),
            None => return Err(MicsError::Closed(CloseInfo::broken("closed before connect_ack"))),
        };
        match ServerFrame::decode(bytes).ok().and_then(|f| f.payload) {
            Some(Payload::ConnectAck(ack)) if ack.code == CONNECTED => {
                transport::keep(&ws);
                let session = MicsSession {
                    tenant_id: ack.tenant_id,
                    user_id: ack.user_id,
                    device_id: ack.device_id,
                    node_id: ack.node_id,
                    trace_id: ack.trace_id,
                };
                return Ok(Link { ws, session, early });
            }
            Some(Payload::ConnectAck(ack)) => return Err(MicsError::ConnectRefused(ack.code)),
            Some(other) => early.push(other),
            None => tracing::warn!("unreadable frame before connect_ack"),
        }
    }
}

/// Repeats `establish` until it succeeds or must not be repeated. `lost` is what ended the previous connection.
pub(crate) async fn re_establish(
    params: ConnectParams,
    options: MicsClientOptions,
    mut backoff: Backoff,
    lost: CloseAction,
) -> (Result<Link, MicsError>, Backoff) {
    let mut action = lost;
    loop {
        let pause = backoff.next(action, &options, &mut rand::rng());
        tokio::time::sleep(pause).await;
        match establish(&params, &options).await {
            Ok(link) => return (Ok(link), backoff),
            Err(e) if e.action() == CloseAction::Stop => return (Err(e), backoff),
            Err(e) => {
                tracing::info!(error = %e, pause_ms = pause.as_millis() as u64, "reconnect attempt failed");
                action = e.action();
            }
        }
    }
}

/// Reading on sends our half of a close handshake; the outcome changes nothing. On a broken link it fails at once.
pub(crate) async fn answer_close(ws: &mut Ws) {
    let _ = tokio::time::timeout(std::time::Duration::from_millis(200), ws.next()).await;
}

/// Reads a close frame; 1005 stands for "no code given".
pub(crate) fn close_info(frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> CloseInfo {
    match frame {
        Some(frame) => CloseInfo::new(frame.code.into(), frame.reason.as_str()),
        None => CloseInfo::new(1005, ""),
    }
}
