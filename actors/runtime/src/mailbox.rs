//! The one way to reach an actor: a bounded mailbox that is measured and whose refusal is visible.
//! Must not grow a second way to send (`do_send` is banned by lint).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use actix::prelude::*;
use prometheus::{Histogram, IntCounter};
use serde::Serialize;
use tokio::time::Instant;

/// A message on its way, with the time at which it was sent. Counted as waiting until it is handled, or dropped with its
/// actor.
pub struct In<M> {
    message: Option<M>,
    sent: Instant,
    stats: Arc<MailboxStats>,
}

impl<M> Drop for In<M> {
    fn drop(&mut self) {
        self.stats.depth.fetch_sub(1, Relaxed);
    }
}

impl<M: Send> Message for In<M> {
    type Result = ();
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// The mailbox is full.
    Busy,
    /// The actor has ended.
    Gone,
}

/// Figures of one kind of actor (of one tenant, where it has one).
#[derive(Debug)]
pub struct MailboxStats {
    pub capacity: usize,
    depth: AtomicU64,
    handled: AtomicU64,
    refused: AtomicU64,
    restarts: AtomicU64,
    wait_us: Histogram,
    handling_us: Histogram,
    refusals: IntCounter,
}

/// What `/debug/actors` shows of a mailbox.
#[derive(Debug, Clone, Serialize)]
pub struct MailboxView {
    pub depth: u64,
    pub capacity: usize,
    pub handled: u64,
    pub refused: u64,
    pub restarts: u64,
}

impl MailboxStats {
    pub fn new(capacity: usize, wait_us: Histogram, handling_us: Histogram, refusals: IntCounter) -> Arc<Self> {
        let (depth, handled, refused, restarts) = Default::default();
        Arc::new(MailboxStats { capacity, depth, handled, refused, restarts, wait_us, handling_us, refusals })
    }

    pub fn view(&self) -> MailboxView {
        MailboxView {
            depth: self.depth.load(Relaxed),
            capacity: self.capacity,
            handled: self.handled.load(Relaxed),
            refused: self.refused.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
        }
    }

    pub fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// Runs a handler and takes its time.
    pub fn handle<M>(&self, mut message: In<M>, run: impl FnOnce(M)) {
        let started = Instant::now();
        self.wait_us.observe(micros(started - message.sent));
        let content = message.message.take();
        drop(message);
        content.map(run);
        self.handling_us.observe(micros(started.elapsed()));
        self.handled.fetch_add(1, Relaxed);
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The sending side. Clones share one actix address, so that the bound holds.
pub struct Mailbox<M: Send + 'static> {
    to: Arc<Recipient<In<M>>>,
    stats: Arc<MailboxStats>,
}

impl<M: Send + 'static> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox { to: self.to.clone(), stats: self.stats.clone() }
    }
}

impl<M: Send + 'static> Mailbox<M> {
    pub fn new(to: Recipient<In<M>>, stats: Arc<MailboxStats>) -> Self {
        Mailbox { to: Arc::new(to), stats }
    }

    /// Hands the message over or says at once why not.
    pub fn send(&self, message: M) -> Result<(), SendError> {
        self.stats.depth.fetch_add(1, Relaxed);
        let message = In { message: Some(message), sent: Instant::now(), stats: self.stats.clone() };
        // What is refused is dropped, and so no longer counted.
        let error = match self.to.try_send(message) {
            Ok(()) => return Ok(()),
            Err(actix::prelude::SendError::Full(_)) => SendError::Busy,
            Err(actix::prelude::SendError::Closed(_)) => SendError::Gone,
        };
        self.stats.refused.fetch_add(1, Relaxed);
        self.stats.refusals.inc();
        Err(error)
    }

    pub fn stats(&self) -> Arc<MailboxStats> {
        self.stats.clone()
    }

    pub fn connected(&self) -> bool {
        self.to.connected()
    }
}

#[cfg(test)]
impl<M: Send + 'static> Mailbox<M> {
    /// Of an actor that does nothing. Needs a running actix system.
    pub fn to_nobody() -> Self {
        let histogram = || Histogram::with_opts(prometheus::HistogramOpts::new("h", "h")).unwrap();
        let stats = MailboxStats::new(1, histogram(), histogram(), IntCounter::new("c", "c").unwrap());
        Mailbox::new(Nobody.start().recipient(), stats)
    }
}

#[cfg(test)]
struct Nobody;

#[cfg(test)]
impl Actor for Nobody {
    type Context = Context<Self>;
}

#[cfg(test)]
impl<M: Send + 'static> Handler<In<M>> for Nobody {
    type Result = ();

    fn handle(&mut self, _: In<M>, _: &mut Self::Context) {}
}
