//! Folds events into hours, days, weeks and months, and forgets old events.

use crate::app::App;
use crate::liveness::Pulse;
use std::time::Duration;

pub async fn run(app: App, pulse: Pulse) {
    loop {
        pulse.beat();
        if !super::pause(&app, Duration::from_secs(600)).await {
            return;
        }
    }
}
