//! A tenant's offline buffer: the state and the handle. The actor beside it owns the clock (expiry) and the figures.
//!
//! Writing and leasing go straight to the state under its lock: a mailbox hop between threads costs tens of
//! microseconds, and a full mailbox would refuse a message that could be kept. It must never reach a disk or Redis.

mod actor;
mod message;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mics_domain::offline::{Entry, Lease, OfflineBuffer, OfflineLimits, Put};

use crate::metrics::Metrics;
use crate::node::clock_ms;

pub use message::OfflineMsg;

pub(crate) use actor::start;

pub struct Offline {
    tenant: Arc<str>,
    node: Arc<str>,
    metrics: Metrics,
    buffer: Mutex<OfflineBuffer>,
}

impl Offline {
    pub fn new(tenant: Arc<str>, node: Arc<str>, metrics: Metrics, limits: OfflineLimits) -> Self {
        Offline { tenant, node, metrics, buffer: Mutex::new(OfflineBuffer::new(limits)) }
    }

    fn buffer(&self) -> MutexGuard<'_, OfflineBuffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a frame for a user; false when it was refused. `via` is the metric label of the way it came.
    pub fn put(&self, user: &Arc<str>, frame: Bytes, ttl_ms: u64, via: &str) -> bool {
        let put = self.buffer().put(user, frame, ttl_ms, clock_ms());
        self.count(&put);
        let counter = if put.accepted {
            &self.metrics.offline_buffered_total
        } else {
            &self.metrics.offline_buffer_skipped_total
        };
        counter.with_label_values(&[&self.tenant, via]).inc();
        put.accepted
    }

    /// Takes frames back that a session could not write, ahead of newer ones.
    pub fn put_back(&self, user: &Arc<str>, frames: Vec<Bytes>, only_device: Option<Arc<str>>, ttl_ms: u64) {
        if frames.is_empty() {
            return;
        }
        self.metrics.offline_returned_total.with_label_values(&[&self.tenant]).inc_by(frames.len() as u64);
        let now = clock_ms();
        let expires_at_ms = now + ttl_ms;
        let entries =
            frames.into_iter().map(|frame| Entry { frame, expires_at_ms, only_device: only_device.clone() }).collect();
        let put = self.buffer().put_back(user, entries, now);
        self.count(&put);
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

    /// Frames for a device, oldest first, at most about `max_bytes`. End it with [`Offline::commit`] or
    /// [`Offline::give_back`].
    pub fn lease(&self, user: &str, device: &str, max_bytes: usize) -> Option<Lease> {
        self.buffer().lease(user, device, max_bytes, clock_ms())
    }

    /// The first `count` frames of the lease are in an outbox; the rest returns to its place.
    pub fn commit_first(&self, lease: &Lease, count: usize) {
        self.metrics.offline_drained_total.with_label_values(&[&*self.tenant, &*self.node]).inc_by(count as u64);
        let mut buffer = self.buffer();
        if count == lease.entries.len() {
            buffer.commit(lease.id);
        } else {
            buffer.commit_first(lease.id, count);
        }
    }

    /// Removes and returns everything of a user, for another node that asks.
    pub fn take_all(&self, user: &str) -> Vec<Bytes> {
        let mut buffer = self.buffer();
        let Some(lease) = buffer.lease_any(user, usize::MAX, clock_ms()) else { return Vec::new() };
        buffer.commit(lease.id);
        lease.entries.into_iter().map(|entry| entry.frame).collect()
    }

    pub fn has(&self, user: &str) -> bool {
        self.buffer().has(user)
    }

    pub fn is_empty(&self) -> bool {
        self.buffer().messages() == 0
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
