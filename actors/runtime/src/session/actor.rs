//! The shell of a session: frames and requests in, calls out. Handlers never wait.

use std::io::IoSlice;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use actix::prelude::*;
use futures_util::Stream;
use mics_domain::codes::{Close, FrameError};
use mics_domain::message::Message as ChatMessage;
use mics_proto::message::MessageRequest;

use super::presence::Presence;
use super::{Hello, Live, SessionMsg, connect, pipeline};
use crate::backlog;
use crate::encode::{self, FromClient};
use crate::frame;
use crate::mailbox::{In, Mailbox, MailboxStats};
use crate::node::{Counted, Node, fresh_id, unix_ms};
use crate::settings::CLOSE_GRACE;
use crate::wire::{Incoming, Wire};

const CAPACITY: usize = 8;

struct WsSession {
    node: Arc<Node>,
    wire: Rc<dyn Wire>,
    stats: Arc<MailboxStats>,
    presence: Option<Presence>,
    /// Before the client is let in.
    entering: Option<Box<(Hello, Counted)>>,
    _place: Counted,
}

impl Drop for WsSession {
    fn drop(&mut self) {
        // Before the socket goes: a crashed session still says goodbye.
        if std::thread::panicking()
            && let Some(presence) = &self.presence
        {
            presence.live.close(&Close::InternalError);
            presence.live.outbox.flush(&*self.wire);
        }
        self.presence = None;
        self.wire.shutdown();
    }
}

impl Actor for WsSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(CAPACITY);
        let Some(entering) = self.entering.take() else { return ctx.stop() };
        let (hello, handshake) = *entering;
        let mailbox = Mailbox::new(ctx.address().recipient(), self.stats.clone());
        let connecting = connect::connect(self.node.clone(), hello, self.wire.clone(), mailbox);
        ctx.spawn(connecting.into_actor(self).map(move |outcome, session, ctx| {
            drop(handshake);
            match outcome {
                Ok(presence) => session.enter(presence, ctx),
                Err(close) => session.refuse(&close, ctx),
            }
        }));
    }
}

impl WsSession {
    fn enter(&mut self, presence: Presence, ctx: &mut Context<Self>) {
        ctx.add_stream(Frames { wire: self.wire.clone(), live: presence.live.clone() });
        self.presence = Some(presence);
    }

    /// The socket takes a close frame (nothing was written before), and is cut when the peer answers or time is up.
    fn refuse(&mut self, close: &Close, ctx: &mut Context<Self>) {
        let code = close.code().unwrap_or(1005).to_string();
        self.node.metrics.ws_closed_total.with_label_values(&["", &code]).inc();
        let _ = self.wire.try_write_vectored(&[IoSlice::new(&frame::close(close))]);
        let wire = self.wire.clone();
        let peer_gone = futures_util::future::poll_fn(move |cx| match ready!(wire.poll_incoming(cx)) {
            None | Some(Incoming::Close(_) | Incoming::Broken(_)) => Poll::Ready(()),
            Some(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        let ended = tokio::time::timeout(CLOSE_GRACE, peer_gone);
        ctx.spawn(ended.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }

    fn incoming(&mut self, incoming: Incoming) {
        let Some(live) = self.presence.as_ref().map(|presence| presence.live.clone()) else { return };
        match incoming {
            Incoming::Binary(bytes) => self.binary(&live, &bytes),
            Incoming::TooLarge => {
                let rejected = &live.node.metrics.ws_frames_rejected_total;
                rejected.with_label_values(&[&*live.tenant.id, "frame_too_large"]).inc();
                live.outbox.control(encode::error(FrameError::FrameTooLarge));
            }
            Incoming::Ping(payload) => drop(live.outbox.control(frame::pong(&payload))),
            Incoming::Text(_) | Incoming::Pong => {}
            Incoming::Close(code) => {
                live.close(&Close::Echo(code));
                // Everything that fits goes out now; the peer waits for our close frame.
                live.outbox.flush(&*self.wire);
                self.wire.shutdown();
            }
            Incoming::Broken(close) => live.close(&close),
        }
    }

    fn binary(&self, live: &Rc<Live>, bytes: &[u8]) {
        live.received_bytes.inc_by(bytes.len() as u64);
        match encode::client_frame(bytes) {
            Err(error) => drop(live.outbox.control(encode::error(error))),
            Ok(FromClient::Nothing) => {}
            Ok(FromClient::Ping) => {
                live.touch();
                live.outbox.control(encode::pong(unix_ms()));
            }
            Ok(FromClient::Message { request, unknown_fields }) => {
                live.touch();
                pipeline::offer(live, normalise(live, *request, unknown_fields));
            }
        }
    }
}

/// Identity is the session's; a missing id and time are filled in; the rest is the client's.
fn normalise(live: &Live, request: MessageRequest, unknown_fields: bytes::Bytes) -> ChatMessage {
    let msg_id = match mics_domain::ids::is_blank(&request.msg_id) {
        true => format!("{:032x}", fresh_id()),
        false => request.msg_id,
    };
    ChatMessage {
        tenant: live.tenant.id.clone(),
        user: live.user.clone(),
        device: live.device.clone(),
        msg_id,
        kind: encode::kind(request.msg_type),
        to_user: request.to_user_id,
        group: request.group_id,
        body: request.msg_body,
        timestamp_ms: if request.timestamp_ms == 0 { unix_ms() } else { request.timestamp_ms },
        unknown_fields,
    }
}

/// The socket as a stream that pauses while the session's pipeline is full.
struct Frames {
    wire: Rc<dyn Wire>,
    live: Rc<Live>,
}

impl Stream for Frames {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Incoming>> {
        ready!(self.live.pipeline.poll_ready(cx));
        self.wire.poll_incoming(cx)
    }
}

impl StreamHandler<Incoming> for WsSession {
    fn handle(&mut self, incoming: Incoming, _: &mut Self::Context) {
        self.incoming(incoming);
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<In<SessionMsg>> for WsSession {
    type Result = ();

    fn handle(&mut self, message: In<SessionMsg>, ctx: &mut Self::Context) {
        let stats = self.stats.clone();
        stats.handle(message, |message| match message {
            SessionMsg::Close(close) => match &self.presence {
                Some(presence) => {
                    if close == Close::HeartbeatTimeout {
                        heartbeat_timeout(&presence.live);
                    }
                    presence.live.close(&close);
                }
                None => self.refuse(&close, ctx),
            },
            SessionMsg::Backlog => {
                if let Some(presence) = &self.presence
                    && !presence.live.fetching.replace(true)
                {
                    actix_rt::spawn(backlog::more(presence.live.clone()));
                }
            }
        });
    }
}

fn heartbeat_timeout(live: &Live) {
    live.node.metrics.ws_heartbeat_timeouts_total.with_label_values(&[&live.tenant.id]).inc();
    tracing::warn!(
        tenant = %live.tenant.id, trace_id = %live.trace_id, user = %live.user, device = %live.device,
        "ws_heartbeat_timeout"
    );
}

pub(super) fn start(node: Arc<Node>, hello: Hello, wire: Rc<dyn Wire>, place: Counted, handshake: Counted) {
    let known = node.tenants().get(&hello.tenant).map(|tenant| tenant.id.clone());
    let stats = node.session_stats(&known.unwrap_or_default(), CAPACITY);
    let entering = Some(Box::new((hello, handshake)));
    WsSession { node, wire, stats, presence: None, entering, _place: place }.start();
}
