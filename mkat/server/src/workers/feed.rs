//! Turns committed facts into frames of the live stream.

use crate::app::App;
use crate::domain::{EventType, Timestamp};
use crate::liveness::Pulse;
use crate::signals::Event;
use crate::store::alerts;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

const BEAT: Duration = Duration::from_secs(5);
/// Received signals that are mentioned per second: enough for a living page, however many there are.
const MENTIONS: u32 = 20;

pub async fn run(app: App, pulse: Pulse) {
    let mut events = app.signals.subscribe();
    let mut mentions = Mentions { second: 0, count: 0 };
    loop {
        pulse.beat();
        tokio::select! {
            () = app.stop.cancelled() => return,
            () = tokio::time::sleep(BEAT) => {}
            event = events.recv() => match event {
                Ok(event) => tell(&app, event, &mut mentions).await,
                Err(RecvError::Lagged(_)) => app.feed.publish("reset", &json!({})),
                Err(RecvError::Closed) => return,
            },
        }
    }
}

struct Mentions {
    second: i64,
    count: u32,
}

impl Mentions {
    fn allow(&mut self, at: Timestamp) -> bool {
        let second = at.micros() / 1_000_000;
        if second != self.second {
            *self = Self { second, count: 0 };
        }
        self.count += 1;
        self.count <= MENTIONS
    }
}

async fn tell(app: &App, event: Event, mentions: &mut Mentions) {
    let (name, data) = match event {
        Event::Received { kind, monitor_id, service_id, value, at } => {
            if app.feed.listeners() > 0 && mentions.allow(at) {
                let data = json!({"monitorId": monitor_id, "serviceId": service_id, "value": value, "at": at});
                app.feed.mention(received(kind), &data);
            }
            return;
        }
        Event::AlertDelivered { alert_id, .. } => match delivered(app, alert_id).await {
            Some(data) => ("alert_dispatched", data),
            None => return,
        },
        other => match describe(other) {
            Some(described) => described,
            None => return,
        },
    };
    app.feed.publish(name, &data);
}

const fn received(kind: EventType) -> &'static str {
    match kind {
        EventType::HeartbeatReceived => "heartbeat",
        EventType::MetricIngested => "metric",
        _ => "received",
    }
}

fn describe(event: Event) -> Option<(&'static str, Value)> {
    Some(match event {
        Event::StateChanged { service_id, name, from, to, at } => (
            "state_change",
            json!({"serviceId": service_id, "serviceName": name, "from": from.name(), "to": to.name(), "at": at}),
        ),
        Event::AlertCreated { alert_id, service_id, kind, severity, message, muted } => (
            "alert_created",
            json!({"alertId": alert_id, "serviceId": service_id, "message": message, "severity": severity.name(),
                "type": kind.name(), "muted": muted}),
        ),
        Event::AlertAcknowledged { alert_id, service_id } => {
            ("alert_acknowledged", json!({"alertId": alert_id, "serviceId": service_id}))
        }
        Event::OutboxChanged { alert_id, channel_id } => {
            ("delivery", json!({"alertId": alert_id, "channelId": channel_id}))
        }
        Event::ServiceChanged { service_id } => ("service_changed", json!({ "serviceId": service_id })),
        Event::ContactsChanged => ("contacts_changed", json!({})),
        Event::PeersChanged => ("peer", json!({})),
        Event::ReceiversChanged => ("receivers_changed", json!({})),
        _ => return None,
    })
}

async fn delivered(app: &App, alert_id: String) -> Option<Value> {
    let found = app.read(move |db| alerts::find(db, &alert_id)).await;
    let alert = found.inspect_err(|error| tracing::warn!(%error, "a delivered alert is not shown live")).ok()??;
    Some(json!({
        "alertId": alert.id, "serviceId": alert.service_id, "message": alert.message,
        "severity": alert.severity.name(), "type": alert.kind.name(), "dispatchedAt": alert.dispatched_at,
    }))
}
