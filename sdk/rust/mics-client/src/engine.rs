//! The task behind one client: owns the socket, writes jobs, reads frames, keeps the heartbeat, comes back after a
//! loss. It is the only place where these meet; it never waits for the application.

use crate::backoff::Backoff;
use crate::dedup::Dedup;
use crate::error::{CloseAction, CloseInfo, MicsError};
use crate::event::{ClientStats, ConnectionState, Delivery, Event, EventSink, MicsSession};
use crate::inflight::{InFlight, Job, Reply, local_ack};
use crate::link::{self, Link};
use crate::options::{ConnectParams, MicsClientOptions};
use crate::transport::Ws;
use futures_util::{Sink, StreamExt};
use mics_proto::message::{ClientFrame, HeartbeatPing, MessageAck, MessageDelivery, ServerFrame};
use mics_proto::message::{client_frame, server_frame::Payload};
use mics_proto::prost::Message as _;
use rand::Rng;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

/// Messages waiting for a socket that does not take them; more stay in the job queue.
const OUTBOX: usize = 64;
const FRAME_TOO_LARGE: i32 = 4401;
const FAR: Duration = Duration::from_secs(3600);
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What handles can see of the connection.
pub(crate) struct Status {
    pub state: ConnectionState,
    pub session: Arc<MicsSession>,
}

enum Out {
    Message(u64),
    Ping,
}

/// How serving one connection ended.
enum Ended {
    Stopped,
    Lost(CloseInfo),
}

/// One step of serving a connection.
enum Turn {
    Frame(Message),
    Worked,
    Timer,
    End(Ended),
}

pub(crate) struct Engine {
    params: ConnectParams,
    options: MicsClientOptions,
    events: EventSink,
    status: watch::Sender<Status>,
    jobs: mpsc::Receiver<Box<Job>>,
    stop: oneshot::Receiver<()>,
    stats: Arc<ClientStats>,
    flight: InFlight,
    outbox: VecDeque<Out>,
    dedup: Dedup,
    backoff: Backoff,
    timer: Pin<Box<Sleep>>,
    next_ping: Instant,
    last_frame: Instant,
}

impl Engine {
    pub fn new(
        params: ConnectParams,
        options: MicsClientOptions,
        events: EventSink,
        status: watch::Sender<Status>,
        jobs: mpsc::Receiver<Box<Job>>,
        stop: oneshot::Receiver<()>,
        stats: Arc<ClientStats>,
    ) -> Self {
        let now = Instant::now();
        Self {
            dedup: Dedup::new(options.dedup_window),
            params,
            options,
            events,
            status,
            jobs,
            stop,
            stats,
            flight: InFlight::default(),
            outbox: VecDeque::new(),
            backoff: Backoff::default(),
            timer: Box::pin(sleep_until(now + FAR)),
            next_ping: now,
            last_frame: now,
        }
    }

    /// The life of a client, from its first session to its end.
    pub async fn run(mut self, first: Link) {
        let mut link = first;
        let last = loop {
            let since = Instant::now();
            let ended = self.serve(link).await;
            let Ended::Lost(info) = ended else { break None };
            let action = info.action();
            let again = self.options.auto_reconnect && action != CloseAction::Stop;
            tracing::info!(code = info.code, reason = %info.reason, reconnect = again, "connection lost");
            self.events.push(Event::Closed { info: info.clone(), reconnecting: again });
            if !again {
                break Some(info);
            }
            // A connection that ends at once must not start the pauses over.
            if since.elapsed() >= self.options.reconnect_max_delay {
                self.backoff.reset();
            }
            self.set_state(ConnectionState::Reconnecting);
            match self.reconnect(action).await {
                Ok(Some(next)) => link = next,
                Ok(None) => break None,
                Err(e) => {
                    let info = e.as_close();
                    tracing::warn!(error = %e, "gave up reconnecting");
                    self.events.push(Event::Closed { info: info.clone(), reconnecting: false });
                    break Some(info);
                }
            }
            self.stats.reconnects.fetch_add(1, Relaxed);
        };
        self.finish(last);
    }

    async fn serve(&mut self, link: Link) -> Ended {
        let Link { mut ws, session, early } = link;
        let now = Instant::now();
        self.last_frame = now;
        let beat = self.options.heartbeat_interval;
        // The first beat comes early by a random share, so that clients that connect together do not beat together.
        self.next_ping =
            if beat.is_zero() { now + FAR } else { now + beat.mul_f64(rand::rng().random_range(0.5..1.0)) };
        self.outbox = self.flight.rewind().into_iter().map(Out::Message).collect();
        tracing::debug!(node = %session.node_id, trace = %session.trace_id, "connected");
        self.status.send_modify(|s| {
            s.session = Arc::new(session.clone());
            s.state = ConnectionState::Connected;
        });
        self.events.push(Event::State(ConnectionState::Connected));
        self.events.push(Event::Connected(session));
        for payload in early {
            self.on_payload(payload);
        }
        self.rearm();
        loop {
            let end = match poll_fn(|cx| self.poll_turn(&mut ws, cx)).await {
                Turn::Worked => None,
                Turn::Timer => self.on_timer(),
                Turn::Frame(message) => self.on_message(message),
                Turn::End(end) => Some(end),
            };
            match end {
                None => {}
                Some(Ended::Stopped) => {
                    self.set_state(ConnectionState::Disposing);
                    self.leave(&mut ws).await;
                    return Ended::Stopped;
                }
                Some(lost) => {
                    link::answer_close(&mut ws).await;
                    return lost;
                }
            }
        }
    }

    /// Reads stay possible while a write is stuck, so a gateway that waits for us to read cannot lock both sides.
    fn poll_turn(&mut self, ws: &mut Ws, cx: &mut Context<'_>) -> Poll<Turn> {
        if Pin::new(&mut self.stop).poll(cx).is_ready() {
            return Poll::Ready(Turn::End(Ended::Stopped));
        }
        let mut worked = false;
        while self.outbox.len() < OUTBOX && self.flight.len() < self.options.max_in_flight {
            match self.jobs.poll_recv(cx) {
                Poll::Ready(Some(job)) => self.take_up(job),
                Poll::Ready(None) => return Poll::Ready(Turn::End(Ended::Stopped)),
                Poll::Pending => break,
            }
            worked = true;
        }
        let broken = |reason: String| Poll::Ready(Turn::End(Ended::Lost(CloseInfo::broken(reason))));
        let written = self.poll_write(ws, cx);
        match ws.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(message))) => return Poll::Ready(Turn::Frame(message)),
            Poll::Ready(Some(Err(e))) => return broken(e.to_string()),
            Poll::Ready(None) => return broken("connection ended".to_owned()),
            Poll::Pending => {}
        }
        match written {
            // A dead socket: reading tells so, after what came before the end, acks and the close code.
            Ok(()) | Err(tokio_tungstenite::tungstenite::Error::Io(_)) => {}
            Err(e) => return broken(e.to_string()),
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Turn::Timer);
        }
        if worked { Poll::Ready(Turn::Worked) } else { Poll::Pending }
    }

    /// Moves the outbox to the socket as far as it takes it, then flushes once.
    fn poll_write(&mut self, ws: &mut Ws, cx: &mut Context<'_>) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let mut ws = Pin::new(ws);
        while !self.outbox.is_empty() {
            match ws.as_mut().poll_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => return Ok(()),
            }
            let Some(out) = self.outbox.pop_front() else { break };
            let Some(bytes) = self.encode(out) else { continue };
            ws.as_mut().start_send(Message::binary(bytes))?;
        }
        match ws.as_mut().poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn encode(&mut self, out: Out) -> Option<Vec<u8>> {
        match out {
            Out::Ping => {
                self.stats.heartbeats.fetch_add(1, Relaxed);
                let ping = HeartbeatPing { timestamp_ms: now_ms() };
                Some(ClientFrame { payload: Some(client_frame::Payload::HeartbeatPing(ping)) }.encode_to_vec())
            }
            Out::Message(order) => {
                let slot = self.flight.request(order)?;
                let mut request = std::mem::take(slot);
                request.timestamp_ms = now_ms();
                let frame = ClientFrame { payload: Some(client_frame::Payload::Message(request)) };
                let bytes = frame.encode_to_vec();
                if let Some(client_frame::Payload::Message(request)) = frame.payload {
                    *slot = request;
                }
                let now = Instant::now();
                self.flight.mark_written(order, now, self.options.ack_timeout);
                self.arm(now + self.options.ack_timeout);
                Some(bytes)
            }
        }
    }

    /// Takes a job from the application into the order of messages.
    fn take_up(&mut self, mut job: Box<Job>) {
        if job.is_abandoned() {
            return;
        }
        if job.deadline <= Instant::now() {
            return self.fail(job, "send deadline", MicsError::SendDeadline);
        }
        let session = self.status.borrow().session.clone();
        job.request.tenant_id.clone_from(&session.tenant_id);
        job.request.user_id.clone_from(&session.user_id);
        job.request.device_id.clone_from(&session.device_id);
        match self.flight.add(job) {
            Ok(order) => self.outbox.push_back(Out::Message(order)),
            Err(job) => {
                let id = job.request.msg_id.clone();
                self.fail(job, "duplicate id in flight", MicsError::DuplicateId(id));
            }
        }
    }

    fn on_message(&mut self, message: Message) -> Option<Ended> {
        self.last_frame = Instant::now();
        match message {
            Message::Binary(bytes) => match ServerFrame::decode(bytes) {
                Ok(frame) => frame.payload.into_iter().for_each(|p| self.on_payload(p)),
                Err(_) => tracing::warn!("unreadable frame from the gateway"),
            },
            Message::Close(frame) => return Some(Ended::Lost(link::close_info(frame))),
            _ => {}
        }
        None
    }

    fn on_payload(&mut self, payload: Payload) {
        match payload {
            Payload::Delivery(delivery) => self.on_delivery(delivery),
            Payload::Ack(ack) => {
                if let Some(job) = self.flight.finish(&ack.msg_id) {
                    self.settle(job, ack);
                }
            }
            Payload::Error(error) => {
                if error.code == FRAME_TOO_LARGE
                    && let Some(job) = self.flight.finish_largest()
                {
                    let ack = local_ack(&job.request.msg_id, "frame too large", now_ms());
                    self.settle(job, ack);
                }
                self.events.push(Event::ServerError(error));
            }
            Payload::HeartbeatPong(_) | Payload::ConnectAck(_) => {}
        }
    }

    fn on_delivery(&mut self, delivery: MessageDelivery) {
        let Some(mut message) = delivery.message else { return };
        let print = self.dedup.fingerprint(&message);
        if self.dedup.knows(print) {
            self.stats.duplicates.fetch_add(1, Relaxed);
            return;
        }
        let mut decrypt_failed = false;
        if let Some(crypto) = &self.options.message_crypto
            && !message.msg_body.is_empty()
        {
            match crypto.decrypt(&message.msg_body) {
                Ok(body) => message.msg_body = body.into(),
                Err(_) => decrypt_failed = true,
            }
        }
        // One that was dropped may come again.
        if self.events.push(Event::Delivery(Delivery { message, decrypt_failed })) {
            self.dedup.remember(print);
        }
    }

    /// Ends a message with an ack, the gateway's or a local one.
    fn settle(&self, job: Box<Job>, ack: MessageAck) {
        match job.reply {
            Reply::Events => {
                self.events.push(Event::Ack(ack));
            }
            Reply::Caller(tx) => {
                if self.events.has_reader() {
                    self.events.push(Event::Ack(ack.clone()));
                }
                // A caller that stopped waiting is no error.
                let _ = tx.send(Ok(ack));
            }
        }
    }

    /// Ends a message without an ack: an error for a waiting caller, a local ack for the event stream.
    fn fail(&self, job: Box<Job>, reason: &str, error: MicsError) {
        let ack = local_ack(&job.request.msg_id, reason, now_ms());
        self.events.push(Event::Ack(ack));
        if let Reply::Caller(tx) = job.reply {
            let _ = tx.send(Err(error));
        }
    }

    fn on_timer(&mut self) -> Option<Ended> {
        let now = Instant::now();
        self.on_due(now);
        let beat = self.options.heartbeat_interval;
        if !beat.is_zero() {
            if now.duration_since(self.last_frame) >= self.silence_limit() {
                return Some(Ended::Lost(CloseInfo::broken("no frame from the gateway")));
            }
            if now >= self.next_ping {
                // A stuck socket gets no second ping on top of the first.
                if !self.outbox.iter().any(|out| matches!(out, Out::Ping)) {
                    self.outbox.push_back(Out::Ping);
                }
                self.next_ping = now + beat;
            }
        }
        self.rearm();
        None
    }

    fn on_due(&mut self, now: Instant) {
        let due = self.flight.due(now, self.options.max_send_attempts);
        self.outbox.extend(due.again.into_iter().map(Out::Message));
        for job in due.silent {
            let ack = local_ack(&job.request.msg_id, "ack timeout", now_ms());
            self.settle(job, ack);
        }
        for job in due.late {
            self.fail(job, "send deadline", MicsError::SendDeadline);
        }
    }

    fn silence_limit(&self) -> Duration {
        self.options.heartbeat_interval * 2 + self.options.watchdog_slack
    }

    /// Sets the timer to the next thing that can become due.
    fn rearm(&mut self) {
        let mut at = self.next_ping;
        if !self.options.heartbeat_interval.is_zero() {
            at = at.min(self.last_frame + self.silence_limit());
        }
        at = self.flight.next_due().map_or(at, |due| at.min(due));
        self.timer.as_mut().reset(at);
    }

    /// Brings the timer forward. It is never put back: a wake-up with nothing due costs less than a reset per ack.
    fn arm(&mut self, at: Instant) {
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
        }
    }

    /// Comes back; meanwhile sends are taken up and their deadlines kept. None: stopped.
    async fn reconnect(&mut self, action: CloseAction) -> Result<Option<Link>, MicsError> {
        // Stops the ack time-outs: an attempt that the lost connection cut short does not count.
        self.flight.rewind();
        let backoff = std::mem::take(&mut self.backoff);
        let mut attempt = Box::pin(link::re_establish(self.params.clone(), self.options.clone(), backoff, action));
        loop {
            let room = self.flight.len() < self.options.max_in_flight;
            let due = self.flight.next_due();
            tokio::select! {
                biased;
                _ = &mut self.stop => return Ok(None),
                (result, backoff) = &mut attempt => {
                    self.backoff = backoff;
                    return result.map(Some);
                }
                job = self.jobs.recv(), if room => match job {
                    Some(job) => self.take_up(job),
                    None => return Ok(None),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.on_due(Instant::now()),
            }
        }
    }

    /// Says goodbye and reads what is still under way, for a bounded time.
    async fn leave(&mut self, ws: &mut Ws) {
        let farewell = async {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            if ws.close(Some(frame)).await.is_err() {
                return;
            }
            while let Some(Ok(message)) = ws.next().await {
                let _ = self.on_message(message);
            }
        };
        let _ = timeout(CLOSE_WAIT, farewell).await;
    }

    /// Every message that was taken over gets an outcome before the client is gone.
    fn finish(mut self, last: Option<CloseInfo>) {
        self.jobs.close();
        let mut left = self.flight.take_all();
        while let Ok(job) = self.jobs.try_recv() {
            left.push(job);
        }
        for job in left {
            let error = last.clone().map_or(MicsError::Disconnected, MicsError::Closed);
            self.fail(job, "disconnected", error);
        }
        self.set_state(ConnectionState::Disconnected);
    }

    fn set_state(&self, state: ConnectionState) {
        self.status.send_modify(|s| s.state = state);
        self.events.push(Event::State(state));
    }
}

/// Unix time in milliseconds.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
