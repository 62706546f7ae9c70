//! Push URLs of other watchmen, so that jobs move here without new code: Healthchecks (`/ping/...`) and Uptime Kuma
//! (`/api/push/...`). The monitors are mkat's own; docs/mkat/moving.md tells how to bring their tokens along.

use super::input::{self, Body, Fields, JsonObject};
use super::receive::{find, unknown_token, wrong_type};
use super::{Access, Endpoint, origin};
use crate::app::App;
use crate::domain::state::Outcome;
use crate::domain::token::{hex, same_secret, sha256};
use crate::domain::{MonitorType, slug};
use crate::engine::{heartbeat, metric, services as engine, webhook};
use crate::error::{Error, Result};
use crate::store::monitors::{self, MonitorRow};
use crate::store::{Tx, services, settings};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

pub fn endpoints() -> Vec<Endpoint> {
    use Access::{Token, User};
    let ping = "Healthchecks: the job is done";
    let act = "Healthchecks: fail, start, log or an exit status; or the slug of a done job after the ping key";
    let by_slug = "Healthchecks: the same by ping key and slug";
    let push = "Uptime Kuma: status up or down";
    vec![
        Endpoint::get("/ping/{token}", Token, ping, |route| route.to(done)),
        Endpoint::post("/ping/{token}", Token, ping, |route| route.to(done)),
        Endpoint::get("/ping/{token}/{action}", Token, act, |route| route.to(acted)),
        Endpoint::post("/ping/{token}/{action}", Token, act, |route| route.to(acted)),
        Endpoint::get("/ping/{key}/{slug}/{action}", Token, by_slug, |route| route.to(acted_by_slug)),
        Endpoint::post("/ping/{key}/{slug}/{action}", Token, by_slug, |route| route.to(acted_by_slug)),
        Endpoint::get("/api/push/{token}", Token, push, |route| route.to(pushed))
            .query(&["status", "msg", "ping"])
            .returns("KumaPushed"),
        Endpoint::post("/api/push/{token}", Token, push, |route| route.to(pushed))
            .query(&["status", "msg", "ping"])
            .returns("KumaPushed"),
        Endpoint::put("/api/v1/ping-key", User, "Set the ping key of slug URLs", |route| route.to(set_key))
            .body("PingKey")
            .status(204),
        Endpoint::delete("/api/v1/ping-key", User, "Take no slug URLs any more", |route| route.to(remove_key)),
        Endpoint::post(
            "/api/v1/services/{serviceId}/monitors/{monitorId}/adopt-token",
            User,
            "Give a monitor the token that its job already uses; the old one ends now",
            |route| route.to(adopt),
        )
        .body("TokenInput")
        .returns("Monitor"),
    ]
}

/// Name of the setting with the hash of the ping key.
const PING_KEY: &str = "ping_key_hash";
/// Longest text of a caller that is kept, in characters.
const MESSAGE_MAX: usize = 1000;

/// What a push says.
enum Report {
    Outcome(Outcome),
    /// Worth writing down, changes nothing.
    Note(&'static str),
}

impl Report {
    /// The last segment of a Healthchecks URL; None when it is none of its words and no exit status.
    fn parse(action: &str) -> Option<Self> {
        match action {
            "fail" => Some(Self::Outcome(Outcome::Failure)),
            "start" => Some(Self::Note("started")),
            "log" => Some(Self::Note("log")),
            _ => match action.parse::<u8>().ok()? {
                0 => Some(Self::Outcome(Outcome::Success)),
                _ => Some(Self::Outcome(Outcome::Failure)),
            },
        }
    }
}

/// UUIDs with hyphens are mkat's tokens without them; everything else stays as it is.
fn plain(token: &str) -> String {
    match uuid::Uuid::parse_str(token) {
        Ok(id) if token.len() == 36 => id.simple().to_string(),
        _ => token.to_owned(),
    }
}

fn text(body: &[u8]) -> Option<String> {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(MESSAGE_MAX).collect();
    Some(text).filter(|text| !text.is_empty())
}

async fn done(app: web::Data<App>, token: web::Path<String>, Body(body): Body) -> Result<HttpResponse> {
    ping(&app, plain(&token), Report::Outcome(Outcome::Success), &body).await
}

async fn acted(app: web::Data<App>, path: web::Path<(String, String)>, Body(body): Body) -> Result<HttpResponse> {
    let (first, last) = path.into_inner();
    match Report::parse(&last) {
        Some(report) => ping(&app, plain(&first), report, &body).await,
        None => {
            let token = by_slug(&app, first, last).await?;
            ping(&app, token, Report::Outcome(Outcome::Success), &body).await
        }
    }
}

async fn acted_by_slug(
    app: web::Data<App>,
    path: web::Path<(String, String, String)>,
    Body(body): Body,
) -> Result<HttpResponse> {
    let (key, slug, action) = path.into_inner();
    let report = Report::parse(&action).ok_or_else(unknown_token)?;
    ping(&app, by_slug(&app, key, slug).await?, report, &body).await
}

/// Answers `OK` as Healthchecks does, once it is on disk.
async fn ping(app: &App, token: String, report: Report, body: &[u8]) -> Result<HttpResponse> {
    let message = text(body);
    app.write(move |tx| apply(tx, &find(tx, &token)?, &report, message.as_deref())).await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("OK"))
}

fn apply(tx: &Tx<'_>, monitor: &MonitorRow, report: &Report, message: Option<&str>) -> Result<()> {
    match (monitor.kind, report) {
        (MonitorType::Heartbeat | MonitorType::Webhook, Report::Note(what)) => {
            let message = message.map_or_else(|| (*what).to_owned(), |message| format!("{what}: {message}"));
            heartbeat::note(tx, monitor, &message)
        }
        (MonitorType::Heartbeat, Report::Outcome(Outcome::Success)) => {
            heartbeat::receive(tx, monitor, message).map(drop)
        }
        (MonitorType::Heartbeat, Report::Outcome(Outcome::Failure)) => heartbeat::fail(tx, monitor, message).map(drop),
        (MonitorType::Webhook, Report::Outcome(outcome)) => webhook::receive(tx, monitor, *outcome, message).map(drop),
        (kind, _) => Err(wrong_type(kind)),
    }
}

/// The token of the one heartbeat (else webhook) monitor of the service that `slug` names, for who knows the ping key.
async fn by_slug(app: &App, key: String, wanted: String) -> Result<String> {
    app.read(move |db| {
        // A wrong key and an unknown slug look the same from outside.
        let known = settings::get(db, PING_KEY)?.unwrap_or_default();
        if !same_secret(&known, &hex(&sha256(&key))) {
            return Err(unknown_token());
        }
        let mut named = services::names(db)?.into_iter().filter(|(_, name)| slug::slug(name) == wanted);
        let (service_id, _) = named.next().ok_or_else(unknown_token)?;
        if named.next().is_some() {
            return Err(Error::invalid_field("Slug", "several services have this slug; use the token"));
        }
        let all = monitors::of_service(db, &service_id)?;
        let of = |kind| all.iter().find(move |monitor: &&MonitorRow| monitor.kind == kind);
        let monitor = of(MonitorType::Heartbeat).or_else(|| of(MonitorType::Webhook)).ok_or_else(unknown_token)?;
        Ok(monitor.token.clone())
    })
    .await
}

/// `ping` (ms) is the value of a metric monitor; of the others it is only shown.
async fn pushed(request: HttpRequest, app: web::Data<App>, token: web::Path<String>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let status = query.text("Status").filter(|text| !text.is_empty()).unwrap_or_else(|| "up".into());
    // `ping=` without a value is what Kuma's own example sends.
    let value = query.text("Ping").filter(|text| !text.is_empty()).and_then(|_| query.number("Ping"));
    let message = query.text("Msg").and_then(|message| text(message.as_bytes()));
    let outcome = match status.as_str() {
        "up" => Outcome::Success,
        "down" => Outcome::Failure,
        _ => {
            query.wrong("Status", "must be up or down");
            Outcome::Failure
        }
    };
    query.finish()?;
    app.write(move |tx| {
        let monitor = find(tx, &token)?;
        if monitor.kind == MonitorType::Metric {
            let value = value.ok_or_else(|| Error::invalid_field("Ping", "a metric monitor needs a number"))?;
            return metric::ingest(tx, &monitor, value).map(drop);
        }
        let message = match (message, value) {
            (message, None) => message,
            (None, Some(value)) => Some(format!("{value} ms")),
            (Some(message), Some(value)) => Some(format!("{message} ({value} ms)")),
        };
        apply(tx, &monitor, &Report::Outcome(outcome), message.as_deref())
    })
    .await?;
    Ok(HttpResponse::Ok().json(json!({"ok": true})))
}

/// Only the hash is kept.
async fn set_key(app: web::Data<App>, JsonObject(body): JsonObject) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let key = secret(&mut fields, "Key", 16);
    fields.finish()?;
    app.write(move |tx| settings::set(tx, PING_KEY, &hex(&sha256(&key)))).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn remove_key(app: web::Data<App>) -> Result<HttpResponse> {
    app.write(|tx| settings::set(tx, PING_KEY, "")).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A text fit for a path, of `shortest` to 100 letters, digits, `-` and `_`.
fn secret(fields: &mut Fields, key: &str, shortest: usize) -> String {
    let text = fields.required_text(key, 100);
    if text.len() < shortest || !text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        fields.wrong(key, format!("must be {shortest} to 100 letters, digits, - and _"));
    }
    text
}

async fn adopt(
    request: HttpRequest,
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    JsonObject(body): JsonObject,
) -> Result<HttpResponse> {
    let (service_id, monitor_id) = path.into_inner();
    let mut fields = Fields::new(body);
    // The shortest that the others hand out: ten characters by older versions of Kuma.
    let token = plain(&secret(&mut fields, "Token", 10));
    fields.finish()?;
    let row = app
        .write(move |tx| engine::replace_token(tx, &engine::monitor_of(tx, &service_id, &monitor_id)?, &token))
        .await?;
    let base = origin::base_url(&request, &app.config);
    Ok(HttpResponse::Ok().json(super::view::MonitorView::new(row, &base)))
}
