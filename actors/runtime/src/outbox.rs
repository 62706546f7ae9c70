//! What a session has still to be sent: ready frames, bounded in bytes, filled from any thread, written by its hub.
//!
//! A delivery that is accepted here and not written before the session ends is handed back, for the offline buffer.
//! Must not write to sockets itself, and must never wait.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use mics_domain::codes::Close;
use mics_domain::delivery::DeliveryId;
use prometheus::IntCounter;

use crate::frame;
use crate::hub::HubHandle;
use crate::wire::Wire;

/// What a queued frame costs beside its bytes: small ones must not fill the memory unnoticed.
const OVERHEAD: usize = 64;
/// Frames handed to the socket in one system call.
const BATCH: usize = 32;

/// A delivery as a ready WebSocket frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub id: DeliveryId,
    pub bytes: Bytes,
    /// Other devices of the user got it too. Not written, it is then kept for this device only.
    pub shared: bool,
}

struct Entry {
    bytes: Bytes,
    /// Deliveries are promises; everything else (acks, pongs) is worthless once the session ended.
    delivery: Option<(DeliveryId, bool)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The byte limit was passed and the session is about to be closed. Until then deliveries are still taken, to be given
    /// back with the others: the user's other devices get them now.
    Overflowed,
    /// A close frame is queued, nothing more is taken.
    Closing,
    Closed,
}

struct State {
    queue: VecDeque<Entry>,
    /// Live deliveries that wait until the offline backlog is queued. `None` once it is.
    held: Option<VecDeque<Entry>>,
    /// The session was told that frames are kept for it and has not looked yet.
    nudged: bool,
    bytes: usize,
    /// Bytes of the queue's first frame that the socket already took.
    written_of_first: usize,
    /// Bytes behind those that the wire must be given again before anything else.
    committed: usize,
    phase: Phase,
    /// How urgently the hub was asked to flush this outbox; `None` = not at all.
    scheduled: Option<Urgency>,
}

/// Which of a hub's two queues a flush waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Large fan-outs: taken in turns, tenant by tenant, between the others.
    Bulk,
    Interactive,
}

/// What became of a pushed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    Accepted,
    /// Accepted as the last one: the session is too slow and will be closed with 4408.
    Overflow,
    /// Not accepted: the session is ending.
    Closed,
}

/// How a flush ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing is left.
    Empty,
    /// The socket takes no more for now.
    Blocked,
    /// Everything including the close frame is written.
    ClosedDone,
    /// The socket is dead.
    Broken,
}

pub struct Outbox {
    pub tenant: Arc<str>,
    pub user: Arc<str>,
    pub device: Arc<str>,
    pub connection: u128,
    /// Index of the session in its hub.
    pub slot: usize,
    hub: Arc<HubHandle>,
    limit: usize,
    /// Of the tenant.
    sent_bytes: IntCounter,
    state: Mutex<State>,
}

impl Outbox {
    /// A new outbox holds live deliveries back until [`Outbox::release`].
    pub fn new(
        ids: (Arc<str>, Arc<str>, Arc<str>),
        connection: u128,
        slot: usize,
        hub: Arc<HubHandle>,
        limit: usize,
        sent_bytes: IntCounter,
    ) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            held: Some(VecDeque::new()),
            nudged: false,
            bytes: 0,
            written_of_first: 0,
            committed: 0,
            phase: Phase::Open,
            scheduled: None,
        };
        let (tenant, user, device) = ids;
        Arc::new(Outbox { tenant, user, device, connection, slot, hub, limit, sent_bytes, state: Mutex::new(state) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a live delivery.
    pub fn deliver(self: &Arc<Self>, frame: Frame, urgency: Urgency) -> Pushed {
        self.push(Entry { bytes: frame.bytes, delivery: Some((frame.id, frame.shared)) }, urgency, true)
    }

    /// Queues an ack, pong or error.
    pub fn control(self: &Arc<Self>, frame: Bytes) -> Pushed {
        self.push(Entry { bytes: frame, delivery: None }, Urgency::Interactive, false)
    }

    /// Queues an offline message, ahead of live deliveries that are held back.
    pub fn backlog(self: &Arc<Self>, frame: Frame) -> Pushed {
        self.push(Entry { bytes: frame.bytes, delivery: Some((frame.id, frame.shared)) }, Urgency::Interactive, false)
    }

    /// Queues a kept message, ahead of live deliveries that are held back, except for older ones: after those it was kept.
    pub fn kept(self: &Arc<Self>, frame: Frame) -> Pushed {
        let mut state = self.state();
        if matches!(state.phase, Phase::Closing | Phase::Closed) {
            // Behind the close frame nothing is written: what is held is given back at the end.
            return Pushed::Closed;
        }
        let is_older = |entry: &Entry| entry.delivery.is_some_and(|(id, _)| id < frame.id);
        if let Some(held) = state.held.take_if(|held| held.iter().any(is_older)) {
            let (older, newer): (VecDeque<Entry>, VecDeque<Entry>) = held.into_iter().partition(is_older);
            state.queue.extend(older);
            state.held = Some(newer);
        }
        drop(state);
        self.backlog(frame)
    }

    fn push(self: &Arc<Self>, entry: Entry, urgency: Urgency, may_hold: bool) -> Pushed {
        let mut state = self.state();
        let late = state.phase == Phase::Overflowed && entry.delivery.is_some() && state.waiting() < 2 * self.limit;
        if state.phase != Phase::Open && !late {
            return Pushed::Closed;
        }
        state.bytes += entry.size();
        match &mut state.held {
            Some(held) if may_hold => held.push_back(entry),
            _ => state.queue.push_back(entry),
        }
        let overflow = state.waiting() > self.limit;
        if late {
            return Pushed::Overflow;
        }
        if overflow {
            state.phase = Phase::Overflowed;
            // The hub must hear of it even if a flush has been waiting for the socket ever since.
            state.scheduled = None;
        }
        let idle = state.held.is_some() && may_hold && !overflow;
        self.schedule(state, urgency, idle);
        if overflow { Pushed::Overflow } else { Pushed::Accepted }
    }

    fn schedule(self: &Arc<Self>, mut state: std::sync::MutexGuard<'_, State>, urgency: Urgency, idle: bool) {
        if idle || state.scheduled.is_some_and(|already| already >= urgency) {
            return;
        }
        state.scheduled = Some(urgency);
        drop(state);
        self.hub.flush_soon(self.clone(), urgency);
    }

    /// Notes that frames are kept for the session, and holds live deliveries back until it has them: what is delivered after
    /// this must not overtake them. True when the session must be told, because nobody did.
    pub fn nudge(&self) -> bool {
        let mut state = self.state();
        if state.phase != Phase::Open {
            return false;
        }
        state.held.get_or_insert_default();
        !std::mem::replace(&mut state.nudged, true)
    }

    /// The session looks now for what is kept.
    pub fn take_nudge(&self) {
        self.state().nudged = false;
    }

    /// Lets live deliveries through, behind everything queued so far. False if the session was nudged since it looked: it
    /// must look again first.
    pub fn release(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        if state.nudged && state.phase == Phase::Open {
            return false;
        }
        if matches!(state.phase, Phase::Closing | Phase::Closed) {
            // Behind the close frame nothing is written: what is still held is given back at the end.
            return true;
        }
        if let Some(mut held) = state.held.take() {
            state.queue.append(&mut held);
        }
        self.schedule(state, Urgency::Interactive, false);
        true
    }

    /// Bytes that may still be queued before the session counts as too slow.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.state().bytes)
    }

    pub fn queued_bytes(&self) -> usize {
        self.state().bytes
    }

    /// Nothing is being written (live deliveries may be held back).
    pub fn is_idle(&self) -> bool {
        self.state().queue.is_empty()
    }

    pub fn overflowed(&self) -> bool {
        self.state().phase == Phase::Overflowed
    }

    pub fn is_open(&self) -> bool {
        self.state().phase == Phase::Open
    }

    /// Stops taking frames and queues the close frame. With `keep` the queue is still written; without, its deliveries
    /// are returned (except those that the socket has in part); and in any case those that waited behind a backlog.
    pub fn begin_close(self: &Arc<Self>, close: &Close, keep: bool) -> Vec<Frame> {
        let mut state = self.state();
        if matches!(state.phase, Phase::Closing | Phase::Closed) {
            return Vec::new();
        }
        // What waits behind a backlog must not be written before it.
        let held = deliveries(state.held.take().unwrap_or_default());
        let mut taken = Vec::new();
        if !keep {
            let begun = state.begun();
            taken = deliveries(state.queue.drain(begun..));
        }
        self.queue_close(state, close);
        taken.extend(held);
        taken
    }

    /// The same with `keep`, from a thread that can't put deliveries back: what waits behind a backlog stays for
    /// [`Outbox::finish`].
    pub fn close_from_outside(self: &Arc<Self>, close: &Close) {
        let state = self.state();
        if !matches!(state.phase, Phase::Closing | Phase::Closed) {
            self.queue_close(state, close);
        }
    }

    fn queue_close(self: &Arc<Self>, mut state: std::sync::MutexGuard<'_, State>, close: &Close) {
        state.phase = Phase::Closing;
        state.queue.push_back(Entry { bytes: frame::close(close), delivery: None });
        state.bytes = state.queue.iter().map(Entry::size).sum();
        // As with an overflow: a blocked socket must not keep the hub from hearing of it.
        state.scheduled = None;
        self.schedule(state, Urgency::Interactive, false);
    }

    /// Ends the outbox and returns the deliveries that were not written completely, oldest first.
    pub fn finish(&self) -> Vec<Frame> {
        let mut state = self.state();
        state.phase = Phase::Closed;
        state.bytes = 0;
        let mut rest = deliveries(std::mem::take(&mut state.queue));
        rest.extend(deliveries(state.held.take().unwrap_or_default()));
        rest
    }

    /// Writes as much as the socket takes. Called by the hub only.
    pub fn flush(&self, wire: &dyn Wire) -> Flushed {
        let mut state = self.state();
        state.scheduled = None;
        loop {
            if state.queue.is_empty() {
                shrink(&mut state.queue);
                return if state.phase == Phase::Closing { Flushed::ClosedDone } else { Flushed::Empty };
            }
            let written = write_batch(&state, wire);
            state.committed = wire.committed();
            match written {
                Ok(0) => return Flushed::Broken,
                Ok(written) => {
                    self.sent_bytes.inc_by(written as u64);
                    state.written(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
    }
}

/// An idle session keeps no queue memory.
fn shrink(queue: &mut VecDeque<Entry>) {
    if queue.capacity() > 0 {
        *queue = VecDeque::new();
    }
}

fn deliveries(entries: impl IntoIterator<Item = Entry>) -> Vec<Frame> {
    let frame = |entry: Entry| entry.delivery.map(|(id, shared)| Frame { id, bytes: entry.bytes, shared });
    entries.into_iter().filter_map(frame).collect()
}

fn write_batch(state: &State, wire: &dyn Wire) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); BATCH];
    let mut count = 0;
    for (slot, entry) in slices.iter_mut().zip(&state.queue) {
        let skip = if count == 0 { state.written_of_first } else { 0 };
        *slot = IoSlice::new(&entry.bytes[skip..]);
        count += 1;
    }
    wire.try_write_vectored(&slices[..count])
}

impl Entry {
    /// Bytes it counts for.
    fn size(&self) -> usize {
        self.bytes.len() + OVERHEAD
    }
}

impl State {
    /// Bytes behind the first frame. Only they tell a slow reader: one frame may be larger than the limit, and what is
    /// queued while it is being written is no fault of the reader's.
    fn waiting(&self) -> usize {
        let first = self.queue.front().or_else(|| self.held.as_ref()?.front());
        self.bytes - first.map_or(0, Entry::size)
    }

    /// How many frames the socket has in part.
    fn begun(&self) -> usize {
        let mut bytes = self.written_of_first + self.committed;
        let begun = self.queue.iter().take_while(|entry| {
            let has = bytes > 0;
            bytes = bytes.saturating_sub(entry.bytes.len());
            has
        });
        begun.count()
    }

    fn written(&mut self, mut written: usize) {
        while let Some(first) = self.queue.front() {
            let (rest, size) = (first.bytes.len() - self.written_of_first, first.size());
            if written < rest {
                self.written_of_first += written;
                return;
            }
            written -= rest;
            self.written_of_first = 0;
            self.bytes -= size;
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use super::*;
    use crate::wire::Incoming;

    const LIMIT: usize = 1_000;

    /// A socket that takes so many bytes a call, and has encrypted so many more.
    struct Socket {
        takes: usize,
        committed: usize,
    }

    impl Wire for Socket {
        fn poll_incoming(&self, _: &mut Context<'_>) -> Poll<Option<Incoming>> {
            Poll::Pending
        }

        fn poll_leaving(&self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }

        fn try_write_vectored(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
            match frames.iter().map(|frame| frame.len()).sum::<usize>().min(self.takes) {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                taken => Ok(taken),
            }
        }

        fn committed(&self) -> usize {
            self.committed
        }

        fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn shutdown(&self) {}
    }

    /// A socket that takes so many bytes a call.
    fn takes(takes: usize) -> Socket {
        Socket { takes, committed: 0 }
    }

    fn outbox() -> Arc<Outbox> {
        let id = || Arc::from("x");
        let outbox = Outbox::new((id(), id(), id()), 1, 0, Arc::default(), LIMIT, IntCounter::new("c", "c").unwrap());
        outbox.release();
        outbox
    }

    fn delivery(id: u128, size: usize) -> Frame {
        Frame { id, bytes: vec![0; size].into(), shared: false }
    }

    #[test]
    fn what_waits_behind_a_frame_larger_than_the_outbox_is_no_sign_of_a_slow_reader() {
        let outbox = outbox();
        assert_eq!(outbox.deliver(delivery(1, 5 * LIMIT), Urgency::Interactive), Pushed::Accepted);
        assert_eq!(outbox.flush(&takes(0)), Flushed::Blocked);
        assert_eq!(outbox.control(vec![0; 100].into()), Pushed::Accepted);
        assert_eq!(outbox.deliver(delivery(2, LIMIT), Urgency::Interactive), Pushed::Overflow);
    }

    #[test]
    fn everything_queued_is_counted_until_it_is_written_or_given_back() {
        let outbox = outbox();
        for id in 1..=3 {
            outbox.deliver(delivery(id, 100), Urgency::Interactive);
        }
        assert_eq!(outbox.queued_bytes(), 3 * (100 + OVERHEAD));
        outbox.control(vec![0; 10].into());
        let close = Close::Draining;
        let given_back = outbox.begin_close(&close, false);
        assert_eq!(given_back.iter().map(|frame| frame.id).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(outbox.queued_bytes(), frame::close(&close).len() + OVERHEAD);
        assert_eq!(outbox.flush(&takes(usize::MAX)), Flushed::ClosedDone);
        assert_eq!(outbox.queued_bytes(), 0);
    }

    #[test]
    fn what_the_wire_can_not_take_back_stays_and_is_given_back_only_if_it_is_never_sent() {
        for (committed, stay) in [(0, 0), (1, 1), (100, 1), (101, 2), (300, 3)] {
            let outbox = outbox();
            for id in 1..=3 {
                outbox.deliver(delivery(id, 100), Urgency::Interactive);
            }
            assert_eq!(outbox.flush(&Socket { takes: 0, committed }), Flushed::Blocked);
            assert_eq!(outbox.begin_close(&Close::Replaced, false).len(), 3 - stay, "{committed} bytes");
            assert_eq!(outbox.finish().len(), stay, "{committed} bytes");
        }
    }

    #[test]
    fn a_kept_message_comes_behind_live_ones_that_are_older() {
        let outbox = outbox();
        outbox.nudge();
        for id in [1, 3] {
            outbox.deliver(delivery(id, 100), Urgency::Interactive);
        }
        outbox.kept(delivery(2, 100));
        outbox.backlog(delivery(4, 100));
        assert_eq!(outbox.finish().iter().map(|frame| frame.id).collect::<Vec<_>>(), [1, 2, 4, 3]);
    }

    #[test]
    fn what_waits_behind_a_backlog_is_given_back_when_the_session_is_closed_from_outside() {
        let outbox = outbox();
        outbox.nudge();
        outbox.deliver(delivery(1, 100), Urgency::Interactive);
        outbox.close_from_outside(&Close::Kicked);
        outbox.take_nudge();
        assert_eq!(outbox.kept(delivery(2, 100)), Pushed::Closed);
        assert!(outbox.release(), "the session need not look again");
        assert_eq!(outbox.flush(&takes(usize::MAX)), Flushed::ClosedDone);
        assert_eq!(outbox.finish().iter().map(|frame| frame.id).collect::<Vec<_>>(), [1]);
    }
}
