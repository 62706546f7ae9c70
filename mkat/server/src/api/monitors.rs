//! Monitors of a service, and the readings of metric monitors.

use super::input::{self, Fields, JsonObject};
use super::page::PageRequest;
use super::view::MonitorView;
use super::{Access, Endpoint, origin};
use crate::app::App;
use crate::config::Limits;
use crate::domain::metric::Thresholds;
use crate::domain::{MonitorType, ThresholdStrategy};
use crate::engine::services as engine;
use crate::error::{Code, Error, Result};
use crate::store::monitors::{self, HealthCheck, MonitorRow, MonitorSettings};
use crate::store::readings::Reading;
use crate::store::{events, readings, services};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

pub fn endpoints() -> Vec<Endpoint> {
    use Access::User;
    vec![
        Endpoint::get("/api/v1/services/{serviceId}/monitors", User, "Monitors of a service", |route| route.to(list))
            .returns("Monitors"),
        Endpoint::post("/api/v1/services/{serviceId}/monitors", User, "Add a monitor", |route| route.to(add))
            .body("MonitorInput")
            .returns("Monitor")
            .status(201),
        Endpoint::put("/api/v1/services/{serviceId}/monitors/{monitorId}", User, "Update a monitor", |route| {
            route.to(update)
        })
        .body("MonitorInput")
        .returns("Monitor"),
        Endpoint::delete("/api/v1/services/{serviceId}/monitors/{monitorId}", User, "Remove a monitor", |route| {
            route.to(remove)
        }),
        Endpoint::post(
            "/api/v1/services/{serviceId}/monitors/{monitorId}/rotate-token",
            User,
            "Give a monitor a new token; the old one ends now",
            |route| route.to(rotate),
        )
        .returns("Monitor"),
        Endpoint::get("/api/v1/monitors/{id}/metrics", User, "Readings, newest first", |route| route.to(history))
            .query(&["from", "to", "limit", "page", "pageSize"])
            .returns("MetricHistory"),
        Endpoint::get("/api/v1/monitors/{id}/metrics/latest", User, "The newest reading; 204 without one", |route| {
            route.to(latest)
        })
        .returns("MetricLatest"),
    ]
}

/// Longest interval in seconds (7 days).
const MAX_INTERVAL: i64 = 604_800;

/// Reads a monitor that is to be created.
pub fn read_new(fields: &mut Fields, limits: Limits) -> (MonitorType, MonitorSettings) {
    let kind = match fields.raw("Type") {
        None => Some(MonitorType::Webhook),
        Some(_) => fields.enumeration("Type", MonitorType::from_number),
    };
    // Of an unknown type only the common fields are looked at.
    let kind = kind.unwrap_or(MonitorType::Webhook);
    (kind, read_settings(fields, limits, kind, None))
}

/// Reads and checks the settings of a monitor of type `kind`. `stored`: what an update keeps when it is omitted.
fn read_settings(
    fields: &mut Fields,
    limits: Limits,
    kind: MonitorType,
    stored: Option<&MonitorSettings>,
) -> MonitorSettings {
    let Limits { min_interval, min_grace } = limits;
    if fields.raw("IntervalSeconds").is_none() {
        fields.wrong("IntervalSeconds", format!("must be given, from {min_interval} to {MAX_INTERVAL}"));
    }
    let interval = fields.integer_in("IntervalSeconds", min_interval, MAX_INTERVAL).unwrap_or(min_interval);
    let grace = fields.integer("GracePeriodSeconds");
    if grace.is_some_and(|grace| !(min_grace..=i64::from(u32::MAX)).contains(&grace)) {
        fields.wrong("GracePeriodSeconds", format!("must be at least {min_grace}"));
    }
    let mut settings = MonitorSettings::timed(interval, grace.unwrap_or_else(|| (interval / 10).max(min_grace)));
    match kind {
        MonitorType::Webhook | MonitorType::Heartbeat => {}
        MonitorType::Metric => read_metric(fields, &mut settings, stored),
        MonitorType::HealthCheck => settings.health_check = Some(read_health_check(fields)),
    }
    settings
}

fn read_metric(fields: &mut Fields, settings: &mut MonitorSettings, stored: Option<&MonitorSettings>) {
    let kept = stored.map_or(ThresholdStrategy::Immediate, |stored| stored.thresholds.strategy);
    let days = stored.map_or(7, |stored| stored.retention_days);
    let (min, max) = (fields.number("MinValue"), fields.number("MaxValue"));
    if fields.raw("MinValue").is_none() && fields.raw("MaxValue").is_none() {
        fields.wrong("", "a metric monitor needs minValue or maxValue");
    }
    if let (Some(min), Some(max)) = (min, max)
        && max <= min
    {
        fields.wrong("MaxValue", "must be greater than minValue");
    }
    let strategy = fields.enumeration("ThresholdStrategy", ThresholdStrategy::from_number).unwrap_or(kept);
    let thresholds = Thresholds {
        min,
        max,
        strategy,
        count: fields.integer("ThresholdCount"),
        window_seconds: fields.integer("WindowSeconds"),
        window_samples: fields.integer("WindowSampleCount"),
    };
    let needed = match strategy {
        ThresholdStrategy::Immediate => None,
        ThresholdStrategy::ConsecutiveCount => Some(("ThresholdCount", thresholds.count)),
        ThresholdStrategy::TimeDurationAverage => Some(("WindowSeconds", thresholds.window_seconds)),
        ThresholdStrategy::SampleCountAverage => Some(("WindowSampleCount", thresholds.window_samples)),
    };
    if let Some((key, value)) = needed
        && value.is_none_or(|value| !(1..=i64::from(u32::MAX)).contains(&value))
    {
        fields.wrong(key, "must be greater than 0 for this strategy");
    }
    settings.thresholds = thresholds;
    settings.retention_days = fields.integer_in("RetentionDays", 1, 365).unwrap_or(days);
}

fn read_health_check(fields: &mut Fields) -> HealthCheck {
    let url = fields.required_text("HealthCheckUrl", 2000);
    let absolute = url::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !url.trim().is_empty() && !absolute {
        fields.wrong("HealthCheckUrl", "must be an absolute http or https address");
    }
    let method = fields.text("HttpMethod").unwrap_or_else(|| "GET".into()).to_uppercase();
    if !["GET", "HEAD", "POST", "PUT"].contains(&method.as_str()) {
        fields.wrong("HttpMethod", "must be GET, HEAD, POST or PUT");
    }
    let expected_status_codes = fields.optional_text("ExpectedStatusCodes", 200).unwrap_or_else(|| "200".into());
    let codes_fine = expected_status_codes
        .split(',')
        .all(|part| part.trim().parse::<u16>().is_ok_and(|code| (100..=599).contains(&code)));
    if !codes_fine {
        fields.wrong("ExpectedStatusCodes", "must be numbers from 100 to 599, by comma");
    }
    let body_match_regex = fields.optional_text("BodyMatchRegex", 1000).filter(|pattern| !pattern.is_empty());
    if body_match_regex.as_deref().is_some_and(|pattern| regex::Regex::new(pattern).is_err()) {
        fields.wrong("BodyMatchRegex", "is not a regular expression");
    }
    let timeout_seconds = fields.integer_in("TimeoutSeconds", 1, 120).unwrap_or(10);
    HealthCheck { url, method, expected_status_codes, timeout_seconds, body_match_regex }
}

async fn list(request: HttpRequest, app: web::Data<App>, service_id: web::Path<String>) -> Result<HttpResponse> {
    let base = origin::base_url(&request, &app.config);
    let found: Vec<MonitorView> = app
        .read(move |db| {
            services::get(db, &service_id)?;
            let rows = monitors::of_service(db, &service_id)?;
            Ok(rows.into_iter().map(|row| MonitorView::new(row, &base)).collect())
        })
        .await?;
    Ok(HttpResponse::Ok().json(found))
}

async fn add(
    request: HttpRequest,
    app: web::Data<App>,
    service_id: web::Path<String>,
    JsonObject(body): JsonObject,
) -> Result<HttpResponse> {
    let mut fields = Fields::new(body);
    let (kind, settings) = read_new(&mut fields, app.config.limits);
    fields.finish()?;
    let base = origin::base_url(&request, &app.config);
    let location = format!("{base}/api/v1/services/{service_id}");
    let row = app.write(move |tx| engine::add_monitor(tx, &service_id, kind, &settings)).await?;
    Ok(HttpResponse::Created().insert_header(("Location", location)).json(MonitorView::new(row, &base)))
}

async fn update(
    request: HttpRequest,
    app: web::Data<App>,
    path: web::Path<(String, String)>,
    JsonObject(body): JsonObject,
) -> Result<HttpResponse> {
    let (service_id, monitor_id) = path.into_inner();
    let base = origin::base_url(&request, &app.config);
    let limits = app.config.limits;
    let row = app
        .write(move |tx| {
            let monitor = engine::monitor_of(tx, &service_id, &monitor_id)?;
            let mut fields = Fields::new(body);
            let settings = read_settings(&mut fields, limits, monitor.kind, Some(&monitor.settings));
            fields.finish()?;
            engine::update_monitor(tx, &monitor, &settings)
        })
        .await?;
    Ok(HttpResponse::Ok().json(MonitorView::new(row, &base)))
}

async fn remove(app: web::Data<App>, path: web::Path<(String, String)>) -> Result<HttpResponse> {
    let (service_id, monitor_id) = path.into_inner();
    app.write(move |tx| engine::remove_monitor(tx, &service_id, &monitor_id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn rotate(request: HttpRequest, app: web::Data<App>, path: web::Path<(String, String)>) -> Result<HttpResponse> {
    let (service_id, monitor_id) = path.into_inner();
    let row = app.write(move |tx| engine::rotate_token(tx, &engine::monitor_of(tx, &service_id, &monitor_id)?)).await?;
    Ok(HttpResponse::Ok().json(MonitorView::new(row, &origin::base_url(&request, &app.config))))
}

/// The monitor, if it takes metrics.
fn metric_monitor(db: &rusqlite::Connection, id: &str) -> Result<MonitorRow> {
    let monitor = monitors::get(db, id)?;
    if monitor.kind == MonitorType::Metric {
        return Ok(monitor);
    }
    Err(Error::refused(Code::InvalidMonitorType, "this monitor takes no metrics"))
}

fn reading_view(reading: &Reading) -> Value {
    json!({
        "id": events::public_id(reading.row, reading.recorded_at),
        "value": reading.value, "recordedAt": reading.recorded_at, "outOfRange": reading.out_of_range,
    })
}

/// `page` and `pageSize` page through; `limit` alone (default 100, at most 1000) takes the newest.
async fn history(request: HttpRequest, app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let mut query = input::query(&request);
    let limit = query.integer("Limit").unwrap_or(100).clamp(1, 1000);
    let paged = query.raw("Page").is_some() || query.raw("PageSize").is_some();
    let page = if paged { PageRequest::read(&mut query) } else { PageRequest { page: 1, size: limit } };
    let range = (query.instant("From"), query.instant("To"));
    query.finish()?;
    let body = app
        .read(move |db| {
            let monitor = metric_monitor(db, &id)?;
            let rows = readings::page(db, &monitor.id, range, page.size, page.offset())?;
            let total = readings::count(db, &monitor.id, range)?;
            let envelope = page.envelope(rows.iter().map(reading_view).collect::<Vec<_>>(), total);
            let mut body = serde_json::to_value(&envelope).map_err(Error::internal)?;
            body["readings"] = body["items"].take();
            body["monitorId"] = monitor.id.into();
            if let Some(body) = body.as_object_mut() {
                body.remove("items");
            }
            Ok(body)
        })
        .await?;
    Ok(HttpResponse::Ok().json(body))
}

async fn latest(app: web::Data<App>, id: web::Path<String>) -> Result<HttpResponse> {
    let found = app
        .read(move |db| {
            let monitor = metric_monitor(db, &id)?;
            Ok(readings::latest(db, &monitor.id)?.map(|reading| (monitor.id, reading)))
        })
        .await?;
    let Some((monitor_id, reading)) = found else { return Ok(HttpResponse::NoContent().finish()) };
    let mut body = reading_view(&reading);
    body["monitorId"] = monitor_id.into();
    Ok(HttpResponse::Ok().json(body))
}
