//! Services: create, read, change, delete, pause, mute, history.

use super::input::{self, Fields, JsonObject, OptionalJson};
use super::page::PageRequest;
use super::{Access, Endpoint, monitors, origin, view};
use crate::app::App;
use crate::config::Limits;
use crate::domain::{MonitorType, ServiceState, Severity, Timestamp};
use crate::engine::{self, mute, pause};
use crate::error::Result;
use crate::store::monitors::MonitorSettings;
use crate::store::services::{self, NewService};
use crate::store::{mutes, transitions};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

pub fn endpoints() -> Vec<Endpoint> {
    use Access::User;
    vec![
        Endpoint::get("/api/v1/services", User, "List services by name", |route| route.to(list))
            .query(&["page", "pageSize", "state", "severity", "search"])
            .returns("ServicePage"),
        Endpoint::post("/api/v1/services", User, "Create a service", |route| route.to(create))
            .body("ServiceInput")
            .returns("Service")
            .status(201),
        Endpoint::get("/api/v1/services/summary", User, "How many services are in each state", |route| {
            route.to(summary)
        })
        .returns("ServiceSummary"),
        Endpoint::get("/api/v1/services/{id}", User, "Get a service", |route| route.to(get)).returns("Service"),
        Endpoint::put("/api/v1/services/{id}", User, "Update a service", |route| route.to(update))
            .body("ServiceUpdate")
            .returns("Service"),
        Endpoint::delete("/api/v1/services/{id}", User, "Delete a service", |route| route.to(delete)),
        Endpoint::post("/api/v1/services/{id}/pause", User, "Pause a service", |route| route.to(pause_service))
            .body("PauseInput")
            .returns("Paused"),
        Endpoint::post("/api/v1/services/{id}/resume", User, "Resume a service", |route| route.to(resume))
            .returns("Resumed"),
        Endpoint::post("/api/v1/services/{id}/mute", User, "Mute a service", |route| route.to(mute_service))
            .body("MuteInput")
            .returns("Muted"),
        Endpoint::delete("/api/v1/services/{id}/mute", User, "End all mute windows now", |route| route.to(unmute)),
        Endpoint::get("/api/v1/services/{id}/mutes", User, "Mute windows that have not ended", |route| route.to(mutes))
            .returns("MuteWindows"),
        Endpoint::get("/api/v1/services/{id}/transitions", User, "History of states, newest first", |route| {
            route.to(history)
        })
        .query(&["page", "pageSize", "from", "to"])
        .returns("TransitionPage"),
    ]
}

async fn list(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let page = PageRequest::read(&mut query);
    let filter = services::Filter {
        state: query.query_enumeration("State", ServiceState::from_number),
        severity: query.query_enumeration("Severity", Severity::from_number),
        search: query.text("Search").filter(|text| !text.trim().is_empty()),
    };
    query.finish()?;
    let base = origin::base_url(&request, &app.config);
    let found = app
        .read(move |db| {
            let rows = services::page(db, &filter, page.size, page.offset())?;
            Ok(page.envelope(view::services(db, rows, &base)?, services::count(db, &filter)?))
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn summary(app: web::Data<App>) -> Result<HttpResponse> {
    let [unknown, up, down, paused] = app.read(services::count_by_state).await?;
    let total = unknown + up + down + paused;
    Ok(HttpResponse::Ok().json(json!({"unknown": unknown, "up": up, "down": down, "paused": paused, "total": total})))
}

async fn get(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let base = origin::base_url(&request, &app.config);
    let found = app.read(move |db| view::one_service(db, services::get(db, &id)?, &base)).await?;
    Ok(HttpResponse::Ok().json(found))
}

/// Name, description and severity, which creation and update share.
fn read_service(fields: &mut Fields) -> (String, Option<String>, Option<Severity>) {
    (
        fields.required_text("Name", 100),
        fields.optional_text("Description", 500),
        fields.enumeration("Severity", Severity::from_number),
    )
}

async fn create(request: HttpRequest, app: web::Data<App>, JsonObject(body): JsonObject) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let (name, description, severity) = read_service(&mut fields);
    let monitors = read_monitors(&mut fields, app.config.limits);
    fields.finish()?;
    let severity = severity.unwrap_or(Severity::Medium);
    let new = NewService { name, description, severity, managed_by: None };
    let base = origin::base_url(&request, &app.config);
    let url = base.clone();
    let created = app
        .write(move |tx| {
            let id = engine::services::create(tx, &new, &monitors)?;
            Ok((id.clone(), view::one_service(tx, services::get(tx, &id)?, &base)?))
        })
        .await?;
    let location = format!("{url}/api/v1/services/{}", created.0);
    Ok(HttpResponse::Created().insert_header(("Location", location)).json(created.1))
}

fn read_monitors(fields: &mut Fields, limits: Limits) -> Vec<(MonitorType, MonitorSettings)> {
    let mut monitors = Vec::new();
    let before = fields.is_fine();
    for mut item in fields.objects("Monitors") {
        monitors.push(monitors::read_new(&mut item, limits));
        fields.absorb(item);
    }
    if monitors.is_empty() && (fields.is_fine() || !before) {
        fields.wrong("Monitors", "a service needs at least one monitor");
    }
    monitors
}

async fn update(
    request: HttpRequest,
    app: web::Data<App>,
    id: web::Path<String>,
    JsonObject(body): JsonObject,
) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let (name, description, severity) = read_service(&mut fields);
    fields.finish()?;
    let base = origin::base_url(&request, &app.config);
    let updated = app
        .write(move |tx| {
            engine::services::update(tx, &id, &name, description.as_deref(), severity)?;
            view::one_service(tx, services::get(tx, &id)?, &base)
        })
        .await?;
    Ok(HttpResponse::Ok().json(updated))
}

async fn delete(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    app.write(move |tx| engine::services::delete(tx, &id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn pause_service(
    app: web::Data<App>,
    id: web::Path<String>,
    OptionalJson(body): OptionalJson,
) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let until = fields.instant("Until");
    let auto_resume = fields.boolean("AutoResume").unwrap_or(false);
    fields.finish()?;
    app.write(move |tx| pause::pause(tx, &id, until, auto_resume)).await?;
    Ok(HttpResponse::Ok().json(json!({"paused": true, "until": until})))
}

async fn resume(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    app.write(move |tx| pause::resume(tx, &id, "resume")).await?;
    Ok(HttpResponse::Ok().json(json!({"resumed": true})))
}

async fn mute_service(
    app: web::Data<App>,
    id: web::Path<String>,
    JsonObject(body): JsonObject,
) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    if fields.raw("DurationMinutes").is_none() {
        fields.wrong("DurationMinutes", "must be given");
    }
    let minutes = fields.integer_in("DurationMinutes", 1, mute::MAX_MINUTES).unwrap_or_default();
    let reason = fields.optional_text("Reason", 500);
    fields.finish()?;
    let until = app.write(move |tx| mute::mute(tx, &id, minutes, reason.as_deref())).await?;
    Ok(HttpResponse::Ok().json(json!({"muted": true, "until": until})))
}

async fn unmute(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    app.write(move |tx| mute::unmute(tx, &id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn mutes(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let open = app
        .read(move |db| {
            services::get(db, &id)?;
            mutes::open(db, &id, Timestamp::now())
        })
        .await?;
    let items: Vec<Value> = open
        .into_iter()
        .map(|mute| {
            json!({"id": mute.id, "startsAt": mute.starts_at, "endsAt": mute.ends_at, "reason": mute.reason,
                   "createdAt": mute.created_at})
        })
        .collect();
    Ok(HttpResponse::Ok().json(items))
}

async fn history(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let page = PageRequest::read(&mut query);
    let range = (query.instant("From"), query.instant("To"));
    query.finish()?;
    let found = app
        .read(move |db| {
            services::get(db, &id)?;
            let rows = transitions::page(db, &id, range, page.size, page.offset())?;
            let items: Vec<Value> = rows.into_iter().map(transition_view).collect();
            Ok(page.envelope(items, transitions::count(db, &id, range)?))
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

fn transition_view(row: transitions::TransitionRow) -> Value {
    json!({
        "id": row.id, "serviceId": row.service_id, "monitorId": row.monitor_id, "from": row.from, "to": row.to,
        "monitorFrom": row.monitor_from, "monitorTo": row.monitor_to, "trigger": row.trigger, "reason": row.reason,
        "createdAt": row.created_at,
    })
}
