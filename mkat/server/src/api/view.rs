//! Services and monitors as clients see them.

use crate::domain::{MonitorType, ServiceState, Severity, ThresholdStrategy, Timestamp};
use crate::error::Result;
use crate::store::monitors::{self, MonitorRow};
use crate::store::services::ServiceRow;
use rusqlite::Connection;
use serde::Serialize;
use std::collections::HashMap;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    id: String,
    name: String,
    description: Option<String>,
    state: ServiceState,
    severity: Severity,
    paused_until: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    is_suppressed: bool,
    suppression_reason: Option<String>,
    depends_on: Vec<Named>,
    depended_on_by: Vec<Named>,
    /// `peer`, `alertmanager`, ... when the service was not made by hand.
    managed_by: Option<String>,
    monitors: Vec<MonitorView>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Named {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorView {
    id: String,
    #[serde(rename = "type")]
    kind: MonitorType,
    /// 0 Unknown, 1 Up, 2 Down: what this monitor alone says.
    state: crate::domain::MonitorState,
    token: String,
    interval_seconds: i64,
    grace_period_seconds: i64,
    last_check_in: Option<Timestamp>,
    webhook_fail_url: String,
    webhook_recover_url: String,
    heartbeat_url: String,
    metric_url: String,
    min_value: Option<f64>,
    max_value: Option<f64>,
    threshold_strategy: Option<ThresholdStrategy>,
    threshold_count: Option<i64>,
    window_seconds: Option<i64>,
    window_sample_count: Option<i64>,
    retention_days: Option<i64>,
    last_metric_value: Option<f64>,
    last_metric_at: Option<Timestamp>,
    health_check_url: Option<String>,
    http_method: Option<String>,
    expected_status_codes: Option<String>,
    timeout_seconds: Option<i64>,
    body_match_regex: Option<String>,
}

impl MonitorView {
    /// `base`: see [`super::origin::base_url`].
    pub fn new(row: MonitorRow, base: &str) -> Self {
        let metric = row.kind == MonitorType::Metric;
        let url = |what: &str, tail: &str| format!("{base}/{what}/{}{tail}", row.token);
        let thresholds = row.settings.thresholds.clone();
        let check = row.settings.health_check.clone();
        Self {
            webhook_fail_url: url("webhook", "/fail"),
            webhook_recover_url: url("webhook", "/recover"),
            heartbeat_url: url("heartbeat", ""),
            metric_url: url("metric", ""),
            id: row.id,
            kind: row.kind,
            state: row.state,
            token: row.token,
            interval_seconds: row.settings.interval_seconds,
            grace_period_seconds: row.settings.grace_period_seconds,
            last_check_in: row.last_check_in,
            min_value: thresholds.min,
            max_value: thresholds.max,
            threshold_strategy: metric.then_some(thresholds.strategy),
            threshold_count: thresholds.count,
            window_seconds: thresholds.window_seconds,
            window_sample_count: thresholds.window_samples,
            retention_days: metric.then_some(row.settings.retention_days),
            last_metric_value: row.last_metric_value,
            last_metric_at: row.last_metric_at,
            health_check_url: check.as_ref().map(|check| check.url.clone()),
            http_method: check.as_ref().map(|check| check.method.clone()),
            expected_status_codes: check.as_ref().map(|check| check.expected_status_codes.clone()),
            timeout_seconds: check.as_ref().map(|check| check.timeout_seconds),
            body_match_regex: check.and_then(|check| check.body_match_regex),
        }
    }
}

/// Services with their monitors, in the given order.
pub fn services(db: &Connection, rows: Vec<ServiceRow>, base: &str) -> Result<Vec<ServiceView>> {
    let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
    let mut by_service: HashMap<String, Vec<MonitorView>> = HashMap::new();
    for monitor in monitors::of_services(db, &ids)? {
        by_service.entry(monitor.service_id.clone()).or_default().push(MonitorView::new(monitor, base));
    }
    Ok(rows
        .into_iter()
        .map(|row| {
            let monitors = by_service.remove(&row.id).unwrap_or_default();
            service(row, monitors)
        })
        .collect())
}

fn service(row: ServiceRow, monitors: Vec<MonitorView>) -> ServiceView {
    ServiceView {
        id: row.id,
        name: row.name,
        description: row.description,
        state: row.state,
        severity: row.severity,
        paused_until: row.paused_until,
        created_at: row.created_at,
        updated_at: row.updated_at,
        is_suppressed: row.is_suppressed,
        suppression_reason: row.suppression_reason,
        // Dependencies between services are not offered; the fields are part of the contract.
        depends_on: Vec::new(),
        depended_on_by: Vec::new(),
        managed_by: row.managed_by,
        monitors,
    }
}

/// One service with its monitors.
pub fn one_service(db: &Connection, row: ServiceRow, base: &str) -> Result<ServiceView> {
    let monitors = monitors::of_service(db, &row.id)?;
    Ok(service(row, monitors.into_iter().map(|monitor| MonitorView::new(monitor, base)).collect()))
}
