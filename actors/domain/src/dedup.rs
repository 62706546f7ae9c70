//! Which messages were seen before, and how they ended: in progress, succeeded, or (forgotten) failed. It stores hashes
//! only, never content, and remembers no failure: a failed attempt may be repeated.

use sha2::{Digest, Sha256};
use std::collections::{HashMap, VecDeque};

/// A success is a duplicate for another connection of the same device only this long after its first arrival: within
/// that time it is a resend after a reconnect, later it is a counter that started again.
pub const RESEND_MS: u64 = 60_000;
const MIN_CAPACITY: usize = 1024;

/// Identity of a message within its tenant: user, device and msg_id, as 128 bits of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u128);

impl Key {
    pub fn of(user: &str, device: &str, msg_id: &str) -> Key {
        let digest = hash_parts(&[user.as_bytes(), device.as_bytes(), msg_id.as_bytes()]);
        let mut head = [0; 16];
        head.copy_from_slice(&digest[..16]);
        Key(u128::from_le_bytes(head))
    }

    /// A fingerprint as it may be shown to others: equal texts of different messages do not look equal.
    pub fn seal(self, fingerprint: u64) -> u64 {
        let digest = hash_parts(&[&self.0.to_le_bytes(), &fingerprint.to_le_bytes()]);
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(head)
    }

    pub fn as_u128(self) -> u128 {
        self.0
    }
}

/// What the message says: a resend carries the same, a counter that started again usually does not.
pub fn fingerprint(kind: i32, to: &str, group: &str, body: &[u8]) -> u64 {
    let digest = hash_parts(&[&kind.to_le_bytes(), to.as_bytes(), group.as_bytes(), body]);
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(head)
}

/// Each part is preceded by its length, so that moving a character from one part to the next changes the hash.
fn hash_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The answer to `claim`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// New: deliver it, then call `succeed` or `fail`, whatever happens.
    Fresh,
    /// New, but not recorded (another content is in progress under this key, or the table is full of work in
    /// progress): deliver it, and call neither.
    FreshUntracked,
    /// The same message is under way: `join` it and share its outcome.
    InProgress,
    /// It was delivered before.
    Duplicate,
}

#[derive(Debug)]
struct Record<W> {
    fingerprint: u64,
    connection: u128,
    first_ms: u64,
    state: State<W>,
}

#[derive(Debug)]
enum State<W> {
    InProgress(Vec<W>),
    /// `serial` names the entry of `finished` that stands for this record.
    Succeeded {
        serial: u64,
    },
}

#[derive(Debug)]
struct Finished {
    key: Key,
    serial: u64,
    expires_ms: u64,
}

/// One tenant's table. `W` waits for the outcome of a message in progress.
#[derive(Debug)]
pub struct Dedup<W> {
    max_records: usize,
    window_ms: u64,
    records: HashMap<Key, Record<W>>,
    /// Successes, oldest first; entries of records replaced meanwhile are stale and skipped.
    finished: VecDeque<Finished>,
    succeeded: usize,
    next_serial: u64,
}

impl<W> Dedup<W> {
    /// At most `max_records` are held (0 = no de-duplication); a success is remembered for `window_ms`.
    pub fn new(max_records: usize, window_ms: u64) -> Self {
        Dedup {
            max_records,
            window_ms,
            records: HashMap::new(),
            finished: VecDeque::new(),
            succeeded: 0,
            next_serial: 0,
        }
    }

    /// Asks whether to deliver a message that arrived on `connection`.
    pub fn claim(&mut self, key: Key, fingerprint: u64, connection: u128, now_ms: u64) -> Claim {
        self.expire(now_ms);
        if let Some(record) = self.records.get(&key) {
            let same = record.fingerprint == fingerprint;
            match &record.state {
                State::InProgress(_) if same => return Claim::InProgress,
                State::InProgress(_) => return Claim::FreshUntracked,
                State::Succeeded { .. } => {
                    let resend = now_ms.saturating_sub(record.first_ms) <= RESEND_MS;
                    if same && (record.connection == connection || resend) {
                        return Claim::Duplicate;
                    }
                    self.remove(key);
                }
            }
        }
        while self.records.len() >= self.max_records {
            if !self.drop_oldest() {
                return Claim::FreshUntracked;
            }
        }
        let state = State::InProgress(Vec::new());
        self.records.insert(key, Record { fingerprint, connection, first_ms: now_ms, state });
        Claim::Fresh
    }

    /// Waits for the outcome, right after `Claim::InProgress`. Hands the waiter back when nothing is in progress.
    pub fn join(&mut self, key: Key, waiter: W) -> Option<W> {
        match self.records.get_mut(&key).map(|record| &mut record.state) {
            Some(State::InProgress(waiters)) => {
                waiters.push(waiter);
                None
            }
            _ => Some(waiter),
        }
    }

    /// The claimed message was delivered. Returns those who joined.
    pub fn succeed(&mut self, key: Key, now_ms: u64) -> Vec<W> {
        self.expire(now_ms);
        let Some(Record { state: state @ State::InProgress(_), .. }) = self.records.get_mut(&key) else {
            return Vec::new();
        };
        let serial = self.next_serial;
        self.next_serial += 1;
        let old = std::mem::replace(state, State::Succeeded { serial });
        self.finished.push_back(Finished { key, serial, expires_ms: now_ms.saturating_add(self.window_ms) });
        self.succeeded += 1;
        self.compact();
        match old {
            State::InProgress(waiters) => waiters,
            State::Succeeded { .. } => Vec::new(),
        }
    }

    /// The claimed message was not delivered: forgets it. Returns those who joined.
    pub fn fail(&mut self, key: Key) -> Vec<W> {
        match self.records.get(&key).map(|record| &record.state) {
            Some(State::InProgress(_)) => match self.records.remove(&key).map(|record| record.state) {
                Some(State::InProgress(waiters)) => waiters,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Records held, in progress and succeeded.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Forgets what is older than the window; the cost is that of the forgotten. Every claim does it too.
    pub fn expire(&mut self, now_ms: u64) {
        while self.finished.front().is_some_and(|oldest| oldest.expires_ms <= now_ms) {
            let Some(oldest) = self.finished.pop_front() else { break };
            if self.is_current(&oldest) {
                self.remove(oldest.key);
            }
        }
    }

    /// Drops the oldest success. False when there is none.
    fn drop_oldest(&mut self) -> bool {
        while let Some(oldest) = self.finished.pop_front() {
            if self.is_current(&oldest) {
                self.remove(oldest.key);
                return true;
            }
        }
        false
    }

    fn is_current(&self, entry: &Finished) -> bool {
        let state = self.records.get(&entry.key).map(|record| &record.state);
        matches!(state, Some(State::Succeeded { serial }) if *serial == entry.serial)
    }

    /// Removes a success and gives memory back after a mass of removals.
    fn remove(&mut self, key: Key) {
        self.records.remove(&key);
        self.succeeded -= 1;
        if self.records.capacity() > MIN_CAPACITY && self.records.len() < self.records.capacity() / 4 {
            self.records.shrink_to(self.records.len() * 2);
            self.finished.shrink_to(self.finished.len() * 2);
        }
    }

    /// Keeps stale entries fewer than live ones, so that one key claimed over and over cannot grow the queue.
    fn compact(&mut self) {
        if self.finished.len() > 2 * self.succeeded + 64 {
            let mut finished = std::mem::take(&mut self.finished);
            finished.retain(|entry| self.is_current(entry));
            self.finished = finished;
        }
    }
}

#[cfg(test)]
mod tests;
