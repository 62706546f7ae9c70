//! Counters of a run, shared by all connections and read while it goes on.

use super::histogram::Histogram;
use mics_client::ClientStats;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

#[derive(Default)]
pub(crate) struct Live {
    pub open: AtomicI64,
    pub ok: AtomicU64,
    pub failed: AtomicU64,
    /// Connections that ended before the run did.
    pub closed: AtomicU64,
    pub send_ok: AtomicU64,
    pub send_fail: AtomicU64,
    /// Acks SENT.
    pub ack_ok: AtomicU64,
    /// Acks FAILED, and messages whose ack never came.
    pub ack_fail: AtomicU64,
    /// Deliveries of this run, repeated ones included.
    pub deliveries: AtomicU64,
    /// Deliveries of this run, each message and receiver once.
    pub delivered: AtomicU64,
    pub duplicated: AtomicU64,
    pub out_of_order: AtomicU64,
    /// Deliveries that belong to another run (left in the offline buffer).
    pub foreign: AtomicU64,
    pub server_errors: AtomicU64,
    /// Events the tester itself could not take in time: its figures are then worth nothing.
    pub overflow: AtomicU64,
    pub connect: Histogram,
    pub ack: Histogram,
    pub delivery: Histogram,
    /// From the loss of a connection until it was open again.
    pub back: Histogram,
    /// When the first of them was lost and the last one open again, microseconds of the run.
    first_lost_us: OnceLock<u64>,
    last_back_us: AtomicU64,
    /// Messages due before this do not count for latency (warm-up).
    pub measure_from_us: AtomicU64,
    /// The run is closing its connections: what ends now was meant to.
    pub stopping: AtomicBool,
    close_codes: Mutex<BTreeMap<u16, u64>>,
    errors: Mutex<BTreeMap<String, u64>>,
    clients: Mutex<Vec<Arc<ClientStats>>>,
}

impl Live {
    /// Connection attempts that are over.
    pub fn attempts(&self) -> u64 {
        self.ok.load(Relaxed) + self.failed.load(Relaxed)
    }

    pub fn note_back(&self, lost_us: u64, back_us: u64) {
        self.back.record(back_us - lost_us);
        self.last_back_us.fetch_max(back_us, Relaxed);
    }

    /// From the first loss of a connection to the last return, in microseconds; 0 without any.
    pub fn all_back_us(&self) -> u64 {
        let lost = self.first_lost_us.get().copied().unwrap_or(u64::MAX);
        self.last_back_us.load(Relaxed).saturating_sub(lost)
    }

    pub fn note_lost(&self, now_us: u64) {
        self.closed.fetch_add(1, Relaxed);
        self.first_lost_us.get_or_init(|| now_us);
    }

    pub fn note_close(&self, code: u16) {
        *self.close_codes.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    pub fn note_error(&self, text: &str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(text.to_owned()).or_default() += 1;
    }

    pub fn add_client(&self, stats: Arc<ClientStats>) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).push(stats);
    }

    /// Heartbeats written by all clients.
    pub fn heartbeats(&self) -> u64 {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.iter().map(|c| c.snapshot().heartbeats_sent).sum()
    }

    /// The ten most frequent close codes.
    pub fn close_codes(&self) -> Vec<(u16, u64)> {
        top(&self.close_codes)
    }

    /// The ten most frequent errors.
    pub fn errors(&self) -> Vec<(String, u64)> {
        top(&self.errors)
    }
}

fn top<K: Ord + Clone>(counts: &Mutex<BTreeMap<K, u64>>) -> Vec<(K, u64)> {
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<_> = counts.iter().map(|(k, n)| (k.clone(), *n)).collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    all.truncate(10);
    all
}
