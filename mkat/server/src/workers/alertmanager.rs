//! Ends alerts of Alertmanagers that were not repeated for too long.

use crate::app::App;
use crate::engine::alertmanager;
use crate::liveness::Pulse;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(5);

pub async fn run(app: App, pulse: Pulse) {
    loop {
        pulse.beat();
        if let Err(error) = app.write(alertmanager::tidy).await {
            tracing::error!(%error, "could not tidy the alerts of Alertmanagers");
        }
        if !super::pause(&app, EVERY).await {
            return;
        }
    }
}
