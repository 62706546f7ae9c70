//! Ends of pauses and of mute windows, at their instant.

use crate::app::App;
use crate::domain::Timestamp;
use crate::engine::{mute, pause};
use crate::error::Result;
use crate::liveness::Pulse;
use crate::store::{mutes, services};
use std::time::Duration;

/// Looks at least this often, in case the clock was set.
const TICK: Duration = Duration::from_secs(30);

pub async fn run(app: App, pulse: Pulse) {
    while !app.stop.is_cancelled() {
        pulse.beat();
        let wait = match settle(&app).await {
            Ok(next) => next.map_or(TICK, |at| at.since(Timestamp::now()).min(TICK)),
            Err(error) => {
                tracing::error!(%error, "could not look at ended pauses and mute windows");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = app.stop.cancelled() => {}
            () = app.signals.schedule_changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Does what is due and says when the next thing is.
async fn settle(app: &App) -> Result<Option<Timestamp>> {
    let next = |db: &rusqlite::Connection| -> Result<_> {
        let (resume, unmute) = (services::next_resume(db)?, mutes::next_end(db)?);
        Ok(resume.into_iter().chain(unmute).min())
    };
    let upcoming = app.read(next).await?;
    if upcoming.is_none_or(|at| at > Timestamp::now()) {
        return Ok(upcoming);
    }
    app.write(move |tx| {
        pause::resume_due(tx)?;
        mute::settle_ended(tx)?;
        next(tx)
    })
    .await
}
