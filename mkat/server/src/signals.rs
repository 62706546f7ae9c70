//! What the rest of the program hears after a commit. Nothing is said about work that was rolled back.

use crate::domain::{AlertType, EventType, ServiceState, Severity, Timestamp};
use tokio::sync::{Notify, broadcast};

/// A fact that was committed. The live stream shows most of them; workers wait for some.
#[derive(Debug, Clone)]
pub enum Event {
    StateChanged {
        service_id: String,
        name: String,
        from: ServiceState,
        to: ServiceState,
        at: Timestamp,
    },
    AlertCreated {
        alert_id: String,
        service_id: String,
        kind: AlertType,
        severity: Severity,
        message: String,
        muted: bool,
    },
    /// An alert was acknowledged.
    AlertAcknowledged {
        alert_id: String,
        service_id: String,
    },
    /// The first channel delivered the alert.
    AlertDelivered {
        alert_id: String,
        service_id: String,
    },
    /// A row of the outbox got a new status (sent, retried, dead).
    OutboxChanged {
        alert_id: String,
        channel_id: String,
    },
    /// A monitor was heard of: heartbeat, webhook or metric.
    Received {
        kind: EventType,
        monitor_id: String,
        service_id: String,
        value: Option<f64>,
        at: Timestamp,
    },
    /// Configuration of the service or of its monitors, mute windows or pause changed; also creation and deletion.
    ServiceChanged {
        service_id: String,
    },
    ContactsChanged,
    PeersChanged,
    /// An Alertmanager receiver was made, changed, deleted, or took alerts.
    ReceiversChanged,
    /// New rows are due in the outbox.
    OutboxReady,
    /// A monitor has a deadline that the timer wheel does not know yet.
    DeadlineSet {
        monitor_id: String,
        at: Timestamp,
    },
    /// The next end of a mute window or of a pause may have moved.
    ScheduleChanged,
}

/// The bus. Slow subscribers lose the oldest events (`Lagged`) and must read the store again.
#[derive(Debug)]
pub struct Signals {
    events: broadcast::Sender<Event>,
    deadlines: broadcast::Sender<(String, Timestamp)>,
    outbox: Notify,
    schedule: Notify,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            events: broadcast::channel(4096).0,
            deadlines: broadcast::channel(4096).0,
            outbox: Notify::new(),
            schedule: Notify::new(),
        }
    }
}

impl Signals {
    /// Called by the store after the commit.
    pub fn publish(&self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::OutboxReady => self.outbox.notify_one(),
                Event::ScheduleChanged => self.schedule.notify_one(),
                Event::DeadlineSet { monitor_id, at } => drop(self.deadlines.send((monitor_id, at))),
                // Nobody listening is not an error.
                other => drop(self.events.send(other)),
            }
        }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Deadlines that the timer wheel does not know yet.
    pub fn subscribe_deadlines(&self) -> broadcast::Receiver<(String, Timestamp)> {
        self.deadlines.subscribe()
    }

    /// Resolves when rows became due in the outbox; a call made meanwhile is remembered. One waiter: the dispatcher.
    pub async fn outbox_ready(&self) {
        self.outbox.notified().await;
    }

    /// Resolves when a mute window or a pause changed. One waiter: the schedule worker.
    pub async fn schedule_changed(&self) {
        self.schedule.notified().await;
    }
}
