//! Rows of rollups: what the events of a period came to. A closed period is written once.

use crate::domain::rollup::Rollup;
use crate::domain::{EventType, Granularity, Timestamp};
use crate::error::Result;
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// A rollup with its place.
#[derive(Debug, Clone)]
pub struct RollupRow {
    pub id: i64,
    pub monitor_id: String,
    pub service_id: String,
    pub granularity: Granularity,
    pub period_start: Timestamp,
    pub rollup: Rollup,
}

/// Ids of a monitor and of its service.
pub type Key = (String, String);

const SELECT: &str = "SELECT id, monitor_id, service_id, granularity, period_start_at, count, success_count, \
                      value_count, min, max, mean, std_dev, median, p80, p90, p95 FROM rollups";

fn from_row(row: &Row<'_>) -> rusqlite::Result<RollupRow> {
    Ok(RollupRow {
        id: row.get(0)?,
        monitor_id: row.get(1)?,
        service_id: row.get(2)?,
        granularity: row.get(3)?,
        period_start: row.get(4)?,
        rollup: Rollup {
            count: row.get(5)?,
            success: row.get(6)?,
            values: row.get(7)?,
            min: row.get(8)?,
            max: row.get(9)?,
            mean: row.get(10)?,
            std_dev: row.get(11)?,
            percentiles: [row.get(12)?, row.get(13)?, row.get(14)?, row.get(15)?],
        },
    })
}

/// Oldest first; from and to are inclusive. The newest 10,000.
pub fn of_monitor(
    db: &Connection,
    monitor_id: &str,
    granularity: Option<Granularity>,
    range: (Option<Timestamp>, Option<Timestamp>),
) -> Result<Vec<RollupRow>> {
    let mut statement = db.prepare_cached(&format!(
        "{SELECT} WHERE monitor_id = ?1 AND (?2 IS NULL OR granularity = ?2) AND (?3 IS NULL OR period_start_at >= ?3) \
         AND (?4 IS NULL OR period_start_at <= ?4) ORDER BY period_start_at DESC, granularity DESC LIMIT 10000"
    ))?;
    let rows = statement.query_map(params![monitor_id, granularity, range.0, range.1], from_row)?;
    let mut rows: Vec<RollupRow> = rows.collect::<rusqlite::Result<_>>()?;
    rows.reverse();
    Ok(rows)
}

/// What each monitor received from `from` to before `to`, by (monitor, service).
pub fn of_events(db: &Connection, from: Timestamp, to: Timestamp) -> Result<Vec<(Key, Rollup)>> {
    let mut counts = db.prepare_cached(
        "SELECT m.id, m.service_id, count(*), sum(e.success), count(e.value) FROM monitors m JOIN events e \
         ON e.monitor_id = m.id AND e.created_at >= ?1 AND e.created_at < ?2 GROUP BY m.id",
    )?;
    let rows = counts.query_map(params![from, to], |row| {
        Ok(((row.get(0)?, row.get(1)?), (row.get::<_, i64>(2)?, row.get::<_, i64>(3)?, row.get::<_, i64>(4)?)))
    })?;
    let found: Vec<(Key, (i64, i64, i64))> = rows.collect::<rusqlite::Result<_>>()?;
    let mut values = db.prepare_cached(
        "SELECT value FROM events WHERE monitor_id = ?1 AND created_at >= ?2 AND created_at < ?3 AND value IS NOT NULL",
    )?;
    let mut rollups = Vec::with_capacity(found.len());
    for (key, (count, success, with_value)) in found {
        let list: Vec<f64> = if with_value == 0 {
            Vec::new()
        } else {
            values.query_map(params![key.0, from, to], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
        };
        rollups.push((key, Rollup::of_values(count, success, list)));
    }
    Ok(rollups)
}

/// What the rollups of a finer granularity from `from` to before `to` come to, by (monitor, service).
pub fn of_finer(db: &Connection, finer: Granularity, from: Timestamp, to: Timestamp) -> Result<Vec<(Key, Rollup)>> {
    let sql = format!("{SELECT} WHERE granularity = ?1 AND period_start_at >= ?2 AND period_start_at < ?3");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![finer, from, to], from_row)?;
    let mut joined: BTreeMap<Key, Rollup> = BTreeMap::new();
    for row in rows {
        let row = row?;
        let sum = joined.entry((row.monitor_id, row.service_id)).or_default();
        *sum = std::mem::take(sum).joined(&row.rollup);
    }
    Ok(joined.into_iter().collect())
}

/// Writes a closed period; one that was written before stays as it is. Monitors that are gone are left out.
pub fn insert(
    db: &Connection,
    granularity: Granularity,
    start: Timestamp,
    (monitor_id, service_id): &Key,
    rollup: &Rollup,
) -> Result<()> {
    let [median, p80, p90, p95] = rollup.percentiles;
    db.prepare_cached(
        "INSERT OR IGNORE INTO rollups (monitor_id, service_id, granularity, period_start_at, count, success_count, \
         failure_count, value_count, min, max, mean, std_dev, median, p80, p90, p95, uptime_percent) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17 \
         WHERE EXISTS (SELECT 1 FROM monitors WHERE id = ?1)",
    )?
    .execute(params![
        monitor_id,
        service_id,
        granularity,
        start,
        rollup.count,
        rollup.success,
        rollup.count - rollup.success,
        rollup.values,
        rollup.min,
        rollup.max,
        rollup.mean,
        rollup.std_dev,
        median,
        p80,
        p90,
        p95,
        rollup.uptime_percent()
    ])?;
    Ok(())
}

/// The oldest event.
pub fn first_event(db: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT min((SELECT min(created_at) FROM events e WHERE e.monitor_id = m.id)) FROM monitors m";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Deletes rollups of a granularity that began before `edge`.
pub fn delete_before(db: &Connection, granularity: Granularity, edge: Timestamp) -> Result<usize> {
    let sql = "DELETE FROM rollups WHERE granularity = ?1 AND period_start_at < ?2";
    Ok(db.prepare_cached(sql)?.execute(params![granularity, edge])?)
}

/// Deletes at most `batch` events before `edge`, except readings of metrics, which have their own keeping time.
pub fn delete_events_before(db: &Connection, edge: Timestamp, batch: i64) -> Result<usize> {
    Ok(db
        .prepare_cached(
            "DELETE FROM events WHERE id IN (SELECT e.id FROM monitors m JOIN events e ON e.monitor_id = m.id \
             AND e.created_at < ?1 WHERE e.event_type != ?2 LIMIT ?3)",
        )?
        .execute(params![edge, EventType::MetricIngested, batch])?)
}
