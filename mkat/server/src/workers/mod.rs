//! What runs by itself beside the requests. Each worker is one file with `async fn run(app: App, pulse: Pulse)`.

mod alertmanager;
mod bot_commands;
mod deadlines;
mod delivery_metrics;
pub mod dispatcher;
mod feed;
mod health_checks;
mod peers;
mod retention;
mod rollups;
mod schedule;
pub mod telegram_bot;

use crate::app::App;
use crate::liveness::Pulse;
use std::future::Future;
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Starts all workers on the current runtime. They end when `app.stop` is cancelled; the tracker waits for that.
pub fn start(app: &App) -> TaskTracker {
    let tracker = TaskTracker::new();
    supervise(&tracker, app, "deadlines", Duration::from_secs(30), deadlines::run);
    supervise(&tracker, app, "schedule", Duration::from_secs(90), schedule::run);
    supervise(&tracker, app, "retention", Duration::from_secs(2 * 3600), retention::run);
    supervise(&tracker, app, "dispatcher", Duration::from_secs(30), dispatcher::run);
    supervise(&tracker, app, "telegram_bot", Duration::from_secs(90), telegram_bot::run);
    supervise(&tracker, app, "feed", Duration::from_secs(60), feed::run);
    supervise(&tracker, app, "peers", Duration::from_secs(60), peers::run);
    supervise(&tracker, app, "alertmanager", Duration::from_secs(120), alertmanager::run);
    supervise(&tracker, app, "health_checks", Duration::from_secs(60), health_checks::run);
    supervise(&tracker, app, "rollups", Duration::from_secs(2 * 3600), rollups::run);
    tracker.close();
    tracker
}

/// Runs a worker until the stop; a worker that panics or returns early is started again after a second.
/// `max_silence`: longest time between two beats of a healthy worker, for readiness.
pub fn supervise<F, Fut>(tracker: &TaskTracker, app: &App, name: &'static str, max_silence: Duration, worker: F)
where
    F: Fn(App, Pulse) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let app = app.clone();
    tracker.spawn(async move {
        while !app.stop.is_cancelled() {
            let pulse = app.liveness.register(name, max_silence);
            let task = tokio::spawn(worker(app.clone(), pulse));
            let ended = task.await;
            if app.stop.is_cancelled() {
                break;
            }
            match ended {
                Ok(()) => tracing::warn!(worker = name, "worker ended early, starting it again"),
                Err(error) => tracing::error!(worker = name, %error, "worker panicked, starting it again"),
            }
            pause(&app, Duration::from_secs(1)).await;
        }
    });
}

/// Sleeps, but not beyond the stop. Returns false when the process is to end.
pub async fn pause(app: &App, duration: Duration) -> bool {
    tokio::select! {
        () = app.stop.cancelled() => false,
        () = tokio::time::sleep(duration) => true,
    }
}
