//! Delivers what is due in the outbox: one task per channel, so that a slow channel delays only itself. Must not know how
//! a channel is spoken to (`notify`) or which rows are taken (`store::outbox`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::delivery_metrics::DeliveryMetrics;
use crate::app::App;
use crate::domain::time::doubled;
use crate::domain::{ChannelType, Timestamp};
use crate::error::{Error, Result};
use crate::liveness::Pulse;
use crate::notify::{self, Channel, Message, Outcome, Sender};
use crate::store::Tx;
use crate::store::contacts::{self, ChannelRow};
use crate::store::outbox::{self, Claimed};

/// Safety net beside the signal, and for clocks that jump.
const TICK: Duration = Duration::from_secs(5);
/// Longer than any message may take: a row is taken from a sender only when that sender is gone.
const LEASE: Duration = Duration::from_secs(60);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// A chat that keeps moving is asked no faster than this.
const MOVED_PAUSE: Duration = Duration::from_millis(200);

pub async fn run(app: App, pulse: Pulse) {
    let context = Arc::new(Context { sender: sender(&app), metrics: DeliveryMetrics::new(&app.metrics), app });
    while let Err(error) = context.prepare().await {
        tracing::error!(%error, "the outbox cannot be prepared");
        if !super::pause(&context.app, FIRST_RETRY).await {
            return;
        }
    }
    let mut lanes = Lanes::default();
    while !context.app.stop.is_cancelled() {
        pulse.beat();
        let wait = match context.round(&mut lanes).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(%error, "cannot look into the outbox");
                FIRST_RETRY
            }
        };
        tokio::select! {
            () = context.app.stop.cancelled() => {}
            () = context.app.signals.outbox_ready() => {}
            () = lanes.next_end() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    // A message that is on its way is finished and written down.
    lanes.end().await;
}

/// What senders need, with the process's settings as defaults.
pub fn sender(app: &App) -> Sender {
    let defaults = notify::Defaults::from_config(&app.config);
    Sender { http: app.http.clone(), instance: app.config.instance_name.clone(), defaults }
}

/// The channels that are being served.
#[derive(Default)]
struct Lanes {
    tasks: JoinSet<String>,
    running: HashMap<String, Lane>,
    /// When the outbox was last looked into.
    looked_at: Timestamp,
}

struct Lane {
    /// Version of the channel that the lane last heard of.
    updated_at: Timestamp,
    /// Ends the lane's pause: the channel was changed.
    nudge: Arc<Notify>,
}

impl Lanes {
    /// Resolves when a lane ended; never while there is none.
    async fn next_end(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(channel)) => {
                self.running.remove(&channel);
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a channel's task panicked");
                // Nobody says which one it was: those that are done are forgotten when they are due again.
                self.running.retain(|_, lane| Arc::strong_count(&lane.nudge) > 1);
            }
            None => std::future::pending().await,
        }
    }

    async fn end(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

struct Context {
    app: App,
    sender: Sender,
    metrics: DeliveryMetrics,
}

impl Context {
    /// Brings the managed channel in step with the environment and takes over what an earlier process left.
    async fn prepare(&self) -> Result<()> {
        let wanted = self.managed_channel();
        let repeated = self
            .app
            .write(move |tx| {
                let wanted =
                    wanted.as_ref().map(|(text, target)| (ChannelType::Telegram, text.as_str(), target.as_str()));
                contacts::sync_managed(tx, wanted)?;
                outbox::hurry_all(tx)?;
                outbox::reclaim(tx, true)
            })
            .await?;
        if repeated > 0 {
            tracing::warn!(deliveries = repeated, "deliveries were cut off by the last stop; they may be repeated");
        }
        Ok(())
    }

    /// Configuration and target of the environment's channel.
    fn managed_channel(&self) -> Option<(String, String)> {
        let (token, chat) = self.app.config.telegram.default_channel.as_ref()?;
        let text = serde_json::json!({ "botToken": token, "chatId": chat }).to_string();
        match Channel::parse(ChannelType::Telegram, &text, &self.sender.defaults) {
            Ok(channel) => Some((text, channel.target())),
            Err(problems) => {
                let problems = problems.join("; ");
                tracing::error!(problems, "MKAT_TELEGRAM_BOT_TOKEN and MKAT_TELEGRAM_CHAT_ID make no channel");
                None
            }
        }
    }

    /// Starts a lane for every channel with work and says how long nothing else is due.
    async fn round(self: &Arc<Self>, lanes: &mut Lanes) -> Result<Duration> {
        let now = Timestamp::now();
        if now.was_set_back(lanes.looked_at) {
            self.app.write(outbox::hurry_all).await?;
        }
        lanes.looked_at = now;
        let (due, next, expired, waiting) = self
            .app
            .read(move |db| {
                let (due, next) = (outbox::due_channels(db, now)?, outbox::next_due(db, now)?);
                Ok((due, next, outbox::expired(db, now)?, outbox::waiting(db)?))
            })
            .await?;
        self.metrics.waiting.set(waiting);
        if expired {
            self.app.write(|tx| outbox::reclaim(tx, false)).await?;
        }
        for (channel_id, updated_at) in due {
            match lanes.running.get_mut(&channel_id) {
                Some(lane) if lane.updated_at != updated_at => {
                    lane.updated_at = updated_at;
                    lane.nudge.notify_one();
                }
                Some(_) => {}
                None => {
                    let nudge = Arc::new(Notify::new());
                    lanes.running.insert(channel_id.clone(), Lane { updated_at, nudge: nudge.clone() });
                    let context = self.clone();
                    lanes.tasks.spawn(async move {
                        context.serve(&channel_id, &nudge).await;
                        channel_id
                    });
                }
            }
        }
        Ok(next.map_or(TICK, |at| at.since(now).min(TICK)))
    }

    /// Sends what waits for one channel, a few messages at a time, until nothing is due.
    async fn serve(&self, channel_id: &str, nudge: &Notify) {
        while !self.app.stop.is_cancelled() {
            let wait = match self.messages(channel_id).await {
                Ok(Some(wait)) => wait,
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, channel = channel_id, "the outbox cannot be written");
                    FIRST_RETRY
                }
            };
            tokio::select! {
                () = self.app.stop.cancelled() => {}
                () = nudge.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sends until nothing is due (none), or until the channel is to be left alone for a while.
    async fn messages(&self, channel_id: &str) -> Result<Option<Duration>> {
        let (id, defaults) = (channel_id.to_owned(), self.sender.defaults.clone());
        let mut claimed = self.app.write(move |tx| claim(tx, &id, false, &defaults)).await?;
        let mut singly = false;
        while let Some(Taken { row, channel, messages }) = claimed {
            // No two of them are about the same service, so it does not matter which arrives first.
            let sent = join_all(messages.into_iter().map(|rows| self.deliver(&row, &channel, rows))).await;
            singly |= sent.iter().any(|sent| sent.rows.len() > 1 && matches!(sent.outcome, Outcome::Refused { .. }));
            match self.record(row, sent, singly).await? {
                Next::Nothing => return Ok(None),
                Next::Messages(next) => claimed = Some(*next),
                Next::Pause(wait) => return Ok(Some(wait)),
            }
        }
        Ok(None)
    }

    async fn deliver(&self, row: &ChannelRow, channel: &Channel, rows: Vec<Claimed>) -> Sent {
        let notices: Vec<_> = rows.iter().map(|row| row.notice.clone()).collect();
        let outcome = channel.send(&self.sender, Message::Alerts(&notices)).await;
        self.metrics.count(row.kind, &outcome, &rows);
        log(row, rows.len(), &outcome);
        Sent { rows, outcome }
    }

    /// Writes down what became of messages and takes the next, in one transaction. The writer may be busy; no message must
    /// be sent twice because of that.
    async fn record(&self, row: ChannelRow, sent: Vec<Sent>, singly: bool) -> Result<Next> {
        let work = Arc::new((row, sent));
        let mut tries = 0;
        loop {
            let (job, defaults) = (work.clone(), self.sender.defaults.clone());
            let stop = self.app.stop.clone();
            let written = self.app.write(move |tx| {
                let next = settle(tx, &job.0, &job.1, &defaults)?;
                match next {
                    // What is claimed now would not be sent any more.
                    Settled::Again if stop.is_cancelled() => Ok(Next::Nothing),
                    Settled::Again => Ok(match claim(tx, &job.0.id, singly, &defaults)? {
                        Some(taken) => Next::Messages(Box::new(taken)),
                        None => Next::Nothing,
                    }),
                    Settled::Pause(wait) => Ok(Next::Pause(wait)),
                    Settled::Closed => Ok(Next::Nothing),
                }
            });
            match written.await {
                Err(Error::Overloaded | Error::Database(_)) if tries < 100 => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                done => return done,
            }
        }
    }
}

/// Messages that were claimed: their channel as stored and as parsed, and the alerts of each.
struct Taken {
    row: ChannelRow,
    channel: Channel,
    messages: Vec<Vec<Claimed>>,
}

/// A message's alerts, and what became of it.
struct Sent {
    rows: Vec<Claimed>,
    outcome: Outcome,
}

/// Takes the next rows of the channel; none when nothing is due or the channel is gone, off or unusable.
fn claim(tx: &Tx<'_>, id: &str, singly: bool, defaults: &notify::Defaults) -> Result<Option<Taken>> {
    let Some(row) = contacts::find_channel(tx, id)?.filter(|row| row.is_enabled) else { return Ok(None) };
    let channel = match Channel::parse(row.kind, &row.configuration, defaults) {
        Ok(channel) => channel,
        Err(problems) => {
            contacts::close_channel(tx, id, &format!("configuration: {}", problems.join("; ")))?;
            return Ok(None);
        }
    };
    let size = if singly { 1 } else { channel.alerts_per_message() };
    let rows = outbox::claim(tx, id, size * channel.messages_at_once(), LEASE)?;
    let messages: Vec<_> = rows.chunks(size).map(<[Claimed]>::to_vec).collect();
    Ok((!messages.is_empty()).then_some(Taken { row, channel, messages }))
}

fn log(row: &ChannelRow, alerts: usize, outcome: &Outcome) {
    let (channel, kind) = (row.id.as_str(), row.kind.name());
    match outcome {
        Outcome::Delivered { .. } => tracing::info!(channel, kind, alerts, "delivered"),
        Outcome::Retry { reason, .. } | Outcome::Refused { reason } | Outcome::Permanent { reason } => {
            tracing::warn!(channel, kind, alerts, reason, "not delivered");
        }
        Outcome::Moved { .. } => tracing::info!(channel, kind, "the chat has a new id"),
    }
}

/// What a lane does next.
enum Next {
    Nothing,
    Messages(Box<Taken>),
    Pause(Duration),
}

/// What a recorded outcome means for the channel.
enum Settled {
    Again,
    Pause(Duration),
    Closed,
}

/// Of messages that were sent together: first what arrived, then what was not taken, last what concerns the channel.
fn settle(tx: &Tx<'_>, channel: &ChannelRow, sent: &[Sent], defaults: &notify::Defaults) -> Result<Settled> {
    let id = channel.id.as_str();
    for Sent { rows, outcome } in sent {
        match outcome {
            Outcome::Delivered { remote_id } => outbox::sent(tx, id, rows, remote_id.as_deref())?,
            // One of them is not acceptable: they are sent one by one.
            Outcome::Refused { reason } if rows.len() > 1 => {
                outbox::failed(tx, id, rows, tx.now, reason, false)?;
            }
            Outcome::Refused { reason } => outbox::refused(tx, id, rows, reason)?,
            Outcome::Retry { .. } | Outcome::Permanent { .. } | Outcome::Moved { .. } => {}
        }
    }
    if sent.iter().any(|sent| matches!(sent.outcome, Outcome::Delivered { .. })) {
        contacts::worked(tx, id)?;
    }
    let closed = sent.iter().find_map(|sent| match &sent.outcome {
        Outcome::Permanent { reason } => Some(reason),
        _ => None,
    });
    if let Some(reason) = closed {
        contacts::close_channel(tx, id, reason)?;
        return Ok(Settled::Closed);
    }
    let pauses = [follow(tx, channel, sent, defaults)?, postpone(tx, id, sent)?];
    Ok(pauses.into_iter().flatten().max().map_or(Settled::Again, Settled::Pause))
}

/// The chat moved: the channel goes with it, and what was not taken is due again. None when it did not move.
fn follow(tx: &Tx<'_>, channel: &ChannelRow, sent: &[Sent], defaults: &notify::Defaults) -> Result<Option<Duration>> {
    let id = channel.id.as_str();
    let mut pause = None;
    for Sent { rows, outcome } in sent {
        let Outcome::Moved { chat_id } = outcome else { continue };
        outbox::failed(tx, id, rows, tx.now, "the chat has a new id", false)?;
        if pause.replace(MOVED_PAUSE).is_some() {
            continue;
        }
        let configuration = notify::config::with_text(&channel.configuration, "chatId", chat_id);
        match Channel::parse(channel.kind, &configuration, defaults) {
            Ok(moved) => contacts::move_channel(tx, id, &configuration, &moved.target())?,
            Err(problems) => tracing::warn!(channel = id, ?problems, "the new chat id makes no channel"),
        }
    }
    Ok(pause)
}

/// What did not arrive is due again, all of it after the longest wait that was asked for. However many messages went out
/// together, the channel stumbled once. None when nothing is to be sent again.
fn postpone(tx: &Tx<'_>, id: &str, sent: &[Sent]) -> Result<Option<Duration>> {
    let again: Vec<_> = sent
        .iter()
        .filter_map(|sent| match &sent.outcome {
            Outcome::Retry { after, reason, maybe_arrived } => Some((&sent.rows, *after, reason, *maybe_arrived)),
            _ => None,
        })
        .collect();
    let Some((_, _, reason, _)) = again.first() else { return Ok(None) };
    let failures = contacts::stumbled(tx, id, reason)?;
    let wait = again.iter().filter_map(|(_, after, ..)| *after).max().unwrap_or_else(|| backoff(failures));
    for (rows, _, reason, maybe_arrived) in again {
        let given_up = outbox::failed(tx, id, rows, tx.now.plus(wait), reason, maybe_arrived)?;
        if given_up > 0 {
            tracing::error!(channel = id, alerts = given_up, reason, "given up");
        }
    }
    Ok(Some(wait))
}

/// 1 s, 2 s, 4 s ... 5 min after the first, second ... failure in a row, give or take a fifth.
fn backoff(failures: i64) -> Duration {
    let doublings = u32::try_from(failures.clamp(1, 20) - 1).unwrap_or(0);
    let wait = doubled(FIRST_RETRY, doublings, LONGEST_RETRY);
    wait.mul_f64(rand::random_range(0.8..1.2)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        for (failures, seconds) in [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (9, 256.0)] {
            let wait = backoff(failures).as_secs_f64();
            assert!((seconds * 0.79..seconds * 1.21).contains(&wait), "{failures}: {wait}");
        }
        assert!(backoff(1000) <= LONGEST_RETRY && backoff(1000) > LONGEST_RETRY.mul_f64(0.7));
        assert!(backoff(0) < Duration::from_secs(2));
    }
}
