//! Folds events into hours, hours into days, days into weeks and months; forgets what is older than its keeping time.
//!
//! Each granularity remembers how far it is, so periods during which mkat did not run are made up for, and a period that
//! was written is never written again from fewer events.

use crate::app::App;
use crate::domain::rollup::{next_period, period_start};
use crate::domain::{Granularity, Timestamp};
use crate::error::Result;
use crate::liveness::Pulse;
use crate::store::{rollups, settings};
use rusqlite::Connection;
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(300);
const DAY: i64 = 86_400;
/// Days that raw events are kept; readings of metrics as their monitor says.
const EVENT_DAYS: i64 = 7;
/// Days that rollups are kept; those of months for ever.
const KEPT: [(Granularity, i64); 3] =
    [(Granularity::Hourly, 30), (Granularity::Daily, 365), (Granularity::Weekly, 730)];
/// Events per transaction of deletion.
const BATCH: i64 = 2_000;

pub async fn run(app: App, pulse: Pulse) {
    loop {
        pulse.beat();
        if let Err(error) = round(&app, &pulse).await {
            tracing::error!(%error, "could not fold events");
        }
        if !super::pause(&app, EVERY).await {
            return;
        }
    }
}

async fn round(app: &App, pulse: &Pulse) -> Result<()> {
    for granularity in Granularity::ALL {
        while !app.stop.is_cancelled() && fold_next(app, *granularity).await? {
            pulse.beat();
        }
    }
    forget(app, pulse).await
}

const fn key(granularity: Granularity) -> &'static str {
    match granularity {
        Granularity::Hourly => "rollups_hourly_until",
        Granularity::Daily => "rollups_daily_until",
        Granularity::Weekly => "rollups_weekly_until",
        Granularity::Monthly => "rollups_monthly_until",
    }
}

/// Beginning of the first period that is not written yet.
fn next_start(db: &Connection, granularity: Granularity) -> Result<Option<Timestamp>> {
    let known = settings::get(db, key(granularity))?.and_then(|text| text.parse().ok()).map(Timestamp::from_micros);
    match known {
        Some(start) => Ok(Some(start)),
        None => Ok(rollups::first_event(db)?.map(|first| period_start(granularity, first))),
    }
}

/// Writes one closed period. False when there is none left to write.
async fn fold_next(app: &App, granularity: Granularity) -> Result<bool> {
    let now = Timestamp::now();
    let Some(start) = app.read(move |db| next_start(db, granularity)).await? else { return Ok(false) };
    let end = next_period(granularity, start);
    // A second for what was received just before the hour and is still on its way to the disk.
    if end.plus_seconds(1) > now {
        return Ok(false);
    }
    let folded = app
        .read(move |db| match granularity {
            Granularity::Hourly => rollups::of_events(db, start, end),
            Granularity::Daily => rollups::of_finer(db, Granularity::Hourly, start, end),
            Granularity::Weekly | Granularity::Monthly => rollups::of_finer(db, Granularity::Daily, start, end),
        })
        .await?;
    app.write(move |tx| {
        for (monitor, rollup) in &folded {
            rollups::insert(tx, granularity, start, monitor, rollup)?;
        }
        settings::set(tx, key(granularity), &end.micros().to_string())
    })
    .await?;
    Ok(true)
}

async fn forget(app: &App, pulse: &Pulse) -> Result<()> {
    app.write(|tx| {
        for (granularity, days) in KEPT {
            rollups::delete_before(tx, granularity, tx.now.plus_seconds(-days * DAY))?;
        }
        Ok(())
    })
    .await?;
    while !app.stop.is_cancelled() {
        pulse.beat();
        let deleted =
            app.write(|tx| rollups::delete_events_before(tx, tx.now.plus_seconds(-EVENT_DAYS * DAY), BATCH)).await?;
        if deleted < BATCH as usize {
            break;
        }
    }
    Ok(())
}
