//! All channels in one flat view, test messages, and the ledger of deliveries by alert and by channel.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::endpoint::{Access, Endpoint};
use super::input::{self, Fields, JsonObject};
use super::page::PageRequest;
use crate::app::App;
use crate::domain::{ChannelType, Timestamp};
use crate::error::{Code, Error, Result};
use crate::notify::{self, Channel, Message, Outcome, config};
use crate::store::alerts;
use crate::store::contacts::{self, ChannelRow};
use crate::store::outbox::{self, DeliveryRow};
use crate::workers::dispatcher;

pub fn endpoints() -> Vec<Endpoint> {
    const ONE: &str = "/api/v1/channels/{id}";
    let user = Access::User;
    vec![
        Endpoint::get("/api/v1/channels", user, "All channels of all contacts", |route| route.to(list))
            .returns("ChannelList"),
        Endpoint::get(ONE, user, "One channel", |route| route.to(get)).returns("Channel"),
        Endpoint::put(ONE, user, "Change a channel", |route| route.to(put)).body("ChannelUpdate").returns("Channel"),
        Endpoint::post("/api/v1/channels/{id}/test", user, "Send a test message", |route| route.to(test_by_id))
            .returns("TestResult"),
        Endpoint::get("/api/v1/channels/{id}/deliveries", user, "What a channel was asked to deliver", |route| {
            route.to(of_channel)
        })
        .query(&["page", "pageSize"])
        .returns("DeliveryPage"),
        Endpoint::get("/api/v1/alerts/{id}/deliveries", user, "What became of an alert, by channel", |route| {
            route.to(of_alert)
        })
        .returns("DeliveryList"),
    ]
}

async fn list(app: web::Data<App>) -> Result<HttpResponse> {
    let rows = app.read(contacts::channels).await?;
    Ok(HttpResponse::Ok().json(rows.iter().map(channel_json).collect::<Vec<_>>()))
}

async fn get(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let row = app.read(move |db| contacts::get_channel(db, &id)).await?;
    Ok(HttpResponse::Ok().json(channel_json(&row)))
}

async fn put(app: web::Data<App>, id: web::Path<String>, body: JsonObject) -> Result<HttpResponse> {
    update(&app, id.into_inner(), body).await
}

async fn test_by_id(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    test(&app, id.into_inner()).await
}

async fn of_channel(app: web::Data<App>, id: web::Path<String>, request: HttpRequest) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let page = PageRequest::read(&mut query);
    query.finish()?;
    let body = app
        .read(move |db| {
            contacts::get_channel(db, &id)?;
            let total = outbox::count_of_channel(db, &id)?;
            let rows = outbox::of_channel(db, &id, page.size, page.offset())?;
            Ok(page.envelope(rows.iter().map(delivery_json).collect(), total))
        })
        .await?;
    Ok(HttpResponse::Ok().json(body))
}

async fn of_alert(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let rows = app
        .read(move |db| {
            alerts::get(db, &id)?;
            outbox::of_alert(db, &id)
        })
        .await?;
    Ok(HttpResponse::Ok().json(rows.iter().map(delivery_json).collect::<Vec<_>>()))
}

/// `PUT`: configuration and isEnabled (true when absent). A channel of the environment can only be switched.
pub async fn update(app: &App, id: String, body: JsonObject) -> Result<HttpResponse> {
    let mut fields = Fields::new(body.0);
    let submitted = configuration(&mut fields);
    let enabled = fields.boolean("IsEnabled").unwrap_or(true);
    let stored = app.read({
        let id = id.clone();
        move |db| contacts::get_channel(db, &id)
    });
    let stored = if fields.is_fine() { stored.await? } else { return Err(refusal(fields)) };
    let merged = config::unmasked(&submitted, Some(&stored.configuration), Channel::fields(stored.kind));
    let checked = check(app, &mut fields, stored.kind, merged);
    fields.finish()?;
    let Some((text, target)) = checked else {
        return Err(Error::invalid_field("Configuration", "is not valid"));
    };
    let row = app
        .write(move |tx| {
            let now = contacts::get_channel(tx, &id)?;
            if now.managed && !config::same(&now.configuration, &text) {
                return Err(Error::refused(Code::ChannelManaged, "the configuration comes from the environment"));
            }
            // A secret that was kept must be the one that was checked.
            if now.configuration != stored.configuration {
                return Err(Error::refused(Code::Overloaded, "the channel was changed meanwhile, try again"));
            }
            contacts::update_channel(tx, &id, &text, &target, enabled)?;
            contacts::get_channel(tx, &id)
        })
        .await?;
    Ok(HttpResponse::Ok().json(channel_json(&row)))
}

fn refusal(fields: Fields) -> Error {
    fields.finish().err().unwrap_or_else(|| Error::internal("no mistake to report"))
}

/// `POST test`: really sends, and says what happened.
pub async fn test(app: &App, id: String) -> Result<HttpResponse> {
    let row = app.read(move |db| contacts::get_channel(db, &id)).await?;
    let sender = dispatcher::sender(app);
    let mut outcome = match Channel::parse(row.kind, &row.configuration, &sender.defaults) {
        Ok(channel) => channel.send(&sender, Message::Test).await,
        Err(problems) => Outcome::refused(problems.join("; ")),
    };
    if let Outcome::Moved { chat_id } = &outcome {
        outcome = follow(app, &sender, &row, chat_id).await?;
    }
    let (success, message) = match outcome {
        Outcome::Delivered { .. } => (true, "the test message was delivered".to_owned()),
        Outcome::Retry { reason, .. } | Outcome::Refused { reason } | Outcome::Permanent { reason } => (false, reason),
        Outcome::Moved { .. } => (false, "the chat keeps moving".to_owned()),
    };
    Ok(HttpResponse::Ok().json(json!({ "success": success, "message": message })))
}

/// The group became a supergroup: remembered, and tested there.
async fn follow(app: &App, sender: &notify::Sender, row: &ChannelRow, chat_id: &str) -> Result<Outcome> {
    let text = config::with_text(&row.configuration, "chatId", chat_id);
    let channel = match Channel::parse(row.kind, &text, &sender.defaults) {
        Ok(channel) => channel,
        Err(problems) => return Ok(Outcome::refused(problems.join("; "))),
    };
    let (id, target) = (row.id.clone(), channel.target());
    app.write(move |tx| contacts::move_channel(tx, &id, &text, &target)).await?;
    Ok(channel.send(sender, Message::Test).await)
}

/// The submitted configuration: JSON text, or the object itself.
pub fn configuration(fields: &mut Fields) -> String {
    match fields.raw("Configuration") {
        Some(Value::Object(object)) => Value::Object(object.clone()).to_string(),
        _ => fields.required_text("Configuration", config::MAX_LENGTH),
    }
}

/// The stored form of a configuration and its target; problems go to `fields`.
pub fn check(
    app: &App,
    fields: &mut Fields,
    kind: ChannelType,
    text: std::result::Result<String, Vec<String>>,
) -> Option<(String, String)> {
    if !fields.is_fine() {
        return None;
    }
    let defaults = notify::Defaults::from_config(&app.config);
    let checked = text.and_then(|text| {
        let channel = Channel::parse(kind, &text, &defaults)?;
        Ok((text, channel.target()))
    });
    match checked {
        Ok(checked) => Some(checked),
        Err(problems) => {
            problems.into_iter().for_each(|problem| fields.wrong("Configuration", problem));
            None
        }
    }
}

/// A channel as clients see it, secrets masked.
pub fn channel_json(row: &ChannelRow) -> Value {
    json!({
        "id": row.id,
        "contactId": row.contact_id,
        "contactName": row.contact_name,
        "type": row.kind,
        "configuration": config::masked(&row.configuration, Channel::fields(row.kind)),
        "isEnabled": row.is_enabled,
        "isManaged": row.managed,
        "disabledReason": row.disabled_reason,
        "failingSince": row.failing_since,
        "failureCount": row.failure_count,
        "lastSuccessAt": row.last_success_at,
        "lastError": row.last_error,
        "createdAt": row.created_at,
    })
}

fn delivery_json(row: &DeliveryRow) -> Value {
    let latency = row.sent_at.map(|sent: Timestamp| sent.since(row.created_at).as_millis() as u64);
    json!({
        "id": row.id,
        "alertId": row.alert_id,
        "serviceId": row.service_id,
        "channelId": row.channel_id,
        "channelType": row.channel_type,
        "contactId": row.contact_id,
        "contactName": row.contact_name,
        "status": row.status.name(),
        "attempts": row.attempts,
        "nextAttemptAt": row.next_attempt_at,
        "lastError": row.last_error,
        "possiblyRepeated": row.possibly_repeated,
        "createdAt": row.created_at,
        "sentAt": row.sent_at,
        "latencyMs": latency,
    })
}
