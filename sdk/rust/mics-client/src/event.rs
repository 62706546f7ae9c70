//! What the client tells the application, and the bounded queue in between. The queue never blocks the connection:
//! when the application does not read, events are dropped and the loss is told.

use crate::error::CloseInfo;
use futures_util::Stream;
use mics_proto::message::{MessageAck, MessageRequest, ServerError};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where the connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    Disconnected,
    Connecting,
    Connected,
    Reconnecting,
    /// `disconnect()` was called and the connection is being closed.
    Disposing,
}

/// What `connect_ack` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicsSession {
    pub tenant_id: String,
    pub user_id: String,
    pub device_id: String,
    pub node_id: String,
    /// Names this connection in the gateway's logs.
    pub trace_id: String,
}

/// A message for this user.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub message: MessageRequest,
    /// The body could not be decrypted and is handed over as it came.
    pub decrypt_failed: bool,
}

/// Everything that happens on a connection, in the order it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    State(ConnectionState),
    /// A session was opened: at the start and after every reconnect.
    Connected(MicsSession),
    Delivery(Delivery),
    /// An outcome of a message: from the gateway, or local (`ack timeout`, `send deadline`, `disconnected`).
    Ack(MessageAck),
    ServerError(ServerError),
    /// The connection ended. `reconnecting` tells whether the client comes back by itself.
    Closed {
        info: CloseInfo,
        reconnecting: bool,
    },
    /// This many events were dropped here because the application did not read fast enough.
    Overflow {
        dropped: u64,
    },
}

/// Counters of one client; all only grow.
#[derive(Debug, Default)]
pub struct ClientStats {
    pub(crate) heartbeats: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsSnapshot {
    /// Heartbeat pings written.
    pub heartbeats_sent: u64,
    /// Connections opened after the first.
    pub reconnects: u64,
    /// Repeated deliveries that were not handed over.
    pub duplicates_dropped: u64,
    /// Events lost because the queue was full.
    pub events_dropped: u64,
}

impl ClientStats {
    /// Reads all counters.
    pub fn snapshot(&self) -> StatsSnapshot {
        StatsSnapshot {
            heartbeats_sent: self.heartbeats.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
            duplicates_dropped: self.duplicates.load(Relaxed),
            events_dropped: self.dropped.load(Relaxed),
        }
    }
}

/// Room for state changes above the capacity, so that a full queue of deliveries does not hide a lost connection.
const STATE_RESERVE: usize = 64;

struct Queue {
    events: VecDeque<Event>,
    /// Dropped since the last event that was taken in.
    dropped: u64,
    waker: Option<Waker>,
    ended: bool,
    reader_gone: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    capacity: usize,
    stats: Arc<ClientStats>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end, owned by the connection. Dropping it ends the stream.
pub(crate) struct EventSink(Arc<Shared>);

/// The events of one client; ends after `disconnect()`, a terminal close, or when all handles are dropped.
pub struct EventStream(Arc<Shared>);

/// Makes a queue for `capacity` unread events.
pub(crate) fn queue(capacity: usize, stats: Arc<ClientStats>) -> (EventSink, EventStream) {
    let queue = Queue { events: VecDeque::new(), dropped: 0, waker: None, ended: false, reader_gone: false };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), capacity, stats });
    (EventSink(shared.clone()), EventStream(shared))
}

impl EventSink {
    /// Takes `event` in; false when the queue is full and it is dropped and counted.
    pub fn push(&self, event: Event) -> bool {
        let mut queue = self.0.lock();
        if queue.reader_gone {
            return true;
        }
        let important = matches!(event, Event::State(_) | Event::Connected(_) | Event::Closed { .. });
        let room = self.0.capacity + if important { STATE_RESERVE } else { 0 };
        if queue.events.len() >= room {
            queue.dropped += 1;
            self.0.stats.dropped.fetch_add(1, Relaxed);
            return false;
        }
        report_dropped(&mut queue);
        queue.events.push_back(event);
        if let Some(waker) = queue.waker.take() {
            drop(queue);
            waker.wake();
        }
        true
    }

    /// False once the application has dropped the stream: then events need not be made.
    pub fn has_reader(&self) -> bool {
        !self.0.lock().reader_gone
    }
}

/// Tells a loss at the place in the order where it happened.
fn report_dropped(queue: &mut Queue) {
    if queue.dropped > 0 {
        let dropped = std::mem::take(&mut queue.dropped);
        queue.events.push_back(Event::Overflow { dropped });
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.ended = true;
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl EventStream {
    /// The next event; none when the client is disconnected for good and everything was read.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = self.0.lock();
        if queue.events.is_empty() {
            report_dropped(&mut queue);
        }
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if queue.ended {
            return Poll::Ready(None);
        }
        if !queue.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.reader_gone = true;
        queue.events = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(id: u32) -> Event {
        Event::Ack(MessageAck { msg_id: id.to_string(), ..Default::default() })
    }

    #[tokio::test]
    async fn a_full_queue_tells_what_it_dropped_where_it_dropped() {
        let stats = Arc::new(ClientStats::default());
        let (sink, mut stream) = queue(2, stats.clone());
        assert_eq!((0..5).filter(|&i| sink.push(ack(i))).count(), 2);
        sink.push(Event::State(ConnectionState::Reconnecting));
        assert_eq!(stream.next().await, Some(ack(0)));
        assert_eq!(stream.next().await, Some(ack(1)));
        assert_eq!(stream.next().await, Some(Event::Overflow { dropped: 3 }));
        assert_eq!(stream.next().await, Some(Event::State(ConnectionState::Reconnecting)));
        assert_eq!(stats.snapshot().events_dropped, 3);
        drop(sink);
        assert_eq!(stream.next().await, None);
    }

    #[tokio::test]
    async fn a_loss_at_the_end_is_told_too() {
        let (sink, mut stream) = queue(1, Arc::default());
        assert_eq!((0..3).filter(|&i| sink.push(ack(i))).count(), 1);
        drop(sink);
        assert_eq!(stream.next().await, Some(ack(0)));
        assert_eq!(stream.next().await, Some(Event::Overflow { dropped: 2 }));
        assert_eq!(stream.next().await, None);
    }
}
