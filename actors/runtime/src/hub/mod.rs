//! One hub per worker thread: writes the outboxes of the sessions that live there, and keeps their time (heartbeat,
//! keep-alive, lease renewal) on one timer wheel. Other threads reach it by two short queues, never by a message per
//! session. It must not wait for anything but its queues and its wheel.

mod actor;
mod message;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::poll_fn;
use slab::Slab;
use tokio::sync::Notify;
use tokio_util::time::DelayQueue;

use crate::mailbox::Mailbox;
use crate::node::{Node, clock_ms, fresh_id};
use crate::outbox::{Flushed, Outbox, Urgency};
use crate::session::{Live, SessionMsg};
use crate::settings::CLOSE_GRACE;
use crate::wire::Wire;

pub use message::HubMsg;

/// A timer that comes this late tells of a process that stood still.
const LATE_MS: u64 = 1_000;
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// A session that was just let in is looked up once in the directory, should it have been away at that moment.
const FIRST_RENEWAL_MS: u64 = 1_000;
/// Flushes between two yields, so that reading and other tasks of the thread go on.
const FLUSHES_PER_TURN: usize = 64;
/// Of these, flushes of large fan-outs while others wait too.
const BULK_PER_TURN: usize = 16;

#[derive(Default)]
struct Inbox {
    interactive: VecDeque<Arc<Outbox>>,
    /// Large fan-outs, one queue per tenant, served in turns.
    bulk: VecDeque<(Arc<str>, VecDeque<Arc<Outbox>>)>,
}

impl Inbox {
    fn push(&mut self, outbox: Arc<Outbox>, urgency: Urgency) {
        if urgency == Urgency::Interactive {
            return self.interactive.push_back(outbox);
        }
        match self.bulk.iter_mut().find(|(tenant, _)| *tenant == outbox.tenant) {
            Some((_, queue)) => queue.push_back(outbox),
            None => self.bulk.push_back((outbox.tenant.clone(), VecDeque::from([outbox]))),
        }
    }

    /// The next flushes: interactive ones first, and a share for the large fan-outs, tenant by tenant.
    fn turn(&mut self, into: &mut Vec<Arc<Outbox>>) {
        let interactive = self.interactive.len().min(FLUSHES_PER_TURN);
        into.extend(self.interactive.drain(..interactive));
        let bulk = if interactive == 0 { FLUSHES_PER_TURN } else { BULK_PER_TURN };
        for _ in 0..bulk {
            let Some((tenant, mut queue)) = self.bulk.pop_front() else { break };
            into.extend(queue.pop_front());
            if !queue.is_empty() {
                self.bulk.push_back((tenant, queue));
            }
        }
        if self.interactive.is_empty() && self.interactive.capacity() > 4096 {
            self.interactive = VecDeque::new();
        }
    }
}

/// The side of a hub that every thread may use.
#[derive(Default)]
pub struct HubHandle {
    inbox: Mutex<Inbox>,
    wake: Notify,
}

impl HubHandle {
    /// Has the outbox written soon.
    pub fn flush_soon(&self, outbox: Arc<Outbox>, urgency: Urgency) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(outbox, urgency);
        self.wake.notify_one();
    }
}

/// A session's place in its hub.
pub struct Socket {
    pub wire: Rc<dyn Wire>,
    pub outbox: Arc<Outbox>,
    pub mailbox: Mailbox<SessionMsg>,
    pub live: Rc<Live>,
    /// Set while a task waits for the socket to take more.
    blocked: Cell<bool>,
    /// When the socket is cut although the peer has not closed; 0 = not closing.
    cut_at_ms: Cell<u64>,
    /// A late look at its silence did not count.
    reprieved: Cell<bool>,
    next_keepalive_ms: Cell<u64>,
    next_renewal_ms: Cell<u64>,
}

pub struct Hub {
    node: Arc<Node>,
    pub handle: Arc<HubHandle>,
    sockets: RefCell<Slab<Rc<Socket>>>,
    wheel: RefCell<DelayQueue<(usize, u128)>>,
}

thread_local! {
    static CURRENT: RefCell<Vec<(usize, Rc<Hub>)>> = const { RefCell::new(Vec::new()) };
}

impl Hub {
    /// This thread's hub of the node, started at first use.
    pub fn current(node: &Arc<Node>) -> Rc<Hub> {
        let key = Arc::as_ptr(node) as usize;
        if let Some(hub) = CURRENT.with_borrow(|hubs| hubs.iter().find(|(k, _)| *k == key).map(|(_, hub)| hub.clone()))
        {
            return hub;
        }
        let hub = Rc::new(Hub {
            node: node.clone(),
            handle: Arc::default(),
            sockets: RefCell::default(),
            wheel: RefCell::new(DelayQueue::new()),
        });
        CURRENT.with_borrow_mut(|hubs| hubs.push((key, hub.clone())));
        actor::start(hub.clone(), node);
        hub
    }

    /// The slot that the next [`Hub::add`] will take, if nothing is added before.
    pub fn next_slot(&self) -> usize {
        self.sockets.borrow().vacant_key()
    }

    pub fn sessions(&self) -> usize {
        self.sockets.borrow().len()
    }

    /// Takes a session in; its outbox was made for [`Hub::next_slot`].
    pub fn add(&self, wire: Rc<dyn Wire>, live: Rc<Live>, mailbox: Mailbox<SessionMsg>) {
        let now = clock_ms();
        let outbox = live.outbox.clone();
        let key = (outbox.slot, outbox.connection);
        let keepalive = self.node.settings.keepalive.as_millis() as u64;
        let socket = Socket {
            wire,
            outbox,
            mailbox,
            blocked: Cell::new(false),
            cut_at_ms: Cell::new(0),
            reprieved: Cell::new(false),
            next_keepalive_ms: Cell::new(if keepalive == 0 { u64::MAX } else { now + keepalive }),
            next_renewal_ms: Cell::new(now + FIRST_RENEWAL_MS + u64::from(fresh_id() as u8) * 4),
            live,
        };
        let due = socket.next_due_ms(now);
        self.sockets.borrow_mut().insert(Rc::new(socket));
        self.arm(key, due.saturating_sub(now));
    }

    pub fn remove(&self, slot: usize, connection: u128) {
        let mut sockets = self.sockets.borrow_mut();
        if sockets.get(slot).is_some_and(|socket| socket.outbox.connection == connection) {
            sockets.remove(slot);
        }
        if sockets.is_empty() {
            sockets.shrink_to_fit();
        }
    }

    fn arm(&self, key: (usize, u128), in_ms: u64) {
        // The wheel's reach is bounded; whoever is due later is looked at earlier, and armed again.
        self.wheel.borrow_mut().insert(key, Duration::from_millis(in_ms.max(1)).min(LONGEST_WAIT));
    }

    fn socket(&self, slot: usize, connection: u128) -> Option<Rc<Socket>> {
        let sockets = self.sockets.borrow();
        sockets.get(slot).filter(|socket| socket.outbox.connection == connection).cloned()
    }

    /// Runs for the life of the thread.
    async fn run(self: Rc<Self>) {
        let mut turn = Vec::with_capacity(FLUSHES_PER_TURN + BULK_PER_TURN);
        loop {
            let woken = self.handle.wake.notified();
            // Neither may starve the other: which one is looked at first is random.
            tokio::select! {
                () = woken => self.flush_turn(&mut turn).await,
                key = poll_fn(|cx| self.poll_wheel(cx)) => self.tick(key),
            }
        }
    }

    /// Never ready while the wheel is empty: an insert wakes it.
    fn poll_wheel(&self, cx: &mut Context<'_>) -> Poll<(usize, u128)> {
        match self.wheel.borrow_mut().poll_expired(cx) {
            Poll::Ready(Some(expired)) => Poll::Ready(expired.into_inner()),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    async fn flush_turn(self: &Rc<Self>, turn: &mut Vec<Arc<Outbox>>) {
        self.handle.inbox.lock().unwrap_or_else(PoisonError::into_inner).turn(turn);
        if turn.is_empty() {
            return;
        }
        // Perhaps there is more.
        self.handle.wake.notify_one();
        for outbox in turn.drain(..) {
            if let Some(socket) = self.socket(outbox.slot, outbox.connection) {
                self.flush(&socket);
            }
        }
        tokio::task::yield_now().await;
    }

    fn flush(self: &Rc<Self>, socket: &Rc<Socket>) {
        if socket.outbox.overflowed() {
            // A full mailbox means that the session is being told to close already.
            let _ = socket.mailbox.send(SessionMsg::Close(mics_domain::codes::Close::SlowConsumer));
        }
        if socket.blocked.get() {
            return self.watch_closing(socket);
        }
        match socket.outbox.flush(&*socket.wire) {
            Flushed::Empty => {}
            Flushed::ClosedDone => self.watch_closing(socket),
            Flushed::Broken => socket.wire.shutdown(),
            Flushed::Blocked => {
                self.watch_closing(socket);
                self.flush_when_writable(socket.clone());
            }
        }
    }

    /// A closing socket is cut after a grace, whether or not its peer answers or even reads.
    fn watch_closing(&self, socket: &Rc<Socket>) {
        if socket.outbox.is_open() || socket.outbox.overflowed() || socket.cut_at_ms.get() != 0 {
            return;
        }
        let grace = CLOSE_GRACE.as_millis() as u64;
        socket.cut_at_ms.set(clock_ms() + grace);
        self.arm((socket.outbox.slot, socket.outbox.connection), grace);
    }

    fn flush_when_writable(self: &Rc<Self>, socket: Rc<Socket>) {
        socket.blocked.set(true);
        let hub = Rc::downgrade(self);
        actix_rt::spawn(async move {
            let writable = poll_fn(|cx| socket.wire.poll_writable(cx)).await;
            socket.blocked.set(false);
            match (writable, hub.upgrade()) {
                (Ok(()), Some(hub)) => hub.flush(&socket),
                _ => socket.wire.shutdown(),
            }
        });
    }

    /// A session's time has come for something; does it and sets its next time.
    fn tick(&self, key: (usize, u128)) {
        let Some(socket) = self.socket(key.0, key.1) else { return };
        let now = clock_ms();
        if socket.cut_at_ms.get() != 0 {
            match socket.cut_at_ms.get().saturating_sub(now) {
                0 => socket.wire.shutdown(),
                // An earlier appointment of this session.
                left => self.arm(key, left),
            }
            return;
        }
        let silent_at = socket.live.silent_at_ms(now);
        if now >= silent_at + LATE_MS && !socket.reprieved.replace(true) {
            // The process itself was stopped: what the client said meanwhile waits in its socket and is read first.
            return self.arm(key, 1_000);
        }
        if now < silent_at {
            socket.reprieved.set(false);
        }
        if now >= silent_at {
            let _ = socket.mailbox.send(SessionMsg::Close(mics_domain::codes::Close::HeartbeatTimeout));
            // Asked again, should the session have been too busy to hear.
            return self.arm(key, 1_000);
        }
        if now >= socket.next_keepalive_ms.get() {
            socket.outbox.control(crate::frame::pong(b""));
            socket.next_keepalive_ms.set(now + self.node.settings.keepalive.as_millis() as u64);
        }
        if now >= socket.next_renewal_ms.get() {
            self.node.router().renew(socket.live.lease());
            socket.next_renewal_ms.set(now + socket.live.renewal_ms());
        }
        self.arm(key, socket.next_due_ms(now).saturating_sub(now));
    }
}

impl Socket {
    fn next_due_ms(&self, now: u64) -> u64 {
        self.live.silent_at_ms(now).min(self.next_keepalive_ms.get()).min(self.next_renewal_ms.get())
    }
}
