//! What monitors received, rollups of it, and uptime.

use super::input::{self, Fields};
use super::page::PageRequest;
use super::{Access, Endpoint};
use crate::app::App;
use crate::domain::rollup::{percent, time_in_states};
use crate::domain::{EventType, Granularity, ServiceState, Timestamp};
use crate::error::Result;
use crate::store::events::{self, EventRow, Filter};
use crate::store::rollups::{self, RollupRow};
use crate::store::transitions::{self, TransitionRow};
use crate::store::{monitors, services};
use actix_web::{HttpRequest, HttpResponse, web};
use rusqlite::Connection;
use serde_json::{Value, json};

const DEFAULT_DAYS: i64 = 30;
const LIMIT_MAX: i64 = 1_000;
/// How far back the list over all services goes.
const RECENT_MAX: i64 = 1_000;

pub fn endpoints() -> Vec<Endpoint> {
    use Access::User;
    vec![
        Endpoint::get("/api/v1/monitors/{id}/events", User, "What a monitor received, newest first", |route| {
            route.to(of_monitor)
        })
        .query(&["from", "to", "eventType", "limit"])
        .returns("Events"),
        Endpoint::get("/api/v1/services/{id}/events", User, "What a service's monitors received", |route| {
            route.to(of_service)
        })
        .query(&["from", "to", "eventType", "limit"])
        .returns("Events"),
        Endpoint::get("/api/v1/events", User, "The newest 1,000 events of all services, newest first", |route| {
            route.to(recent)
        })
        .query(&["page", "pageSize", "eventType"])
        .returns("EventPage"),
        Endpoint::get("/api/v1/monitors/{id}/rollups", User, "Events by hour, day, week and month", |route| {
            route.to(rolled_up)
        })
        .query(&["granularity", "from", "to"])
        .returns("Rollups"),
        Endpoint::get("/api/v1/services/{id}/uptime", User, "Time spent up and down", |route| route.to(uptime))
            .query(&["from", "to"])
            .returns("Uptime"),
    ]
}

/// A name or a number; anything else is a mistake.
fn named<T>(
    query: &mut Fields,
    key: &str,
    by_name: fn(&str) -> Option<T>,
    by_number: fn(i64) -> Option<T>,
) -> Option<T> {
    let text = query.text(key)?;
    let found = by_name(&text).or_else(|| by_number(text.parse().ok()?));
    if found.is_none() {
        query.wrong(key, "is not known");
    }
    found
}

fn range(query: &mut Fields) -> (Option<Timestamp>, Option<Timestamp>) {
    let (from, to) = (query.instant("From"), query.instant("To"));
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        query.wrong("From", "must not be after to");
    }
    (from, to)
}

fn filter(request: &HttpRequest) -> Result<Filter> {
    let mut query = input::query(request);
    let (from, to) = range(&mut query);
    let kind = named(&mut query, "EventType", EventType::from_name, EventType::from_number);
    let limit = query.integer_in("Limit", 1, LIMIT_MAX).unwrap_or(100);
    query.finish()?;
    Ok(Filter { kind, from, to, limit })
}

fn event_view(event: EventRow) -> Value {
    json!({
        "id": event.id, "monitorId": event.monitor_id, "serviceId": event.service_id, "eventType": event.kind.name(),
        "success": event.success, "value": event.value, "isOutOfRange": event.out_of_range, "message": event.message,
        "createdAt": event.created_at,
    })
}

/// Tells the id of a change from that of the signal which caused it: both have the same instant and may have the same row
/// number. The two bits above it belong to the form of a UUID.
const CHANGE: i64 = 1 << 61;

/// A change of state, told as an event.
fn state_changed(row: TransitionRow) -> EventRow {
    let step = format!("{} to {}", row.from.name(), row.to.name());
    EventRow {
        id: events::public_id(row.id | CHANGE, row.created_at),
        monitor_id: row.monitor_id,
        service_id: row.service_id,
        kind: EventType::StateChanged,
        success: row.to != ServiceState::Down,
        value: None,
        out_of_range: false,
        message: Some(row.reason.map_or_else(|| step.clone(), |reason| format!("{step}: {reason}"))),
        created_at: row.created_at,
    }
}

fn changes(db: &Connection, service_id: &str, filter: &Filter) -> Result<Vec<EventRow>> {
    if filter.kind.is_some_and(|kind| kind != EventType::StateChanged) {
        return Ok(Vec::new());
    }
    let rows = transitions::page(db, service_id, (filter.from, filter.to), filter.limit, 0)?;
    Ok(rows.into_iter().filter(|row| row.from != row.to).map(state_changed).collect())
}

fn newest_first(mut rows: Vec<EventRow>, limit: i64) -> Vec<EventRow> {
    rows.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    rows.truncate(usize::try_from(limit).unwrap_or(0));
    rows
}

fn views(rows: Vec<EventRow>) -> Vec<Value> {
    rows.into_iter().map(event_view).collect()
}

/// Events of all services in one list. It ends after the newest 1,000, however many are kept.
async fn recent(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let page = PageRequest::read(&mut query);
    let kind = named(&mut query, "EventType", EventType::from_name, EventType::from_number);
    query.finish()?;
    let found = app
        .read(move |db| {
            let mut rows = events::newest(db, kind, RECENT_MAX)?;
            if kind.is_none_or(|kind| kind == EventType::StateChanged) {
                rows.extend(transitions::newest(db, RECENT_MAX)?.into_iter().map(state_changed));
            }
            let rows = newest_first(rows, RECENT_MAX);
            let total = i64::try_from(rows.len()).unwrap_or(RECENT_MAX);
            let (skip, size) = (usize::try_from(page.offset()).unwrap_or(0), usize::try_from(page.size).unwrap_or(0));
            let shown = rows.into_iter().skip(skip).take(size);
            Ok(page.envelope(shown.map(|row| with_service_name(db, row)).collect::<Result<Vec<_>>>()?, total))
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

fn with_service_name(db: &Connection, row: EventRow) -> Result<Value> {
    let service = services::get(db, &row.service_id)?;
    let mut view = event_view(row);
    view["serviceName"] = service.name.into();
    Ok(view)
}

async fn of_monitor(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let filter = filter(&request)?;
    let found = app
        .read(move |db| {
            let monitor = monitors::get(db, &id)?;
            let mut rows = events::of_monitor(db, &monitor.id, &filter)?;
            let caused = changes(db, &monitor.service_id, &filter)?;
            rows.extend(caused.into_iter().filter(|row| row.monitor_id.as_ref() == Some(&monitor.id)));
            Ok(views(newest_first(rows, filter.limit)))
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn of_service(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let filter = filter(&request)?;
    let found = app
        .read(move |db| {
            let service = services::get(db, &id)?;
            let mut rows = changes(db, &service.id, &filter)?;
            for monitor in monitors::of_service(db, &service.id)? {
                rows.extend(events::of_monitor(db, &monitor.id, &filter)?);
            }
            Ok(views(newest_first(rows, filter.limit)))
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

fn rollup_view(row: &RollupRow) -> Value {
    let rollup = &row.rollup;
    let [median, p80, p90, p95] = rollup.percentiles;
    json!({
        "id": row.id, "monitorId": row.monitor_id, "serviceId": row.service_id, "granularity": row.granularity.name(),
        "periodStart": row.period_start, "count": rollup.count, "successCount": rollup.success,
        "failureCount": rollup.count - rollup.success, "min": rollup.min, "max": rollup.max, "mean": rollup.mean,
        "median": median, "p80": p80, "p90": p90, "p95": p95, "stdDev": rollup.std_dev,
        "uptimePercent": rollup.uptime_percent(),
    })
}

async fn rolled_up(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let range = range(&mut query);
    let granularity = named(&mut query, "Granularity", Granularity::from_name, Granularity::from_number);
    query.finish()?;
    let found = app
        .read(move |db| {
            let monitor = monitors::get(db, &id)?;
            Ok(rollups::of_monitor(db, &monitor.id, granularity, range)?.iter().map(rollup_view).collect::<Vec<_>>())
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn uptime(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let now = Timestamp::now();
    let mut query = input::query(&request);
    let (from, to) = range(&mut query);
    // The future has no uptime yet.
    let to = to.unwrap_or(now).min(now);
    let from = from.unwrap_or_else(|| to.plus_seconds(-DEFAULT_DAYS * 86_400));
    if from > to {
        query.wrong("From", "must not lie in the future");
    }
    query.finish()?;
    let found = app.read(move |db| uptime_of(db, &id, from, to)).await?;
    Ok(HttpResponse::Ok().json(found))
}

/// The share of Up in the time that was Up or Down; pauses and the time before the first signal do not count.
fn uptime_of(db: &Connection, id: &str, from: Timestamp, to: Timestamp) -> Result<Value> {
    let service = services::get(db, id)?;
    let begin = from.max(service.created_at).min(to);
    let initial = transitions::state_at(db, id, begin)?;
    let changes = transitions::changes(db, id, begin, to)?;
    let [unknown, up, down, paused] = time_in_states(initial, &changes, begin, to);
    let (total, success) = events::count_of_service(db, id, from, to)?;
    Ok(json!({
        "serviceId": service.id, "uptimePercent": percent(up, up + down), "totalEvents": total,
        "successEvents": success, "failureEvents": total - success, "from": from, "to": to, "upSeconds": up,
        "downSeconds": down, "pausedSeconds": paused, "unknownSeconds": unknown,
    }))
}
