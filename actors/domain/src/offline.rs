//! Offline buffer of one tenant: a short queue of ready frames per user, bounded in every direction. Memory only; it
//! knows no node, no socket and no clock.
//!
//! Frames stand in the order of their delivery ids, whenever they come, and each id once: copies from several nodes fall
//! together. A frame leaves in one of four ways: taken by whoever leased it, expired, dropped as the oldest of a full
//! user, or evicted with its user. Leased frames keep their place and stay accounted; a lease ends by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::delivery::DeliveryId;

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
    pub id: DeliveryId,
    pub frame: Bytes,
    /// On the clock that is passed in as `now_ms`.
    pub expires_at_ms: u64,
    /// Empty: for whichever device comes first; else for these devices only.
    pub devices: Vec<Arc<str>>,
}

impl Entry {
    fn is_for(&self, device: &str) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|d| &**d == device)
    }
}

/// What a write did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// The frame is in the buffer now.
    pub accepted: bool,
    /// Frames of this user that went to make room, oldest first.
    pub dropped_messages: usize,
    /// The least recently written user, evicted whole because there were too many users.
    pub evicted_user: Option<Arc<str>>,
    pub evicted_messages: usize,
}

/// Who leases: a connection; 0 = not known, different from every other.
pub type Holder = u128;

#[derive(Debug)]
struct Slot {
    /// Leased to somebody until then.
    held_until_ms: u64,
    holder: Holder,
    entry: Entry,
}

impl Slot {
    fn is_free_for(&self, holder: Holder, now_ms: u64) -> bool {
        self.held_until_ms <= now_ms || (holder != 0 && self.holder == holder)
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// Ascending by id.
    slots: VecDeque<Slot>,
    bytes: usize,
    /// Key of this user in `by_write`.
    written: u64,
}

impl Queue {
    fn find(&self, id: DeliveryId) -> Result<usize, usize> {
        // Almost everything comes in order.
        match self.slots.back() {
            Some(last) if last.entry.id < id => Err(self.slots.len()),
            _ => self.slots.binary_search_by_key(&id, |slot| slot.entry.id),
        }
    }
}

#[derive(Debug)]
pub struct OfflineBuffer {
    limits: OfflineLimits,
    users: HashMap<Arc<str>, Queue>,
    /// Users by last write, oldest first.
    by_write: BTreeMap<u64, Arc<str>>,
    by_expiry: BTreeSet<(u64, DeliveryId, Arc<str>)>,
    bytes: usize,
    /// Expired on the way of another call, not yet returned by `expire`.
    expired: usize,
    next_write: u64,
}

impl OfflineBuffer {
    pub fn new(limits: OfflineLimits) -> Self {
        OfflineBuffer {
            limits,
            users: HashMap::new(),
            by_write: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            bytes: 0,
            expired: 0,
            next_write: 0,
        }
    }

    /// True when a frame of this size may be promised: it is within the byte limit of a user.
    pub fn fits(&self, bytes: usize) -> bool {
        !exceeds(bytes, self.limits.max_bytes_per_user)
    }

    /// Takes a frame in, unless it is dead on arrival. Whatever its size: it was promised, and alone it may exceed the
    /// byte limit.
    pub fn put(&mut self, user: &Arc<str>, entry: Entry, now_ms: u64) -> Put {
        self.drop_expired(now_ms);
        if entry.expires_at_ms <= now_ms {
            return Put::default();
        }
        let mut put = self.touch(user);
        let id = entry.id;
        self.insert(user, entry);
        put.dropped_messages = self.drop_over_limits(user);
        put.accepted = self.users.get(user).is_some_and(|queue| queue.find(id).is_ok());
        put
    }

    /// True when somebody else has leased frames that this device may have.
    pub fn is_held(&self, user: &str, device: &str, holder: Holder, now_ms: u64) -> bool {
        let held = |slot: &Slot| !slot.is_free_for(holder, now_ms) && slot.entry.is_for(device);
        self.users.get(user).is_some_and(|queue| queue.slots.iter().any(held))
    }

    /// Takes the oldest frames that this device may have and nobody else holds: at least one, then up to `max_bytes` in
    /// all. They are this holder's until they are settled, or for `hold_ms`. Who asks again has not heard the answer, and
    /// gets them again.
    pub fn lease(
        &mut self,
        user: &str,
        (device, holder): (&str, Holder),
        max_bytes: usize,
        hold_ms: u64,
        now_ms: u64,
    ) -> Vec<Entry> {
        self.drop_expired(now_ms);
        let Some(queue) = self.users.get_mut(user) else { return Vec::new() };
        let (mut entries, mut bytes) = (Vec::new(), 0usize);
        let mine = |slot: &&mut Slot| slot.is_free_for(holder, now_ms) && slot.entry.is_for(device);
        for slot in queue.slots.iter_mut().filter(mine) {
            bytes = bytes.saturating_add(slot.entry.frame.len());
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            (slot.holder, slot.held_until_ms) = (holder, now_ms.saturating_add(hold_ms));
            entries.push(slot.entry.clone());
        }
        entries
    }

    /// These frames are in somebody else's hands: forgets them. Unknown ids are ignored. Returns how many went.
    pub fn take(&mut self, user: &str, ids: &[DeliveryId]) -> usize {
        ids.iter().filter(|id| self.remove(user, **id)).count()
    }

    /// A device has these frames: forgets them, except for other devices that a frame is meant for.
    pub fn take_for(&mut self, user: &str, device: &str, ids: &[DeliveryId]) {
        for id in ids {
            let others = self.users.get_mut(user).is_some_and(|queue| {
                let Ok(index) = queue.find(*id) else { return false };
                let slot = &mut queue.slots[index];
                slot.held_until_ms = 0;
                slot.entry.devices.retain(|d| &**d != device);
                !slot.entry.devices.is_empty()
            });
            if !others {
                self.remove(user, *id);
            }
        }
    }

    /// These leased frames are free again, in their old places.
    pub fn release(&mut self, user: &str, ids: &[DeliveryId]) {
        let Some(queue) = self.users.get_mut(user) else { return };
        for id in ids {
            if let Ok(index) = queue.find(*id) {
                queue.slots[index].held_until_ms = 0;
            }
        }
    }

    /// Copies of all frames of a user, leased ones included, oldest first.
    pub fn entries(&self, user: &str) -> Vec<Entry> {
        self.users
            .get(user)
            .map(|queue| queue.slots.iter().map(|slot| slot.entry.clone()).collect())
            .unwrap_or_default()
    }

    /// Drops what has expired, whoever it belongs to, at a cost proportional to that. Returns how many frames expired
    /// since the last call (other calls drop expired frames on their way).
    pub fn expire(&mut self, now_ms: u64) -> usize {
        self.drop_expired(now_ms);
        std::mem::take(&mut self.expired)
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

    fn evict(&mut self, user: &Arc<str>) -> usize {
        let Some(queue) = self.users.remove(user) else { return 0 };
        self.by_write.remove(&queue.written);
        self.bytes -= queue.bytes;
        for slot in &queue.slots {
            self.by_expiry.remove(&(slot.entry.expires_at_ms, slot.entry.id, user.clone()));
        }
        queue.slots.len()
    }

    /// A known id keeps its place and its end; it is then for everybody that either copy was for.
    fn insert(&mut self, user: &Arc<str>, entry: Entry) {
        let queue = self.users.entry(user.clone()).or_default();
        match queue.find(entry.id) {
            Ok(index) => {
                let known = &mut queue.slots[index].entry.devices;
                if entry.devices.is_empty() {
                    known.clear();
                } else if !known.is_empty() {
                    let new: Vec<_> = entry.devices.into_iter().filter(|device| !known.contains(device)).collect();
                    known.extend(new);
                }
            }
            Err(index) => {
                queue.bytes += entry.frame.len();
                self.bytes += entry.frame.len();
                self.by_expiry.insert((entry.expires_at_ms, entry.id, user.clone()));
                queue.slots.insert(index, Slot { held_until_ms: 0, holder: 0, entry });
            }
        }
    }

    /// Drops the oldest until the user is within its limits, but never the only frame.
    fn drop_over_limits(&mut self, user: &str) -> usize {
        let mut dropped = 0;
        while let Some(queue) = self.users.get(user) {
            let over = exceeds(queue.slots.len(), self.limits.max_messages_per_user)
                || (exceeds(queue.bytes, self.limits.max_bytes_per_user) && queue.slots.len() > 1);
            let Some(oldest) = queue.slots.front().filter(|_| over) else { break };
            self.remove(user, oldest.entry.id);
            dropped += 1;
        }
        dropped
    }

    fn drop_expired(&mut self, now_ms: u64) {
        while self.by_expiry.first().is_some_and(|(expires_at_ms, ..)| *expires_at_ms <= now_ms) {
            let Some((_, id, user)) = self.by_expiry.pop_first() else { return };
            self.remove(&user, id);
            self.expired += 1;
        }
    }

    /// Removes one frame; with its last frame the user goes too. False when it was gone already.
    fn remove(&mut self, user: &str, id: DeliveryId) -> bool {
        let Some((name, _)) = self.users.get_key_value(user) else { return false };
        let name = name.clone();
        let Some(queue) = self.users.get_mut(user) else { return false };
        let Some(slot) = queue.find(id).ok().and_then(|index| queue.slots.remove(index)) else { return false };
        let length = slot.entry.frame.len();
        queue.bytes -= length;
        self.bytes -= length;
        self.by_expiry.remove(&(slot.entry.expires_at_ms, id, name));
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
        true
    }
}

/// True when `value` is over `limit`; a limit of 0 is off.
fn exceeds(value: usize, limit: usize) -> bool {
    limit != 0 && value > limit
}

#[cfg(test)]
mod tests;
