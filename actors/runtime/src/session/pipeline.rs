//! The ordered pipeline of one session: up to a window of messages is under way at once, delivered and acked in the
//! order received. When a second window waits, the socket is no longer read; until then pings are still answered.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use mics_domain::codes::Refusal;
use mics_domain::message::{Ack, Message};
use mics_domain::trace::{SpanKind, Traced};
use tokio::sync::oneshot;

use super::Live;
use crate::encode;
use crate::flow;
use crate::node::unix_ms;
use crate::sender::Sender;

/// From here on the socket is no longer read, however few messages wait.
const MAX_WAITING_BYTES: usize = 1 << 20;

pub struct Pipeline {
    window: usize,
    under_way: Cell<usize>,
    waiting: RefCell<VecDeque<Message>>,
    /// Bytes of the bodies that wait.
    waiting_bytes: Cell<usize>,
    /// Resolves when the latest message's turn is over.
    last: RefCell<Option<oneshot::Receiver<()>>>,
    reader: RefCell<Option<Waker>>,
}

/// A message's place in the order. Dropping it lets the next one go.
pub struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _over: oneshot::Sender<()>,
}

impl Turn {
    /// The place of a message that none goes before, and that none waits for.
    pub fn alone() -> Turn {
        Turn { before: None, _over: oneshot::channel().0 }
    }

    /// Waits until every earlier message of the session is done.
    pub async fn wait(&mut self) {
        if let Some(before) = self.before.take() {
            // The sender is only ever dropped, which is the signal.
            let _ = before.await;
        }
    }
}

impl Pipeline {
    pub fn new(window: usize) -> Self {
        Pipeline {
            window,
            under_way: Cell::new(0),
            waiting: RefCell::default(),
            waiting_bytes: Cell::new(0),
            last: RefCell::default(),
            reader: RefCell::default(),
        }
    }

    pub fn is_full(&self) -> bool {
        self.waiting.borrow().len() >= self.window || self.waiting_bytes.get() >= MAX_WAITING_BYTES
    }

    /// Ready while the socket may be read; otherwise wakes the reader once it may be again.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        *self.reader.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn turn(&self) -> Turn {
        let (over, done) = oneshot::channel();
        Turn { before: self.last.replace(Some(done)), _over: over }
    }

    fn next(&self) -> Option<Message> {
        let mut waiting = self.waiting.borrow_mut();
        let next = waiting.pop_front();
        let freed = next.as_ref().map_or(0, |message| message.body.len());
        self.waiting_bytes.set(self.waiting_bytes.get().saturating_sub(freed));
        if waiting.is_empty() && waiting.capacity() > 0 {
            *waiting = VecDeque::new();
        }
        drop(waiting);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        next
    }
}

/// Starts a message, or has it wait for the window.
pub(super) fn offer(live: &Rc<Live>, message: Message) {
    if live.pipeline.under_way.get() < live.pipeline.window {
        start(live.clone(), message);
    } else {
        let pipeline = &live.pipeline;
        pipeline.waiting_bytes.set(pipeline.waiting_bytes.get() + message.body.len());
        pipeline.waiting.borrow_mut().push_back(message);
    }
}

fn start(live: Rc<Live>, message: Message) {
    let pipeline = &live.pipeline;
    pipeline.under_way.set(pipeline.under_way.get() + 1);
    let mut turn = pipeline.turn();
    // A task of its own: a client that sends and leaves has still sent.
    actix_rt::spawn(async move {
        let ack = carry(&live.sender, message, &mut turn).await;
        turn.wait().await;
        live.outbox.control(encode::ack(&ack, unix_ms()));
        drop(turn);
        live.pipeline.under_way.set(live.pipeline.under_way.get() - 1);
        if let Some(next) = live.pipeline.next() {
            start(live, next);
        }
    });
}

/// The flow, traced, with a panic inside it turned into a refusal.
pub(crate) async fn carry(from: &Rc<Sender>, message: Message, turn: &mut Turn) -> Ack {
    let mut traced = trace(from, &message);
    let msg_id = message.msg_id.clone();
    let carried = flow::carry(from, message, turn, traced.place());
    let outcome = std::panic::AssertUnwindSafe(carried).catch_unwind().await;
    let ack = outcome.unwrap_or_else(|_| {
        from.node.metrics.messages_failed_total.with_label_values(&[&from.tenant.id]).inc();
        tracing::warn!(tenant = %from.tenant.id, trace_id = %from.trace_id, msg_id = %msg_id, "ws_message_process_failed");
        Ack::failed(msg_id, Refusal::Internal.reason())
    });
    if !ack.sent {
        traced.fail(&ack.reason);
    }
    ack
}

/// The trace of a message, if it is one of those that are recorded.
fn trace(from: &Sender, message: &Message) -> Traced {
    let mut traced = Traced::root(&*from.node.tracer, "message", SpanKind::Server);
    traced.set("mics.tenant", &from.tenant.id);
    traced.set("mics.trace_id", &from.trace_id);
    traced.set("mics.msg_id", &message.msg_id);
    traced.set("mics.kind", message.kind.label());
    traced
}
