//! Sends heartbeats to paired instances and tells them when our notifications are broken.

use crate::app::App;
use crate::domain::Timestamp;
use crate::error::Result;
use crate::liveness::Pulse;
use crate::notify::http;
use crate::signals::Event;
use crate::store::contacts;
use crate::store::peers::{self, PeerRow};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::JoinHandle;

const TICK: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);
/// A report that did not arrive is sent again after this time.
const REPORT_AGAIN: i64 = 10;

/// What runs for one peer. A dead peer keeps only its own task waiting.
#[derive(Default)]
struct Running {
    task: Option<JoinHandle<()>>,
    reported_at: Option<Timestamp>,
}

pub async fn run(app: App, pulse: Pulse) {
    let mut running: HashMap<String, Running> = HashMap::new();
    loop {
        pulse.beat();
        if let Err(error) = round(&app, &mut running).await {
            tracing::error!(%error, "could not look after the peers");
        }
        if !super::pause(&app, TICK).await {
            return;
        }
    }
}

async fn round(app: &App, running: &mut HashMap<String, Running>) -> Result<()> {
    let now = Timestamp::now();
    let (found, unreachable) = app.read(move |db| Ok((peers::list(db)?, contacts::unreachable(db, now)?))).await?;
    running.retain(|id, _| found.iter().any(|peer| peer.id == *id));
    for peer in found {
        let slot = running.entry(peer.id.clone()).or_default();
        if slot.task.as_ref().is_some_and(|task| !task.is_finished()) {
            continue;
        }
        // A peer that has just been paired may still be writing down our token.
        let settled = is_due(Some(peer.paired_at), 2, now);
        let beat = settled && !peer.heartbeat_token.is_empty() && is_due(peer.last_sent_at, peer.interval_seconds, now);
        let broken = !unreachable.is_empty();
        let report = settled
            && !peer.webhook_token.is_empty()
            && peer.reported_broken != broken
            && is_due(slot.reported_at, REPORT_AGAIN, now);
        if report {
            slot.reported_at = Some(now);
        }
        if beat || report {
            let (app, unreachable) = (app.clone(), unreachable.clone());
            slot.task = Some(tokio::spawn(async move {
                if report {
                    report_health(&app, &peer, &unreachable).await;
                }
                if beat {
                    send_heartbeat(&app, &peer).await;
                }
            }));
        }
    }
    Ok(())
}

fn is_due(last: Option<Timestamp>, every_seconds: i64, now: Timestamp) -> bool {
    // A clock that was set back must not silence us.
    last.is_none_or(|last| last.plus_seconds(every_seconds) <= now || last > now.plus_seconds(60))
}

/// What a request to a peer came to.
enum Sent {
    Taken,
    Forgotten,
    Failed(String),
}

async fn send(app: &App, url: String, body: &Value) -> Sent {
    match http::exchange(app.http.post(url).json(body), TIMEOUT).await {
        Ok(answer) if answer.is_success() => Sent::Taken,
        Ok(answer) if answer.status == 404 => Sent::Forgotten,
        Ok(answer) => Sent::Failed(format!("answered {}", answer.status)),
        Err(error) => Sent::Failed(error.reason),
    }
}

async fn send_heartbeat(app: &App, peer: &PeerRow) {
    let sent = send(app, format!("{}/heartbeat/{}", peer.url, peer.heartbeat_token), &json!({})).await;
    let (error, forgotten) = match sent {
        Sent::Taken => (None, false),
        Sent::Forgotten => (Some("the peer does not know us any more: pair again".to_owned()), true),
        Sent::Failed(reason) => (Some(reason), peer.forgotten),
    };
    let news = error != peer.last_error;
    if news {
        tracing::info!(peer = peer.name, ?error, "heartbeats to the peer");
    }
    let id = peer.id.clone();
    let stored = app
        .write(move |tx| {
            peers::set_sent(tx, &id, error.as_deref(), forgotten, tx.now)?;
            if news {
                tx.emit(Event::PeersChanged);
            }
            Ok(())
        })
        .await;
    if let Err(error) = stored {
        tracing::error!(%error, "could not note a heartbeat to a peer");
    }
}

/// Tells a peer that we cannot reach our contacts, or that we can again. Remembered when the peer has taken it.
async fn report_health(app: &App, peer: &PeerRow, unreachable: &[String]) {
    let (action, message) = if unreachable.is_empty() {
        ("recover", format!("{} can notify again", app.config.instance_name))
    } else {
        ("fail", format!("{} runs but cannot notify: {}", app.config.instance_name, unreachable.join(", ")))
    };
    let url = format!("{}/webhook/{}/{action}", peer.url, peer.webhook_token);
    match send(app, url, &json!({ "message": message })).await {
        Sent::Taken => {}
        Sent::Forgotten => return tracing::warn!(peer = peer.name, "the peer does not know us any more"),
        Sent::Failed(reason) => return tracing::warn!(peer = peer.name, reason, "the peer did not take our report"),
    }
    tracing::info!(peer = peer.name, action, "told the peer how our notifications are");
    let (id, broken) = (peer.id.clone(), !unreachable.is_empty());
    let stored = app
        .write(move |tx| {
            peers::set_reported_broken(tx, &id, broken)?;
            tx.emit(Event::PeersChanged);
            Ok(())
        })
        .await;
    if let Err(error) = stored {
        tracing::error!(%error, "could not note a report to a peer");
    }
}
