//! Offline buffer of one tenant: a short queue of ready frames per user, bounded in every direction. Memory only; it
//! knows no node, no socket and no clock.
//!
//! A frame leaves in one of four ways: committed by the lease that took it, expired, dropped as the oldest of a full
//! user, or evicted with its user. Leased frames keep their place and stay accounted, so giving a lease back restores
//! the order; they expire and are dropped like others (the lease holds its own copy).

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

const MIN_CAPACITY: usize = 1024;

/// Limits of one tenant; 0 = that limit is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfflineLimits {
    pub max_messages_per_user: usize,
    /// Sum of frame lengths.
    pub max_bytes_per_user: usize,
    pub max_users: usize,
}

/// One buffered frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub frame: Bytes,
    /// On the clock that is passed in as `now_ms`.
    pub expires_at_ms: u64,
    /// `Some`: only for this device of the user.
    pub only_device: Option<Arc<str>>,
}

/// What a write did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// The frame (for `put_back`: at least one) is in the buffer now.
    pub accepted: bool,
    /// Frames of this user that went to make room, oldest first.
    pub dropped_messages: usize,
    /// The least recently written user, evicted whole because there were too many users.
    pub evicted_user: Option<Arc<str>>,
    pub evicted_messages: usize,
}

/// Frames taken, oldest first; end it with `commit`, `commit_first` or `give_back`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub id: u64,
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
struct Slot {
    /// Position: unique in the buffer, ascending within a queue.
    seq: i64,
    leased: bool,
    entry: Entry,
}

#[derive(Debug, Default)]
struct Queue {
    slots: VecDeque<Slot>,
    bytes: usize,
    /// Key of this user in `by_write`.
    written: u64,
}

impl Queue {
    fn find(&self, seq: i64) -> Option<usize> {
        self.slots.binary_search_by_key(&seq, |slot| slot.seq).ok()
    }
}

#[derive(Debug)]
pub struct OfflineBuffer {
    limits: OfflineLimits,
    users: HashMap<Arc<str>, Queue>,
    /// Users by last write, oldest first.
    by_write: BTreeMap<u64, Arc<str>>,
    /// Frames by (expiry, seq).
    by_expiry: BTreeMap<(u64, i64), Arc<str>>,
    leases: HashMap<u64, (Arc<str>, Vec<i64>)>,
    bytes: usize,
    /// Expired on the way of another call, not yet returned by `expire`.
    expired: usize,
    next_write: u64,
    next_lease: u64,
    next_back: i64,
    next_front: i64,
}

impl OfflineBuffer {
    pub fn new(limits: OfflineLimits) -> Self {
        OfflineBuffer {
            limits,
            users: HashMap::new(),
            by_write: BTreeMap::new(),
            by_expiry: BTreeMap::new(),
            leases: HashMap::new(),
            bytes: 0,
            expired: 0,
            next_write: 0,
            next_lease: 1,
            next_back: 0,
            next_front: -1,
        }
    }

    /// Appends a frame for all devices of `user`. Refused only when it is larger than the byte limit, or `ttl_ms` is 0.
    pub fn put(&mut self, user: &Arc<str>, frame: Bytes, ttl_ms: u64, now_ms: u64) -> Put {
        self.drop_expired(now_ms);
        if self.is_oversized(&frame) || ttl_ms == 0 {
            return Put::default();
        }
        let mut put = self.touch(user);
        let entry = Entry { frame, expires_at_ms: now_ms.saturating_add(ttl_ms), only_device: None };
        self.insert(user, entry, true);
        put.accepted = true;
        put.dropped_messages = self.drop_over_limits(user);
        put
    }

    /// Puts frames that could not be written to the front again, in their order (also frames this buffer never saw).
    /// Expired and oversized ones are left out; over the limits the oldest go, which may be these.
    pub fn put_back(&mut self, user: &Arc<str>, mut entries: Vec<Entry>, now_ms: u64) -> Put {
        self.drop_expired(now_ms);
        entries.retain(|entry| entry.expires_at_ms > now_ms && !self.is_oversized(&entry.frame));
        if entries.is_empty() {
            return Put::default();
        }
        let mut put = self.touch(user);
        let count = entries.len();
        for entry in entries.into_iter().rev() {
            self.insert(user, entry, false);
        }
        put.dropped_messages = self.drop_over_limits(user);
        put.accepted = put.dropped_messages < count;
        put
    }

    /// Takes the oldest frames this device may have and no other lease holds: at least one, then up to `max_bytes` in
    /// all. `None` when there is nothing for it.
    pub fn lease(&mut self, user: &str, device: &str, max_bytes: usize, now_ms: u64) -> Option<Lease> {
        self.lease_where(user, max_bytes, now_ms, |entry| entry.only_device.as_deref().is_none_or(|d| d == device))
    }

    /// Like `lease`, for whatever device: to hand a user over to another node.
    pub fn lease_any(&mut self, user: &str, max_bytes: usize, now_ms: u64) -> Option<Lease> {
        self.lease_where(user, max_bytes, now_ms, |_| true)
    }

    /// The leased frames are in somebody else's hands: forgets them. Unknown leases are ignored.
    pub fn commit(&mut self, lease_id: u64) {
        self.commit_first(lease_id, usize::MAX);
    }

    /// Forgets the first `count` frames of the lease and makes the rest available again.
    pub fn commit_first(&mut self, lease_id: u64, count: usize) {
        let Some((user, seqs)) = self.leases.remove(&lease_id) else { return };
        let (taken, rest) = seqs.split_at(count.min(seqs.len()));
        for seq in rest {
            if let Some(queue) = self.users.get_mut(&user)
                && let Some(index) = queue.find(*seq)
            {
                queue.slots[index].leased = false;
            }
        }
        for seq in taken {
            self.remove(&user, *seq);
        }
    }

    /// The leased frames are available again, in their old places.
    pub fn give_back(&mut self, lease_id: u64) {
        self.commit_first(lease_id, 0);
    }

    /// Drops what has expired, whoever it belongs to, at a cost proportional to that. Returns how many frames expired
    /// since the last call (other calls drop expired frames on their way).
    pub fn expire(&mut self, now_ms: u64) -> usize {
        self.drop_expired(now_ms);
        std::mem::take(&mut self.expired)
    }

    /// When the next frame expires, for a timer.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.by_expiry.first_key_value().map(|((at, _), _)| *at)
    }

    /// True when frames of this user are held, leased ones included.
    pub fn has(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// The users with frames, in no order.
    pub fn user_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.users.keys()
    }

    pub fn messages(&self) -> usize {
        self.by_expiry.len()
    }

    /// Sum of frame lengths.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_oversized(&self, frame: &Bytes) -> bool {
        exceeds(frame.len(), self.limits.max_bytes_per_user)
    }

    fn lease_where(
        &mut self,
        user: &str,
        max_bytes: usize,
        now_ms: u64,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Option<Lease> {
        self.drop_expired(now_ms);
        let (name, _) = self.users.get_key_value(user)?;
        let name = name.clone();
        let queue = self.users.get_mut(user)?;
        let (mut seqs, mut entries, mut bytes) = (Vec::new(), Vec::new(), 0usize);
        for slot in queue.slots.iter_mut().filter(|slot| !slot.leased && wanted(&slot.entry)) {
            bytes = bytes.saturating_add(slot.entry.frame.len());
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            slot.leased = true;
            seqs.push(slot.seq);
            entries.push(slot.entry.clone());
        }
        if entries.is_empty() {
            return None;
        }
        let id = self.next_lease;
        self.next_lease += 1;
        self.leases.insert(id, (name, seqs));
        Some(Lease { id, entries })
    }

    /// Makes `user` the most recently written one, evicting another when it is one too many.
    fn touch(&mut self, user: &Arc<str>) -> Put {
        let mut put = Put::default();
        if let Some(queue) = self.users.get(user) {
            self.by_write.remove(&queue.written);
        } else if exceeds(self.users.len() + 1, self.limits.max_users)
            && let Some((_, victim)) = self.by_write.first_key_value()
        {
            let victim = victim.clone();
            put.evicted_messages = self.evict(&victim);
            put.evicted_user = Some(victim);
        }
        let name = self.users.get_key_value(user).map_or(user, |(name, _)| name).clone();
        self.by_write.insert(self.next_write, name.clone());
        self.users.entry(name).or_default().written = self.next_write;
        self.next_write += 1;
        put
    }

    fn evict(&mut self, user: &str) -> usize {
        let Some(queue) = self.users.remove(user) else { return 0 };
        self.by_write.remove(&queue.written);
        self.bytes -= queue.bytes;
        for slot in &queue.slots {
            self.by_expiry.remove(&(slot.entry.expires_at_ms, slot.seq));
        }
        queue.slots.len()
    }

    fn insert(&mut self, user: &Arc<str>, entry: Entry, at_back: bool) {
        let counter = if at_back { &mut self.next_back } else { &mut self.next_front };
        let seq = *counter;
        *counter += if at_back { 1 } else { -1 };
        let queue = self.users.entry(user.clone()).or_default();
        queue.bytes += entry.frame.len();
        self.bytes += entry.frame.len();
        self.by_expiry.insert((entry.expires_at_ms, seq), user.clone());
        let slot = Slot { seq, leased: false, entry };
        if at_back { queue.slots.push_back(slot) } else { queue.slots.push_front(slot) }
    }

    fn drop_over_limits(&mut self, user: &str) -> usize {
        let mut dropped = 0;
        while let Some(queue) = self.users.get(user) {
            let over = exceeds(queue.slots.len(), self.limits.max_messages_per_user)
                || exceeds(queue.bytes, self.limits.max_bytes_per_user);
            let Some(oldest) = queue.slots.front().filter(|_| over) else { break };
            self.remove(user, oldest.seq);
            dropped += 1;
        }
        dropped
    }

    fn drop_expired(&mut self, now_ms: u64) {
        while let Some(first) = self.by_expiry.first_entry().filter(|first| first.key().0 <= now_ms) {
            let (seq, user) = (first.key().1, first.get().clone());
            self.remove(&user, seq);
            self.expired += 1;
        }
    }

    /// Removes one frame; with its last frame the user goes too. Frames that are gone already are ignored.
    fn remove(&mut self, user: &str, seq: i64) {
        let Some(queue) = self.users.get_mut(user) else { return };
        let Some(slot) = queue.find(seq).and_then(|index| queue.slots.remove(index)) else { return };
        let length = slot.entry.frame.len();
        queue.bytes -= length;
        self.bytes -= length;
        self.by_expiry.remove(&(slot.entry.expires_at_ms, seq));
        if queue.slots.capacity() > 64 && queue.slots.len() < queue.slots.capacity() / 4 {
            queue.slots.shrink_to(queue.slots.len() * 2);
        }
        if queue.slots.is_empty() {
            self.by_write.remove(&queue.written);
            self.users.remove(user);
            if self.users.capacity() > MIN_CAPACITY && self.users.len() < self.users.capacity() / 4 {
                self.users.shrink_to(self.users.len() * 2);
            }
        }
    }
}

/// True when `value` is over `limit`; a limit of 0 is off.
fn exceeds(value: usize, limit: usize) -> bool {
    limit != 0 && value > limit
}

#[cfg(test)]
mod tests;
