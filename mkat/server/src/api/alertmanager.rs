//! The receiver that Prometheus Alertmanager posts to, and the settings of receivers.

use super::input::{self, Fields, JsonObject};
use super::origin::{base_url, client_address};
use super::throttle::Throttle;
use super::{Access, Endpoint, auth};
use crate::app::App;
use crate::domain::labels::{self, Labels};
use crate::domain::{Timestamp, token};
use crate::engine::alertmanager::{self as engine, Incoming};
use crate::error::{Code, Error, Result};
use crate::store::alertmanager::{self as store, AlertRow, ReceiverRow, ReceiverSettings};
use crate::store::{monitors, services};
use actix_web::{HttpRequest, HttpResponse, web};
use rusqlite::Connection;
use serde_json::{Value, json};

/// A storm of alerts comes in one body, and Alertmanager does not send a refused one again.
const BODY_MAX: usize = 8 * 1024 * 1024;
const ALERTS_MAX: usize = 10_000;
const LABELS_MAX: usize = 200;
const LABEL_MAX: usize = 4_096;
const SUMMARY_MAX: usize = 400;
const FINGERPRINT_MAX: usize = 100;
const WEEK: i64 = 604_800;

/// Wrong bearer secrets by address.
static STRANGERS: Throttle = Throttle::new();

pub fn endpoints() -> Vec<Endpoint> {
    use Access::{Token, User};
    vec![
        Endpoint::post("/alertmanager/{token}", Token, "Webhook of Prometheus Alertmanager", |route| route.to(receive))
            .body("AlertmanagerMessage")
            .returns("AlertmanagerReceived"),
        Endpoint::get("/api/v1/alertmanager/receivers", User, "List receivers", |route| route.to(list))
            .returns("AlertmanagerReceivers"),
        Endpoint::post("/api/v1/alertmanager/receivers", User, "Create a receiver", |route| route.to(create))
            .body("AlertmanagerReceiverInput")
            .returns("AlertmanagerReceiver")
            .status(201),
        Endpoint::get("/api/v1/alertmanager/receivers/{id}", User, "Get a receiver", |route| route.to(get))
            .returns("AlertmanagerReceiver"),
        Endpoint::put("/api/v1/alertmanager/receivers/{id}", User, "Change a receiver", |route| route.to(update))
            .body("AlertmanagerReceiverInput")
            .returns("AlertmanagerReceiver"),
        Endpoint::delete("/api/v1/alertmanager/receivers/{id}", User, "Delete a receiver and its services", |route| {
            route.to(delete)
        }),
        Endpoint::post(
            "/api/v1/alertmanager/receivers/{id}/rotate-token",
            User,
            "Give a receiver a new token",
            |route| route.to(rotate),
        )
        .returns("AlertmanagerReceiver"),
        Endpoint::get("/api/v1/alertmanager/receivers/{id}/alerts", User, "What fires now, newest first", |route| {
            route.to(firing)
        })
        .query(&["limit"])
        .returns("AlertmanagerAlerts"),
    ]
}

async fn receive(
    request: HttpRequest,
    app: web::Data<App>,
    token: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse> {
    let token = token.into_inner();
    let receiver = app
        .read(move |db| store::find_by_token(db, &token))
        .await?
        .ok_or_else(|| Error::refused(Code::TokenNotFound, "there is no receiver with this token"))?;
    check_bearer(&request, &app, &receiver)?;
    let body = input::read_body(payload.into_inner(), BODY_MAX).await?;
    let message = read_message(Fields::new(input::parse_object(&body)?))?;
    let (count, truncated) = (message.alerts.len(), message.truncated);
    let done = app.write(move |tx| engine::receive(tx, &store::get(tx, &receiver.id)?, &message)).await?;
    Ok(HttpResponse::Ok().json(json!({
        "received": true, "alerts": count, "firing": done.firing, "resolved": done.resolved, "stale": done.stale,
        "truncated": truncated, "alertCreated": done.alert_created,
    })))
}

fn check_bearer(request: &HttpRequest, app: &App, receiver: &ReceiverRow) -> Result<()> {
    let Some(expected) = receiver.bearer_hash else { return Ok(()) };
    let address = client_address(request, &app.config);
    STRANGERS.check(address)?;
    if auth::bearer(request).is_some_and(|shown| token::is_secret_of(shown, &expected)) {
        return Ok(());
    }
    STRANGERS.count_wrong(address);
    Err(Error::refused(Code::Unauthorized, "this receiver wants its bearer secret: Authorization: Bearer ..."))
}

/// Unknown fields are ignored; Grafana sends the same form.
fn read_message(mut fields: Fields) -> Result<engine::Request> {
    if fields.raw("Alerts").is_none() {
        fields.wrong("Alerts", "must be a list");
    }
    let mut items = fields.objects("Alerts");
    if items.len() > ALERTS_MAX {
        fields.wrong("Alerts", format!("may have {ALERTS_MAX} items"));
        items.clear();
    }
    let mut alerts = Vec::with_capacity(items.len());
    for mut item in items {
        alerts.extend(read_alert(&mut item));
        fields.absorb(item);
    }
    let truncated = fields.integer("TruncatedAlerts").unwrap_or(0).max(0);
    let group = token::sha256(fields.raw("GroupKey").and_then(Value::as_str).unwrap_or_default());
    fields.finish()?;
    Ok(engine::Request { alerts, truncated, group })
}

/// None when something is wrong with it, which `fields` then says.
fn read_alert(fields: &mut Fields) -> Option<Incoming> {
    let firing = match fields.required_text("Status", 20).as_str() {
        "firing" => Some(true),
        "resolved" => Some(false),
        _ => {
            fields.wrong("Status", "must be firing or resolved");
            None
        }
    };
    let labels = read_labels(fields);
    let starts_at = fields.instant("StartsAt");
    if fields.raw("StartsAt").is_none() {
        fields.wrong("StartsAt", "must be there");
    }
    // An alert that has not ended carries the year 1.
    let ends_at = fields.instant("EndsAt").filter(|at| at.micros() > 0);
    let given = fields.optional_text("Fingerprint", FINGERPRINT_MAX).filter(|text| !text.trim().is_empty());
    let annotations = annotations(fields);
    let labels = labels?;
    let fingerprint = given.unwrap_or_else(|| labels::fingerprint(&labels));
    let summary = summary(&labels, &annotations);
    Some(Incoming { firing: firing?, fingerprint, labels, summary, starts_at: starts_at?, ends_at })
}

fn read_labels(fields: &mut Fields) -> Option<Labels> {
    let Some(Value::Object(object)) = fields.raw("Labels") else {
        fields.wrong("Labels", "must be an object of texts");
        return None;
    };
    let texts: Option<Labels> =
        object.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let fine = texts.filter(|labels| {
        let short = |text: &String| text.len() <= LABEL_MAX;
        labels.len() <= LABELS_MAX && labels.iter().all(|(name, value)| short(name) && short(value))
    });
    if fine.is_none() {
        fields.wrong("Labels", format!("must be at most {LABELS_MAX} texts of at most {LABEL_MAX} bytes"));
    }
    fine
}

/// Only decoration: what is odd here must not cost an alert.
fn annotations(fields: &Fields) -> Labels {
    let Some(Value::Object(object)) = fields.raw("Annotations") else { return Labels::new() };
    object.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn summary(labels: &Labels, annotations: &Labels) -> String {
    let text = ["summary", "description", "message"].iter().find_map(|name| annotations.get(*name));
    let mut line = labels::alert_name(labels).to_owned();
    if let Some(text) = text.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")) {
        line = format!("{line}: {text}");
    }
    let mut line: String = line.chars().take(SUMMARY_MAX).collect();
    if let Some(url) = annotations.get("runbook_url").filter(|url| url.len() <= 300) {
        line = format!("{line} (runbook: {url})");
    }
    line
}

fn view(db: &Connection, receiver: &ReceiverRow, base: &str) -> Result<Value> {
    let settings = &receiver.settings;
    Ok(json!({
        "id": receiver.id, "name": settings.name, "token": receiver.token,
        "url": format!("{base}/alertmanager/{}", receiver.token), "serviceTemplate": settings.service_template,
        "maxServices": settings.max_services, "expireSeconds": settings.expire_seconds,
        "watchdogAlert": settings.watchdog_alert, "watchdogSeconds": settings.watchdog_seconds,
        "hasBearer": receiver.bearer_hash.is_some(), "createdAt": receiver.created_at,
        "services": store::count_places(db, &receiver.id)?, "firing": store::count_firing(db, &receiver.id)?,
        "truncated": receiver.truncated, "watchdog": watchdog_view(db, receiver)?,
    }))
}

/// Null until the watchdog alert was heard of for the first time.
fn watchdog_view(db: &Connection, receiver: &ReceiverRow) -> Result<Value> {
    let Some(place) = store::find_place(db, &receiver.id, "watchdog")? else { return Ok(Value::Null) };
    let service = services::get(db, &place.service_id)?;
    let monitor = monitors::get(db, &place.monitor_id)?;
    Ok(json!({
        "serviceId": service.id, "serviceName": service.name, "serviceState": service.state,
        "state": monitor.state, "lastHeardAt": monitor.last_check_in,
    }))
}

/// The settings, and the new bearer secret's hash: None keeps the old one, Some(None) removes it.
type Given = (ReceiverSettings, Option<Option<[u8; 32]>>);

fn read_settings(app: &App, body: serde_json::Map<String, Value>) -> Result<Given> {
    let shortest = app.config.limits.min_interval;
    let mut fields = Fields::new(body);
    let name = fields.required_text("Name", 80);
    let service_template = fields.optional_text("ServiceTemplate", 200).unwrap_or_else(|| "{{alertname}}".into());
    if let Err(why) = labels::check_template(&service_template) {
        fields.wrong("ServiceTemplate", why);
    }
    let max_services = fields.integer_in("MaxServices", 1, 1_000).unwrap_or(100);
    let expire_seconds = fields.integer_in("ExpireSeconds", shortest, WEEK).unwrap_or(8 * 3600);
    let watchdog_alert = fields.optional_text("WatchdogAlert", 200).unwrap_or_else(|| "Watchdog".into());
    let watchdog_seconds = fields.integer_in("WatchdogSeconds", shortest, WEEK).unwrap_or(600);
    let bearer = fields.optional_text("Bearer", 200);
    fields.finish()?;
    let bearer = bearer.map(|secret| (!secret.is_empty()).then(|| token::sha256(&secret)));
    let settings =
        ReceiverSettings { name, service_template, max_services, expire_seconds, watchdog_alert, watchdog_seconds };
    Ok((settings, bearer))
}

async fn list(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    let base = base_url(&request, &app.config);
    let found = app
        .read(move |db| store::list(db)?.iter().map(|receiver| view(db, receiver, &base)).collect::<Result<Vec<_>>>())
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn get(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let base = base_url(&request, &app.config);
    let found = app.read(move |db| view(db, &store::get(db, &id)?, &base)).await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn create(request: HttpRequest, app: web::Data<App>, JsonObject(body): JsonObject) -> Result<HttpResponse> {
    let base = base_url(&request, &app.config);
    let (settings, bearer) = read_settings(&app, body)?;
    let prefix = base.clone();
    let made = app.write(move |tx| view(tx, &engine::create(tx, &settings, bearer.flatten())?, &prefix)).await?;
    let location = format!("{base}/api/v1/alertmanager/receivers/{}", made["id"].as_str().unwrap_or_default());
    Ok(HttpResponse::Created().insert_header(("location", location)).json(made))
}

async fn update(
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
    JsonObject(body): JsonObject,
) -> Result<HttpResponse> {
    let base = base_url(&request, &app.config);
    let (settings, bearer) = read_settings(&app, body)?;
    let changed = app
        .write(move |tx| {
            let known = store::get(tx, &id)?.bearer_hash;
            view(tx, &engine::update(tx, &id, &settings, bearer.unwrap_or(known))?, &base)
        })
        .await?;
    Ok(HttpResponse::Ok().json(changed))
}

async fn rotate(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let base = base_url(&request, &app.config);
    let changed = app.write(move |tx| view(tx, &engine::rotate_token(tx, &id)?, &base)).await?;
    Ok(HttpResponse::Ok().json(changed))
}

async fn delete(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    app.write(move |tx| engine::delete(tx, &id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn firing(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let limit = query.integer_in("Limit", 1, 1_000).unwrap_or(100);
    query.finish()?;
    let found = app
        .read(move |db| {
            let receiver = store::get(db, &id)?;
            let rows = store::firing_of(db, &receiver.id, limit)?;
            rows.into_iter().map(|row| alert_view(db, row)).collect::<Result<Vec<_>>>()
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

fn alert_view(db: &Connection, row: AlertRow) -> Result<Value> {
    let monitor = monitors::get(db, &row.monitor_id)?;
    let service = services::get(db, &monitor.service_id)?;
    let labels: Value = serde_json::from_str(&row.labels_json).unwrap_or_default();
    let seen: Timestamp = row.last_seen_at;
    Ok(json!({
        "fingerprint": row.fingerprint, "startsAt": row.starts_at, "lastSeenAt": seen, "severity": row.severity,
        "summary": row.summary, "labels": labels, "serviceId": service.id, "serviceName": service.name,
    }))
}
