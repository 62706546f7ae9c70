//! What people may do from Telegram: buttons under alerts and commands. Must not know polling.

use std::fmt::Write as _;

use super::telegram_bot::{self, BotKey};
use crate::app::App;
use crate::domain::{ServiceState, Timestamp};
use crate::engine::{self, mute, pause};
use crate::error::{Code, Error, Result};
use crate::notify::bot_api::{BotApi, CallbackQuery, Chat, IncomingMessage, SendMessage, Update, User};
use crate::notify::format::escape_html;
use crate::store::{Tx, alerts, outbox, services};
use tokio::sync::OnceCell;

const LIST_MAX: i64 = 50;
/// Room that the Bot API gives a message, less what markup and entities may add.
const REPLY_MAX: usize = 3800;
/// The Bot API shows at most 200 characters over a chat.
const NOTE_MAX: usize = 190;

const HELP: &str = "/status - how many services are in which state\n\
                    /list - services and their states\n\
                    /mute &lt;service&gt; &lt;duration&gt; - say nothing about a service, e.g. /mute api 30m (m, h, d)\n\
                    /unmute &lt;service&gt; - end its mutes\n\
                    /ack &lt;service&gt; - acknowledge its latest alert\n\
                    /pause &lt;service&gt; - stop watching a service\n\
                    /resume &lt;service&gt; - watch it again\n\
                    /help - this text";

/// One bot and where its updates lead.
pub struct Bot {
    pub api: BotApi,
    app: App,
    key: BotKey,
    /// Without `@`; asked once it matters.
    user_name: OnceCell<Option<String>>,
}

impl Bot {
    pub fn new(app: App, key: BotKey) -> Self {
        let api = BotApi::new(app.http.clone(), &key.base, &key.token);
        Bot { api, app, key, user_name: OnceCell::new() }
    }

    /// Ids of this bot's channels that are this chat. None: the chat has no say here.
    async fn channels_of(&self, chat: &Chat) -> Result<Vec<String>> {
        let channels = telegram_bot::channels(&self.app).await?;
        let own = channels.into_iter().filter(|(_, channel)| {
            channel.token == self.key.token && channel.api_base == self.key.base && channel.is_chat(chat)
        });
        Ok(own.map(|(id, _)| id).collect())
    }

    async fn is_me(&self, name: &str) -> bool {
        let own = self.user_name.get_or_try_init(|| self.api.user_name()).await;
        own.ok().and_then(Option::as_deref).is_some_and(|own| own.eq_ignore_ascii_case(name))
    }

    async fn reply(&self, to: &IncomingMessage, html: String) {
        let message = SendMessage {
            chat_id: to.chat.id.to_string(),
            text: html,
            parse_mode: Some("HTML"),
            message_thread_id: to.message_thread_id,
            disable_notification: false,
            reply_markup: None,
        };
        if let Err(error) = self.api.send_message(&message).await {
            tracing::warn!(bot = ?self.api, %error, "cannot answer");
        }
    }
}

pub async fn handle(bot: &Bot, update: Update) {
    if let Some(query) = update.callback_query {
        button(bot, query).await;
    } else if let Some(message) = update.message {
        command(bot, message).await;
    }
}

/// A button was pressed. Whatever happens, the query is answered exactly once.
async fn button(bot: &Bot, query: CallbackQuery) {
    let who = display_name(Some(&query.from));
    let pressed = match press(bot, &query, &who).await {
        Ok(pressed) => pressed,
        Err(error) => Pressed::note(explain(error)),
    };
    let note: String = pressed.note.chars().take(NOTE_MAX).collect();
    if let Err(error) = bot.api.answer_callback(&query.id, &note).await {
        tracing::warn!(bot = ?bot.api, %error, "cannot answer a button");
    }
    let Some(message) = query.message.as_ref() else { return };
    if pressed.settled
        && let Err(error) = bot.api.remove_keyboard(message.chat.id, message.message_id).await
    {
        tracing::warn!(bot = ?bot.api, %error, "cannot remove the buttons");
    }
    if let Some(html) = pressed.announce {
        bot.reply(message, html).await;
    }
}

/// What a button led to.
struct Pressed {
    /// Plain text for the one who pressed.
    note: String,
    /// The message needs its buttons no more.
    settled: bool,
    /// HTML for the whole chat.
    announce: Option<String>,
}

impl Pressed {
    fn note(note: impl Into<String>) -> Self {
        Pressed { note: note.into(), settled: false, announce: None }
    }
}

async fn press(bot: &Bot, query: &CallbackQuery, who: &str) -> Result<Pressed> {
    let Some(message) = &query.message else { return Ok(Pressed::note("This message is too old.")) };
    let channels = bot.channels_of(&message.chat).await?;
    if channels.is_empty() {
        tracing::warn!(chat = message.chat.id, "a button was pressed in a chat that is no channel");
        return Ok(Pressed::note("This chat may not do that."));
    }
    let data = query.data.clone().unwrap_or_default();
    let parts: Vec<&str> = data.split(':').collect();
    match parts.as_slice() {
        ["ack", alert] => acknowledge(bot, vec![(*alert).to_owned()], who).await,
        ["ackall"] => {
            let remote = message.message_id.to_string();
            let told = bot.app.read(move |db| outbox::alerts_of_message(db, &channels, &remote)).await?;
            acknowledge(bot, told, who).await
        }
        ["mute", service, minutes] => {
            let minutes = minutes.parse().ok().filter(|minutes| (1..=mute::MAX_MINUTES).contains(minutes));
            match minutes {
                Some(minutes) => mute_button(bot, (*service).to_owned(), minutes, who).await,
                None => Ok(Pressed::note("Unknown button.")),
            }
        }
        _ => Ok(Pressed::note("Unknown button.")),
    }
}

async fn acknowledge(bot: &Bot, ids: Vec<String>, who: &str) -> Result<Pressed> {
    if ids.is_empty() {
        return Ok(Pressed::note("These alerts are not known any more."));
    }
    let by = who.to_owned();
    let (done, names, before) = bot
        .app
        .write(move |tx| {
            let (mut done, mut names, mut before) = (0, Vec::new(), None);
            for id in &ids {
                let (first, alert) = engine::alerts::acknowledge(tx, id, &by)?;
                if first {
                    done += 1;
                    names.push(alert.service_name);
                } else {
                    before = alert.acknowledged_by;
                }
            }
            Ok((done, names, before))
        })
        .await?;
    if done == 0 {
        let by = before.map(|by| format!(" by {by}")).unwrap_or_default();
        return Ok(Pressed::note(format!("Already acknowledged{by}.")));
    }
    let what = if let [name] = names.as_slice() { name.clone() } else { format!("{done} alerts") };
    Ok(Pressed {
        note: "Acknowledged.".into(),
        settled: true,
        announce: Some(format!("\u{2714}\u{fe0f} {} acknowledged by {}", escape_html(&what), escape_html(who))),
    })
}

async fn mute_button(bot: &Bot, service_id: String, minutes: i64, who: &str) -> Result<Pressed> {
    let reason = format!("Telegram: {who}");
    let (name, until) = bot
        .app
        .write(move |tx| {
            let name = services::get(tx, &service_id)?.name;
            Ok((name, mute::mute(tx, &service_id, minutes, Some(&reason))?))
        })
        .await?;
    Ok(Pressed::note(format!("{name} is muted until {}.", until.for_people())))
}

/// A message may be a command. Other chats and other texts are ignored silently.
async fn command(bot: &Bot, message: IncomingMessage) {
    let text = message.text.clone().unwrap_or_default();
    let Some((name, arguments)) = parse(bot, &text).await else { return };
    match bot.channels_of(&message.chat).await {
        Ok(channels) if channels.is_empty() => return,
        Ok(_) => {}
        Err(error) => {
            tracing::error!(%error, "cannot look up the chat");
            return;
        }
    }
    let who = display_name(message.from.as_ref());
    let answer = match run(&bot.app, &name, arguments.trim().to_owned(), who).await {
        Ok(Some(html)) => html,
        Ok(None) => return,
        Err(error) => escape_html(&explain(error)),
    };
    bot.reply(&message, answer).await;
}

/// `/name` or `/name@bot`, and the rest. Commands to other bots are none of ours.
async fn parse(bot: &Bot, text: &str) -> Option<(String, String)> {
    let (word, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let word = word.strip_prefix('/')?;
    match word.split_once('@') {
        Some((name, to)) => bot.is_me(to).await.then(|| (name.to_lowercase(), rest.to_owned())),
        None => Some((word.to_lowercase(), rest.to_owned())),
    }
}

/// The answer as HTML; none for a command that is not ours.
async fn run(app: &App, name: &str, arguments: String, who: String) -> Result<Option<String>> {
    let answer = match name {
        "help" | "start" => HELP.to_owned(),
        "status" => status(app).await?,
        "list" => list(app).await?,
        "mute" => mute_command(app, &arguments, &who).await?,
        "unmute" => {
            on_service(app, arguments, "/unmute <service>", |tx, id, name| {
                let ended = mute::unmute(tx, id)?;
                Ok(format!("{name}: {ended} mute(s) ended."))
            })
            .await?
        }
        "ack" => {
            on_service(app, arguments, "/ack <service>", move |tx, id, name| match alerts::latest(tx, id)? {
                Some(alert) if engine::alerts::acknowledge(tx, &alert.id, &who)?.0 => {
                    Ok(format!("{name}: acknowledged."))
                }
                Some(_) => Ok(format!("{name}: already acknowledged.")),
                None => Ok(format!("{name} has no alert.")),
            })
            .await?
        }
        "pause" => {
            on_service(app, arguments, "/pause <service>", |tx, id, name| {
                pause::pause(tx, id, None, false)?;
                Ok(format!("{name} is paused."))
            })
            .await?
        }
        "resume" => {
            on_service(app, arguments, "/resume <service>", |tx, id, name| {
                pause::resume(tx, id, "resume")?;
                Ok(format!("{name} is watched again."))
            })
            .await?
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

async fn status(app: &App) -> Result<String> {
    let counts = app.read(services::count_by_state).await?;
    let mut text = format!("<b>{} services</b>", counts.iter().sum::<i64>());
    for state in ServiceState::ALL {
        let _ = write!(text, "\n{} {}: {}", symbol(*state), state.name(), counts[*state as usize]);
    }
    Ok(text)
}

async fn list(app: &App) -> Result<String> {
    let (rows, total) = app
        .read(|db| {
            let all = services::Filter::default();
            Ok((services::page(db, &all, LIST_MAX, 0)?, services::count(db, &all)?))
        })
        .await?;
    if rows.is_empty() {
        return Ok("There are no services.".into());
    }
    let mut text = String::new();
    let mut shown = 0;
    for row in &rows {
        let line = format!("{} {}\n", symbol(row.state), escape_html(&row.name));
        if text.len() + line.len() > REPLY_MAX {
            break;
        }
        text.push_str(&line);
        shown += 1;
    }
    if total > shown {
        let _ = write!(text, "... and {} more", total - shown);
    }
    Ok(text)
}

async fn mute_command(app: &App, arguments: &str, who: &str) -> Result<String> {
    const USAGE: &str = "/mute <service> <duration>";
    // Names may hold blanks: the last word is the duration.
    let Some((service, duration)) = arguments.rsplit_once(char::is_whitespace) else { return Ok(usage(USAGE)) };
    let Some(minutes) = minutes(duration) else {
        return Ok(escape_html("The duration must be a number and m, h or d, at most a year, e.g. 30m."));
    };
    let reason = format!("Telegram: {who}");
    on_service(app, service.trim().to_owned(), USAGE, move |tx, id, name| {
        let until = mute::mute(tx, id, minutes, Some(&reason))?;
        Ok(format!("{name} is muted until {}.", until.for_people()))
    })
    .await
}

/// Runs `work` on the service of that name (any case) and answers with its text.
async fn on_service(
    app: &App,
    name: String,
    usage_text: &str,
    work: impl FnOnce(&Tx<'_>, &str, &str) -> Result<String> + Send + 'static,
) -> Result<String> {
    if name.is_empty() {
        return Ok(usage(usage_text));
    }
    let text = app
        .write(move |tx| {
            let service = services::find_by_name_any_case(tx, &name)?
                .ok_or_else(|| Error::refused(Code::ServiceNotFound, format!("There is no service \"{name}\".")))?;
            work(tx, &service.id, &service.name)
        })
        .await?;
    Ok(escape_html(&text))
}

fn usage(text: &str) -> String {
    format!("Usage: {}", escape_html(text))
}

/// `Nm`, `Nh` or `Nd` in minutes.
fn minutes(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let number = &text[..text.len() - unit.len_utf8()];
    let factor = match unit.to_ascii_lowercase() {
        'm' => 1,
        'h' => 60,
        'd' => 1440,
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let minutes = number.parse::<i64>().ok()?.checked_mul(factor)?;
    (1..=mute::MAX_MINUTES).contains(&minutes).then_some(minutes)
}

fn symbol(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Up => "\u{2705}",
        ServiceState::Down => "\u{274c}",
        ServiceState::Paused => "\u{23f8}",
        ServiceState::Unknown => "\u{2753}",
    }
}

fn display_name(user: Option<&User>) -> String {
    let name = user.and_then(|user| match &user.username {
        Some(name) => Some(format!("@{name}")),
        None => user.first_name.clone(),
    });
    name.map_or_else(|| "somebody".into(), |name| name.chars().take(64).collect())
}

/// Plain text for people. What went wrong inside is for the log.
fn explain(error: Error) -> String {
    match error {
        Error::Refused { message, .. } => message,
        other => {
            tracing::error!(error = %other, at = %Timestamp::now(), "a Telegram command failed");
            "Something went wrong here, see mkat's log.".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(minutes("15m"), Some(15));
        assert_eq!(minutes("2H"), Some(120));
        assert_eq!(minutes("365d"), Some(525_600));
        for bad in ["", "abc", "m", "123", "0m", "-5m", "1.5h", "366d", "99999999999999999999d", "5\u{fc}", "+5m"] {
            assert_eq!(minutes(bad), None, "{bad}");
        }
    }
}
