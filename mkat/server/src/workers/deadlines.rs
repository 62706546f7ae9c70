//! The timer wheel of heartbeats: one entry per waiting monitor, looked at when its time comes.
//!
//! A heartbeat only moves the deadline in the store. When an entry is due, the store is asked: if the deadline has moved
//! on, the entry is put in again, else the monitor is late. So the wheel costs nothing per heartbeat.

use crate::app::App;
use crate::domain::Timestamp;
use crate::engine::heartbeat;
use crate::error::Result;
use crate::liveness::Pulse;
use crate::store::monitors;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::time::{DelayQueue, delay_queue};

const BEAT: Duration = Duration::from_secs(10);
/// Entries are looked at no later than this, so that a set clock does no harm.
const LONGEST: Duration = Duration::from_secs(60);
/// How many due monitors are looked at in one transaction.
const BATCH: usize = 256;

#[derive(Default)]
struct Wheel {
    queue: DelayQueue<String>,
    keys: HashMap<String, delay_queue::Key>,
}

impl Wheel {
    fn set(&mut self, monitor_id: String, at: Timestamp) {
        let wait = at.since(Timestamp::now()).min(LONGEST);
        if let Some(key) = self.keys.get(&monitor_id) {
            self.queue.reset(key, wait);
        } else {
            let key = self.queue.insert(monitor_id.clone(), wait);
            self.keys.insert(monitor_id, key);
        }
    }

    fn load(&mut self, deadlines: Vec<(String, Timestamp)>) {
        for (monitor_id, at) in deadlines {
            self.set(monitor_id, at);
        }
    }
}

pub async fn run(app: App, pulse: Pulse) {
    let mut news = app.signals.subscribe_deadlines();
    let mut wheel = Wheel::default();
    match app.read(monitors::deadlines).await {
        Ok(deadlines) => wheel.load(deadlines),
        Err(error) => return tracing::error!(%error, "could not read the deadlines"),
    }
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            () = app.stop.cancelled() => return,
            _ = beat.tick() => pulse.beat(),
            set = news.recv() => match set {
                Ok((monitor_id, at)) => wheel.set(monitor_id, at),
                Err(RecvError::Closed) => return,
                // Some entries may be missing now: read them all again.
                Err(RecvError::Lagged(_)) => match app.read(monitors::deadlines).await {
                    Ok(deadlines) => wheel.load(deadlines),
                    Err(error) => return tracing::error!(%error, "could not read the deadlines"),
                },
            },
            Some(due) = wheel.queue.next() => {
                let mut batch = vec![due.into_inner()];
                while batch.len() < BATCH && let Some(Some(due)) = futures_util::FutureExt::now_or_never(wheel.queue.next()) {
                    batch.push(due.into_inner());
                }
                for monitor_id in &batch {
                    wheel.keys.remove(monitor_id);
                }
                let next = look_at(&app, batch).await;
                wheel.load(next);
            }
        }
    }
}

/// Marks the late ones and returns the new deadlines of the others.
async fn look_at(app: &App, batch: Vec<String>) -> Vec<(String, Timestamp)> {
    let retry: Vec<_> = batch.iter().map(|id| (id.clone(), Timestamp::now().plus_seconds(1))).collect();
    let looked: Result<Vec<_>> = app
        .write(move |tx| {
            let mut waiting = Vec::new();
            for monitor_id in batch {
                if let Some(at) = heartbeat::check_deadline(tx, &monitor_id)? {
                    waiting.push((monitor_id, at));
                }
            }
            Ok(waiting)
        })
        .await;
    looked.unwrap_or_else(|error| {
        tracing::error!(%error, "could not look at due heartbeats, trying again in a second");
        retry
    })
}
