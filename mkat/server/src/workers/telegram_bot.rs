//! Listens to Telegram: one poller per bot. Must not know what a command does (`bot_commands`).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::bot_commands::{self, Bot};
use crate::app::App;
use crate::domain::ChannelType;
use crate::domain::time::doubled;
use crate::error::Result;
use crate::liveness::Pulse;
use crate::notify::bot_api::{self, BotError, Update};
use crate::notify::telegram::Telegram;
use crate::notify::{Channel, Defaults};
use crate::signals::Event;
use crate::store::{contacts, settings};

/// How long the Bot API may hold a call for updates.
const LONG_POLL: Duration = Duration::from_secs(25);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Another program polls the same bot.
const CONFLICT_RETRY: Duration = Duration::from_secs(5);
const LONGEST_CONFLICT_RETRY: Duration = Duration::from_secs(300);
const TICK: Duration = Duration::from_secs(30);

/// A bot on a server of the Bot API: base address and token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BotKey {
    pub base: String,
    pub token: String,
}

impl BotKey {
    fn of(channel: &Telegram) -> Self {
        BotKey { base: channel.api_base.clone(), token: channel.token.clone() }
    }

    /// Where the offset of the updates is kept; without the secret.
    fn setting(&self) -> String {
        format!("telegram.offset.{}@{}", bot_api::bot_id(&self.token), self.base)
    }
}

pub async fn run(app: App, pulse: Pulse) {
    let mut changes = app.signals.subscribe();
    let mut pollers = Pollers::default();
    let mut stale = true;
    while !app.stop.is_cancelled() {
        pulse.beat();
        if stale {
            match channels(&app).await {
                Ok(channels) => {
                    pollers.adjust(&app, channels.iter().map(|(_, channel)| BotKey::of(channel)).collect());
                    stale = false;
                }
                Err(error) => tracing::error!(%error, "cannot read the Telegram channels"),
            }
        }
        tokio::select! {
            () = app.stop.cancelled() => {}
            () = tokio::time::sleep(TICK) => {}
            Some(_) = pollers.tasks.join_next() => {}
            event = changes.recv() => match event {
                Ok(Event::ContactsChanged) | Err(RecvError::Lagged(_)) => stale = true,
                Ok(_) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
    while pollers.tasks.join_next().await.is_some() {}
}

/// Enabled Telegram channels and their ids.
pub async fn channels(app: &App) -> Result<Vec<(String, Telegram)>> {
    let rows = app.read(contacts::channels).await?;
    let defaults = Defaults::from_config(&app.config);
    let telegram = rows.into_iter().filter(|row| row.is_enabled && row.kind == ChannelType::Telegram);
    let parsed = telegram.filter_map(|row| match Channel::parse(row.kind, &row.configuration, &defaults) {
        Ok(Channel::Telegram(channel)) => Some((row.id, channel)),
        _ => None,
    });
    Ok(parsed.collect())
}

#[derive(Default)]
struct Pollers {
    tasks: JoinSet<()>,
    running: HashMap<BotKey, CancellationToken>,
}

impl Pollers {
    /// Starts and ends pollers so that exactly the wanted bots are listened to.
    fn adjust(&mut self, app: &App, wanted: HashSet<BotKey>) {
        self.running.retain(|bot, stop| {
            let keep = wanted.contains(bot) && !stop.is_cancelled();
            if !keep {
                stop.cancel();
            }
            keep
        });
        for bot in wanted {
            if !self.running.contains_key(&bot) {
                let stop = app.stop.child_token();
                self.running.insert(bot.clone(), stop.clone());
                self.tasks.spawn(poll(app.clone(), bot, stop));
            }
        }
    }
}

/// Asks for updates until the bot is not wanted any more or its token is refused.
async fn poll(app: App, key: BotKey, stop: CancellationToken) {
    let bot = Bot::new(app.clone(), key.clone());
    let mut failures = 0;
    let mut offset = stored_offset(&app, &key).await;
    while !stop.is_cancelled() {
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = bot.api.updates(offset, LONG_POLL) => answer,
        };
        let wait = match answer {
            Ok(updates) => {
                failures = 0;
                offset = handle(&app, &bot, &key, updates, offset).await;
                continue;
            }
            // A token that was refused stays refused until somebody changes the channel.
            Err(error) if matches!(error.code(), Some(401 | 404)) => {
                tracing::error!(bot = ?bot.api, %error, "the bot's token is refused, not listening");
                stop.cancel();
                return;
            }
            Err(error) => {
                failures += 1;
                let wait = wait_after(&error, failures);
                tracing::warn!(bot = ?bot.api, %error, wait = wait.as_secs(), "cannot listen to the bot");
                wait
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn wait_after(error: &BotError, failures: u32) -> Duration {
    let (first, longest) = match error.code() {
        Some(409) => (CONFLICT_RETRY, LONGEST_CONFLICT_RETRY),
        _ => (FIRST_RETRY, LONGEST_RETRY),
    };
    if let BotError::Api { retry_after: Some(wait), .. } | BotError::Foreign { retry_after: Some(wait), .. } = error {
        return *wait;
    }
    doubled(first, failures.saturating_sub(1), longest)
}

async fn stored_offset(app: &App, key: &BotKey) -> i64 {
    let name = key.setting();
    match app.read(move |db| settings::get(db, &name)).await {
        Ok(offset) => offset.and_then(|text| text.parse().ok()).unwrap_or(0),
        Err(error) => {
            tracing::error!(%error, "cannot read the bot's offset");
            0
        }
    }
}

/// Handles updates in order and remembers each one, so that none is handled again after a restart. Returns the next offset.
async fn handle(app: &App, bot: &Bot, key: &BotKey, updates: Vec<Update>, mut offset: i64) -> i64 {
    for update in updates {
        offset = offset.max(update.update_id + 1);
        bot_commands::handle(bot, update).await;
        let name = key.setting();
        if let Err(error) = app.write(move |tx| settings::set(tx, &name, &offset.to_string())).await {
            tracing::error!(%error, "cannot store the bot's offset");
        }
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, retry_after: Option<Duration>) -> BotError {
        BotError::Api { code, description: String::new(), retry_after, migrate_to: None }
    }

    #[test]
    fn waits_grow_and_the_api_may_name_one() {
        assert_eq!(wait_after(&error(500, None), 1), FIRST_RETRY);
        assert_eq!(wait_after(&error(500, None), 99), LONGEST_RETRY);
        assert_eq!(wait_after(&error(409, None), 1), CONFLICT_RETRY);
        assert_eq!(wait_after(&error(409, None), 99), LONGEST_CONFLICT_RETRY);
        assert_eq!(wait_after(&error(429, Some(Duration::from_secs(9))), 5), Duration::from_secs(9));
    }
}
