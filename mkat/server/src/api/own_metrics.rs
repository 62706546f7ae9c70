//! `/metrics`: mkat about itself, for Prometheus.

use super::{Access, Endpoint, auth};
use crate::app::App;
use crate::domain::token::same_secret;
use crate::domain::{MonitorType, ServiceState, Timestamp};
use crate::error::{Error, Result};
use crate::store::{alertmanager, contacts, monitors, peers, services};
use actix_web::{HttpRequest, HttpResponse, web};
use prometheus::{Encoder, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use rusqlite::Connection;

pub fn endpoints() -> Vec<Endpoint> {
    // Public to the route table: the handler asks for the token or, without one, for the sign-in.
    vec![Endpoint::get("/metrics", Access::Public, "mkat about itself (Prometheus text)", |route| route.to(show))]
}

async fn show(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse> {
    if !by_token(&request, &app)
        && let Err(refusal) = auth::identify(&request).await
    {
        return Ok(refusal.into_response());
    }
    let now = Timestamp::now();
    let counted = app.read(move |db| count(db, now)).await?;
    let mut families = app.metrics.gather();
    families.extend(gauges(&app, &counted)?.gather());
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text).map_err(Error::internal)?;
    Ok(HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text))
}

fn by_token(request: &HttpRequest, app: &App) -> bool {
    let Some(expected) = &app.config.metrics_token else { return false };
    auth::bearer(request).is_some_and(|shown| same_secret(shown, expected))
}

/// What is read from the store for one answer.
struct Counted {
    services: [i64; 4],
    monitors: [i64; 4],
    unreachable: usize,
    /// Name and whether its service is up, whether it took our last heartbeat.
    peers: Vec<(String, bool, bool)>,
    /// Receiver and how many alerts fire in it.
    firing: Vec<(String, i64)>,
}

fn count(db: &Connection, now: Timestamp) -> Result<Counted> {
    let mut found = Vec::new();
    for peer in peers::list(db)? {
        let up = services::find(db, &peer.service_id)?.is_some_and(|service| service.state == ServiceState::Up);
        found.push((peer.name, up, peer.last_success_at.is_some() && peer.last_error.is_none()));
    }
    let mut firing = Vec::new();
    for receiver in alertmanager::list(db)? {
        firing.push((receiver.settings.name, alertmanager::count_firing(db, &receiver.id)?));
    }
    Ok(Counted {
        services: services::count_by_state(db)?,
        monitors: monitors::count_by_type(db)?,
        unreachable: contacts::unreachable(db, now)?.len(),
        peers: found,
        firing,
    })
}

/// Gauges of this instant, in a registry of their own.
fn gauges(app: &App, counted: &Counted) -> Result<Registry> {
    let registry = Registry::new();
    let vector = |name: &str, help: &str, labels: &[&str]| {
        let gauge = IntGaugeVec::new(Opts::new(name, help), labels).map_err(Error::internal)?;
        registry.register(Box::new(gauge.clone())).map_err(Error::internal)?;
        Ok::<_, Error>(gauge)
    };
    let single = |name: &str, help: &str, value: i64| {
        let gauge = IntGauge::new(name, help).map_err(Error::internal)?;
        gauge.set(value);
        registry.register(Box::new(gauge)).map_err(Error::internal)
    };
    let version = vector("mkat_build_info", "Version of the program", &["version"])?;
    version.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let by_state = vector("mkat_services", "Services by state", &["state"])?;
    for (state, count) in ServiceState::ALL.iter().zip(counted.services) {
        by_state.with_label_values(&[state.name()]).set(count);
    }
    let by_type = vector("mkat_monitors", "Monitors by type", &["type"])?;
    for (kind, count) in MonitorType::ALL.iter().zip(counted.monitors) {
        by_type.with_label_values(&[kind.name()]).set(count);
    }
    let up = vector("mkat_peer_up", "1 while a peer's heartbeats arrive and it can notify", &["peer"])?;
    let reached = vector("mkat_peer_reached", "1 if the peer took our last heartbeat", &["peer"])?;
    for (name, is_up, is_reached) in &counted.peers {
        up.with_label_values(&[name]).set((*is_up).into());
        reached.with_label_values(&[name]).set((*is_reached).into());
    }
    let firing = vector("mkat_alertmanager_firing", "Alerts that fire, by receiver", &["receiver"])?;
    for (name, count) in &counted.firing {
        firing.with_label_values(&[name]).set(*count);
    }
    let alive = vector("mkat_worker_alive", "1 while a worker goes its rounds", &["worker"])?;
    let restarts = vector("mkat_worker_restarts", "How often a worker had to be started again", &["worker"])?;
    for worker in app.liveness.states() {
        alive.with_label_values(&[worker.name]).set(worker.alive.into());
        restarts.with_label_values(&[worker.name]).set(i64::try_from(worker.restarts).unwrap_or(i64::MAX));
    }
    let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    single("mkat_contacts_unreachable", "Contacts with a channel that does not deliver", whole(counted.unreachable))?;
    single("mkat_writer_backlog", "Jobs that wait for the writer of the database", whole(app.store.backlog()))?;
    single("mkat_stream_listeners", "Open event streams", whole(app.feed.listeners()))?;
    let bytes = std::fs::metadata(app.store.path()).map_or(0, |file| file.len());
    single("mkat_database_bytes", "Size of the database file", i64::try_from(bytes).unwrap_or(i64::MAX))?;
    Ok(registry)
}
