//! Who is still working: every worker beats, readiness asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// A worker is stale when it was silent for longer than it promised.
#[derive(Debug, Default)]
pub struct Liveness {
    workers: Mutex<BTreeMap<&'static str, Entry>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    last: Instant,
    max_silence: Duration,
    restarts: u64,
}

/// State of one worker.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerState {
    pub name: &'static str,
    pub alive: bool,
    pub silent_ms: u64,
    pub restarts: u64,
}

/// Handle of one worker.
#[derive(Debug, Clone)]
pub struct Pulse {
    name: &'static str,
    liveness: Arc<Liveness>,
}

impl Pulse {
    /// "I went round once more." To be called more often than the promised silence.
    pub fn beat(&self) {
        if let Some(entry) = self.liveness.lock().get_mut(self.name) {
            entry.last = Instant::now();
        }
    }
}

impl Liveness {
    pub fn register(self: &Arc<Self>, name: &'static str, max_silence: Duration) -> Pulse {
        self.lock()
            .entry(name)
            .and_modify(|entry| {
                entry.restarts += 1;
                entry.last = Instant::now();
            })
            .or_insert(Entry { last: Instant::now(), max_silence, restarts: 0 });
        Pulse { name, liveness: self.clone() }
    }

    pub fn states(&self) -> Vec<WorkerState> {
        self.lock()
            .iter()
            .map(|(name, entry)| {
                let silent = entry.last.elapsed();
                WorkerState {
                    name,
                    alive: silent <= entry.max_silence,
                    silent_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX),
                    restarts: entry.restarts,
                }
            })
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Entry>> {
        self.workers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
