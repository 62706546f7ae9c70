//! Token endpoints: webhook, heartbeat, metric. Whoever knows the token may call them.

use super::input::{self, Body};
use super::{Access, Endpoint};
use crate::app::App;
use crate::domain::MonitorType;
use crate::domain::state::Outcome;
use crate::engine::{heartbeat, metric, webhook};
use crate::error::{Code, Error, Result};
use crate::store::monitors::{self, MonitorRow};
use actix_web::{HttpRequest, HttpResponse, web};
use rusqlite::Connection;
use serde_json::{Value, json};

pub fn endpoints() -> Vec<Endpoint> {
    use Access::Token;
    vec![
        Endpoint::post("/webhook/{token}/fail", Token, "Report a failure", |route| route.to(fail))
            .body("Report")
            .returns("WebhookReceived"),
        Endpoint::post("/webhook/{token}/recover", Token, "Report recovery", |route| route.to(recover))
            .body("Report")
            .returns("WebhookReceived"),
        Endpoint::get("/heartbeat/{token}", Token, "Record a heartbeat", |route| route.to(beat))
            .returns("HeartbeatReceived"),
        Endpoint::post("/heartbeat/{token}", Token, "Record a heartbeat", |route| route.to(beat))
            .body("Report")
            .returns("HeartbeatReceived"),
        Endpoint::post("/metric/{token}", Token, "Push a value", |route| route.to(push))
            .query(&["value"])
            .body("MetricInput")
            .returns("MetricReceived"),
    ]
}

/// The monitor of a token.
pub fn find(db: &Connection, token: &str) -> Result<MonitorRow> {
    monitors::find_by_token(db, token)?.ok_or_else(unknown_token)
}

pub fn unknown_token() -> Error {
    Error::refused(Code::TokenNotFound, "there is no monitor with this token")
}

/// The token's monitor does not take what was sent.
pub fn wrong_type(kind: MonitorType) -> Error {
    Error::refused(Code::InvalidMonitorType, format!("this token belongs to a {} monitor", kind.name()))
}

/// The monitor of a token, which must be of type `kind`.
fn by_token(db: &Connection, token: &str, kind: MonitorType) -> Result<MonitorRow> {
    let monitor = find(db, token)?;
    if monitor.kind == kind { Ok(monitor) } else { Err(wrong_type(monitor.kind)) }
}

/// `{"message": "..."}` in the body, if there is one; any other body is ignored.
fn message(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    Some(value.get("message")?.as_str()?.trim().to_owned()).filter(|text| !text.is_empty())
}

async fn fail(app: web::Data<App>, token: web::Path<String>, body: Body) -> Result<HttpResponse> {
    report(&app, token.into_inner(), Outcome::Failure, body).await
}

async fn recover(app: web::Data<App>, token: web::Path<String>, body: Body) -> Result<HttpResponse> {
    report(&app, token.into_inner(), Outcome::Success, body).await
}

async fn report(app: &App, token: String, outcome: Outcome, Body(body): Body) -> Result<HttpResponse> {
    let message = message(&body);
    let applied = app
        .write(move |tx| {
            let monitor = by_token(tx, &token, MonitorType::Webhook)?;
            webhook::receive(tx, &monitor, outcome, message.as_deref())
        })
        .await?;
    Ok(HttpResponse::Ok().json(json!({"received": true, "alertCreated": applied.alert_created})))
}

async fn beat(app: web::Data<App>, token: web::Path<String>, Body(body): Body) -> Result<HttpResponse> {
    let message = message(&body);
    let (next, applied) = app
        .write(move |tx| {
            let monitor = by_token(tx, &token, MonitorType::Heartbeat)?;
            let applied = heartbeat::receive(tx, &monitor, message.as_deref())?;
            Ok((tx.now.plus_seconds(monitor.settings.interval_seconds), applied))
        })
        .await?;
    let body = json!({"received": true, "nextExpectedBefore": next, "alertCreated": applied.alert_created});
    Ok(HttpResponse::Ok().json(body))
}

async fn push(
    request: HttpRequest,
    app: web::Data<App>,
    token: web::Path<String>,
    Body(body): Body,
) -> Result<HttpResponse> {
    let value = pushed_value(&request, &body)?;
    let ingested = app
        .write(move |tx| {
            let monitor = by_token(tx, &token, MonitorType::Metric)?;
            metric::ingest(tx, &monitor, value)
        })
        .await?;
    Ok(HttpResponse::Ok().json(json!({
        "received": true, "value": value, "outOfRange": ingested.out_of_range, "violation": ingested.violation,
    })))
}

/// The body's value (JSON, form or plain number), else that of the query; it must be finite.
fn pushed_value(request: &HttpRequest, body: &[u8]) -> Result<f64> {
    let in_body = if body.iter().all(u8::is_ascii_whitespace) { None } else { value_in_body(request, body)? };
    let mut query = input::query(request);
    let value = match in_body {
        Some(value) => Some(value),
        None => query.number("Value"),
    };
    query.finish()?;
    value.ok_or_else(|| Error::invalid_field("Value", "give a number: body {\"value\": 1.5} or ?value=1.5"))
}

fn value_in_body(request: &HttpRequest, body: &[u8]) -> Result<Option<f64>> {
    let plain = || {
        let number = std::str::from_utf8(body).ok().and_then(|text| text.trim().parse::<f64>().ok());
        number.filter(|number| number.is_finite()).map(Some)
    };
    let not_a_number = || Error::invalid_field("Value", "must be a finite number");
    match input::media_type(request).as_deref() {
        Some("application/x-www-form-urlencoded") => {
            let pairs = form_urlencoded::parse(body).map(|(key, value)| (key.into_owned(), value.into_owned().into()));
            // `curl -d 42` says "form" as well.
            plain().map_or_else(|| read_value(input::Fields::new(pairs.collect())), Ok)
        }
        Some("text/plain") => plain().ok_or_else(not_a_number),
        None => plain().map_or_else(|| read_value(input::Fields::new(input::parse_object(body)?)), Ok),
        Some(_) if input::is_json(request) => {
            plain().map_or_else(|| read_value(input::Fields::new(input::parse_object(body)?)), Ok)
        }
        Some(_) => Err(Error::refused(Code::UnsupportedMediaType, "send JSON, a form or plain text")),
    }
}

fn read_value(mut fields: input::Fields) -> Result<Option<f64>> {
    let value = fields.number("Value");
    fields.finish()?;
    Ok(value)
}
