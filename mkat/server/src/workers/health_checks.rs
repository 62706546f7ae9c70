//! Calls the URLs of health-check monitors, many at a time, so that one that hangs delays no other.

use crate::app::App;
use crate::domain::Timestamp;
use crate::engine::health_check;
use crate::http_client;
use crate::liveness::Pulse;
use crate::notify::http::target;
use crate::store::monitors::{self, HealthCheck};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const TICK: Duration = Duration::from_secs(1);
/// Checks that run at the same time.
const AT_ONCE: usize = 32;
/// Of longer bodies only the beginning is searched, in bytes.
const BODY_MAX: usize = 1 << 20;
const REDIRECTS: usize = 5;
/// Bound of a compiled pattern, in bytes. Patterns are matched in linear time.
const PATTERN_MAX: usize = 1 << 20;

pub async fn run(app: App, pulse: Pulse) {
    let client = match http_client::build_with(redirects()) {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "health checks cannot be made"),
    };
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut running: HashMap<String, JoinHandle<()>> = HashMap::new();
    loop {
        pulse.beat();
        running.retain(|_, task| !task.is_finished());
        let now = Timestamp::now();
        match app.read(move |db| monitors::due_health_checks(db, now)).await {
            Ok(due) => {
                for monitor in due {
                    let Some(check) = monitor.settings.health_check else { continue };
                    let (app, client, slots) = (app.clone(), client.clone(), slots.clone());
                    let id = monitor.id.clone();
                    running.entry(monitor.id).or_insert_with(|| {
                        tokio::spawn(async move {
                            let Ok(_slot) = slots.acquire().await else { return };
                            check_and_record(&app, &client, id, &check).await;
                        })
                    });
                }
            }
            Err(error) => tracing::error!(%error, "could not read which health checks are due"),
        }
        if !super::pause(&app, TICK).await {
            running.values().for_each(JoinHandle::abort);
            return;
        }
    }
}

/// Redirects are followed, but not to where a check may not go in the first place.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        if attempt.previous().len() > REDIRECTS {
            return attempt.error("too many redirects");
        }
        match target(attempt.url().as_str()) {
            Ok(_) => attempt.follow(),
            Err(why) => attempt.error(why),
        }
    })
}

async fn check_and_record(app: &App, client: &Client, monitor_id: String, check: &HealthCheck) {
    let began = Instant::now();
    let limit = Duration::from_secs(u64::try_from(check.timeout_seconds).unwrap_or(10));
    let result = match tokio::time::timeout(limit, perform(client, check)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
    };
    let millis = began.elapsed().as_secs_f64() * 1000.0;
    let failure = result.err();
    let stored = app.write(move |tx| health_check::record(tx, &monitor_id, millis, failure.as_deref())).await;
    if let Err(error) = stored {
        tracing::error!(%error, "could not record a health check");
    }
}

/// What is wrong, in words without the URL, which may hold a secret.
async fn perform(client: &Client, check: &HealthCheck) -> Result<(), String> {
    let url = target(&check.url)?;
    let method = Method::from_bytes(check.method.as_bytes()).map_err(|_| "unknown method".to_owned())?;
    // The time limit is around the whole check, so the client's own must not end it earlier.
    let request = client.request(method, url).timeout(Duration::from_secs(180));
    let mut response = request.send().await.map_err(describe)?;
    let status = response.status().as_u16();
    let expected = |text: &str| text.split(',').any(|code| code.trim().parse() == Ok(status));
    if !expected(&check.expected_status_codes) {
        return Err(format!("HTTP {status}, expected {}", check.expected_status_codes));
    }
    let Some(pattern) = &check.body_match_regex else { return Ok(()) };
    let pattern = regex::bytes::RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build();
    let pattern = pattern.map_err(|_| "the pattern is too large or wrong".to_owned())?;
    let mut body = Vec::new();
    while body.len() < BODY_MAX
        && let Some(chunk) = response.chunk().await.map_err(describe)?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(BODY_MAX);
    if pattern.is_match(&body) { Ok(()) } else { Err("the body does not match the pattern".to_owned()) }
}

fn describe(error: reqwest::Error) -> String {
    if error.is_connect() {
        "cannot connect".into()
    } else if error.is_redirect() {
        "a redirect leads nowhere".into()
    } else {
        "the connection broke".into()
    }
}
