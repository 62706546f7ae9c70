//! Deletes what is older than its keeping time, in small batches so that the writer stays free.

use crate::app::App;
use crate::error::Result;
use crate::liveness::Pulse;
use crate::store::{readings, sessions};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(3600);
/// Rows per transaction.
const BATCH: usize = 2_000;

pub async fn run(app: App, pulse: Pulse) {
    loop {
        pulse.beat();
        if let Err(error) = clean(&app, &pulse).await {
            tracing::error!(%error, "could not delete what is too old");
        }
        if !super::pause(&app, EVERY).await {
            return;
        }
    }
}

async fn clean(app: &App, pulse: &Pulse) -> Result<()> {
    app.write(|tx| sessions::delete_expired(tx, tx.now)).await?;
    let mut deleted = 0;
    loop {
        let batch = app.write(|tx| readings::delete_expired(tx, tx.now, BATCH as i64)).await?;
        deleted += batch;
        pulse.beat();
        if batch < BATCH || app.stop.is_cancelled() {
            break;
        }
    }
    if deleted > 0 {
        tracing::info!(deleted, "old metric readings deleted");
    }
    Ok(())
}
