//! Deletes what is older than its keeping time, in small batches so that the writer stays free.

use crate::app::App;
use crate::liveness::Pulse;
use crate::store::sessions;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(3600);

pub async fn run(app: App, pulse: Pulse) {
    loop {
        pulse.beat();
        if let Err(error) = app.write(|tx| sessions::delete_expired(tx, tx.now)).await {
            tracing::error!(%error, "could not delete expired sessions");
        }
        if !super::pause(&app, EVERY).await {
            return;
        }
    }
}
