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
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::time::{DelayQueue, delay_queue};

const BEAT: Duration = Duration::from_secs(2);
/// A longer gap between two rounds means that the process was stopped or the clock was set.
const GAP: Duration = Duration::from_secs(15);
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

    /// `first`, which was due, and what else is due by now; all of it leaves the wheel.
    fn take_due(&mut self, first: String) -> Vec<String> {
        let mut batch = vec![first];
        while batch.len() < BATCH
            && let Some(Some(due)) = self.queue.next().now_or_never()
        {
            batch.push(due.into_inner());
        }
        for monitor_id in &batch {
            self.keys.remove(monitor_id);
        }
        batch
    }

    fn load(&mut self, deadlines: Vec<(String, Timestamp)>) {
        for (monitor_id, at) in deadlines {
            self.set(monitor_id, at);
        }
    }
}

/// Why the worker woke up.
enum Wake {
    Stop,
    Beat,
    /// A deadline to put in.
    Set(String, Timestamp),
    /// Announcements were missed: everything is to be read again.
    Lagged,
    /// Taken out of the wheel.
    Due(Vec<String>),
}

pub async fn run(app: App, pulse: Pulse) {
    let mut news = app.signals.subscribe_deadlines();
    let mut beat = tokio::time::interval(BEAT);
    let mut wheel = Wheel::default();
    wheel.load(all(&app).await);
    let mut last_round = Timestamp::now();
    loop {
        let wake = tokio::select! {
            () = app.stop.cancelled() => Wake::Stop,
            _ = beat.tick() => Wake::Beat,
            set = news.recv() => match set {
                Ok((monitor_id, at)) => Wake::Set(monitor_id, at),
                Err(RecvError::Closed) => Wake::Stop,
                Err(RecvError::Lagged(_)) => Wake::Lagged,
            },
            Some(first) = wheel.queue.next() => Wake::Due(wheel.take_due(first.into_inner())),
        };
        let now = Timestamp::now();
        let away = now.since(last_round) > GAP || now.was_set_back(last_round);
        last_round = now;
        match wake {
            Wake::Stop => return,
            // Nobody is late if we were away: what was sent meanwhile could not reach us.
            _ if away => wheel.load(restart_all(&app).await),
            Wake::Beat => pulse.beat(),
            Wake::Set(monitor_id, at) => wheel.set(monitor_id, at),
            Wake::Lagged => wheel.load(all(&app).await),
            Wake::Due(batch) => wheel.load(look_at(&app, batch).await),
        }
    }
}

/// Every armed deadline; tries until the store answers.
async fn all(app: &App) -> Vec<(String, Timestamp)> {
    loop {
        match app.read(monitors::deadlines).await {
            Ok(deadlines) => return deadlines,
            Err(error) => tracing::error!(%error, "could not read the deadlines"),
        }
        if !super::pause(app, Duration::from_secs(1)).await {
            return Vec::new();
        }
    }
}

/// Gives everybody a full interval and grace from now.
async fn restart_all(app: &App) -> Vec<(String, Timestamp)> {
    let restarted = app.write(|tx| monitors::restart_deadlines(tx, tx.now)).await;
    tracing::warn!(?restarted, "mkat was away: every heartbeat gets a full interval and grace");
    all(app).await
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
