//! A tenant's offline buffer: the state and the handle. The actor beside it owns the clock (expiry) and the figures.
//!
//! Writing and leasing go straight to the state under its lock: a mailbox hop between threads costs tens of
//! microseconds, and a full mailbox would refuse a message that could be kept. It must never reach a disk or Redis.

mod actor;
mod message;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mics_domain::delivery::DeliveryId;
use mics_domain::offline::{Entry, Holder, OfflineBuffer, OfflineLimits, Put};
use mics_domain::ports::LinkError;
use mics_domain::recent::Recent;

use crate::metrics::Metrics;
use crate::node::clock_ms;

pub use message::OfflineMsg;

pub(crate) use actor::start;

/// Bytes of one lease, about: it may have to fit into one answer to another node.
const LEASE_BYTES: usize = 8 << 20;
/// Frames handed over that are remembered, so that a late copy is not kept again.
const TAKEN: usize = 65_536;

pub struct Offline {
    tenant: Arc<str>,
    node: Arc<str>,
    metrics: Metrics,
    buffer: Mutex<OfflineBuffer>,
    taken: Mutex<Recent>,
}

/// Whom a frame was handed to, `device` empty: the user, whichever device it was. The separator can't occur in either part.
pub(crate) fn taker(user: &str, device: &str) -> String {
    format!("{user}\u{0}{device}")
}

impl Offline {
    pub fn new(tenant: Arc<str>, node: Arc<str>, metrics: Metrics, limits: OfflineLimits) -> Self {
        let (buffer, taken) = (Mutex::new(OfflineBuffer::new(limits)), Mutex::new(Recent::new(TAKEN)));
        Offline { tenant, node, metrics, buffer, taken }
    }

    fn buffer(&self) -> MutexGuard<'_, OfflineBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when a frame of this size may be kept at all; a refusal is counted.
    pub fn admits(&self, bytes: usize) -> bool {
        let fits = self.buffer().fits(bytes);
        if !fits {
            self.metrics.offline_buffer_skipped_total.with_label_values(&[&*self.tenant, "local"]).inc();
        }
        fits
    }

    /// Keeps a frame for a user; false when it was refused. `via` is the metric label of the way it came.
    pub fn put(&self, user: &Arc<str>, mut entry: Entry, now_ms: u64, via: &str) -> bool {
        if self.has_got(user, &mut entry) {
            return true;
        }
        let put = self.buffer().put(user, entry, now_ms);
        self.count(&put);
        let counter = if put.accepted {
            &self.metrics.offline_buffered_total
        } else {
            &self.metrics.offline_buffer_skipped_total
        };
        counter.with_label_values(&[&self.tenant, via]).inc();
        put.accepted
    }

    /// True for a late copy of what was taken already. A frame for several devices is left to those that have not got it.
    fn has_got(&self, user: &str, entry: &mut Entry) -> bool {
        if entry.devices.is_empty() {
            return self.was_taken(user, "", entry.id);
        }
        let id = entry.id;
        entry.devices.retain(|device| !self.was_taken(user, device, id));
        entry.devices.is_empty()
    }

    /// This node took part in handing the frame over. `device`: of a frame for certain devices; else empty.
    pub fn was_taken(&self, user: &str, device: &str, id: DeliveryId) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).get(&taker(user, device), id).is_some()
    }

    /// Keeps frames that were promised before and could not be written.
    pub fn put_back(&self, user: &Arc<str>, entries: Vec<Entry>) {
        self.metrics.offline_returned_total.with_label_values(&[&self.tenant]).inc_by(entries.len() as u64);
        let now = clock_ms();
        for entry in entries {
            let put = self.buffer().put(user, entry, now);
            self.count(&put);
        }
    }

    fn count(&self, put: &Put) {
        if put.dropped_messages > 0 {
            let dropped = self.metrics.offline_buffer_dropped_total.with_label_values(&[&*self.tenant, "oldest"]);
            dropped.inc_by(put.dropped_messages as u64);
        }
        if put.evicted_user.is_some() {
            self.metrics.offline_buffer_evicted_users_total.with_label_values(&[&self.tenant]).inc();
        }
    }

    /// A peer did not take `count` frames.
    pub fn not_placed(&self, error: &LinkError, count: usize) {
        let labels = [&*self.tenant, crate::router::status(error)];
        self.metrics.grpc_offline_buffer_failed_total.with_label_values(&labels).inc_by(count as u64);
    }

    /// Frames that peers took.
    pub fn count_placed(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.metrics.offline_buffered_total.with_label_values(&[&*self.tenant, "grpc"]).inc_by(count as u64);
    }

    /// A peer could not be asked what it keeps.
    pub fn not_drained(&self, error: &LinkError) {
        let labels = [&*self.tenant, crate::router::status(error)];
        self.metrics.grpc_offline_drain_failed_total.with_label_values(&labels).inc();
    }

    /// Frames handed to a session of this node, wherever they were kept.
    pub fn count_drained(&self, count: usize) {
        if count == 0 {
            return;
        }
        self.metrics.offline_drained_total.with_label_values(&[&*self.tenant, &*self.node]).inc_by(count as u64);
    }

    /// Frames kept here for a device, oldest first; nobody else's for `hold_ms`. End it with [`Offline::settle`]. And
    /// whether somebody else holds more of them.
    pub fn lease(&self, user: &str, device: &str, holder: Holder, hold_ms: u64) -> (Vec<Entry>, bool) {
        let (mut buffer, now) = (self.buffer(), clock_ms());
        let held = buffer.is_held(user, device, holder, now);
        (buffer.lease(user, (device, holder), LEASE_BYTES, hold_ms, now), held)
    }

    /// The device has the frames `taken`; the `released` ones are free again.
    pub fn settle(&self, user: &str, device: &str, taken: &[DeliveryId], released: &[DeliveryId]) {
        let mut buffer = self.buffer();
        buffer.take_for(user, device, taken);
        buffer.release(user, released);
        drop(buffer);
        // It is not known here which of them were for certain devices only.
        let takers = [taker(user, ""), taker(user, device)];
        let mut known = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for id in taken {
            takers.iter().for_each(|taker| known.remember(taker, *id, 1));
        }
    }

    /// Forgets frames that are safe elsewhere.
    pub fn forget(&self, user: &str, ids: &[DeliveryId]) {
        self.buffer().take(user, ids);
    }

    /// Copies of everything that is kept here for a user.
    pub fn entries(&self, user: &str) -> Vec<Entry> {
        self.buffer().entries(user)
    }

    /// Users with frames here.
    pub fn users(&self) -> Vec<Arc<str>> {
        self.buffer().user_names().cloned().collect()
    }

    pub fn has(&self, user: &str) -> bool {
        self.buffer().has(user)
    }

    pub fn is_empty(&self) -> bool {
        self.buffer().messages() == 0
    }

    /// Users, messages and bytes that are kept here.
    pub fn figures(&self) -> (usize, usize, usize) {
        let buffer = self.buffer();
        (buffer.users(), buffer.messages(), buffer.bytes())
    }

    /// Gives the memory of expired frames back and refreshes the gauges.
    fn tick(&self) {
        let mut buffer = self.buffer();
        let expired = buffer.expire(clock_ms());
        let (users, messages, bytes) = (buffer.users(), buffer.messages(), buffer.bytes());
        drop(buffer);
        let label = [&*self.tenant];
        self.metrics.offline_buffer_users.with_label_values(&label).set(users as i64);
        self.metrics.offline_buffer_messages.with_label_values(&label).set(messages as i64);
        self.metrics.offline_buffer_bytes.with_label_values(&label).set(bytes as i64);
        if expired > 0 {
            let dropped = self.metrics.offline_buffer_dropped_total.with_label_values(&[&*self.tenant, "expired"]);
            dropped.inc_by(expired as u64);
        }
    }
}
