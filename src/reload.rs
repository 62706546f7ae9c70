//! Tenants and the certificate, which change while the node runs: the configuration is read again when its files change, on
//! SIGHUP and when an operator asks. Everything is checked first; with a mistake nothing changes. Nothing else is taken over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mics_actors::node::{Node, unix_ms};
use mics_actors::tenant::TenantChange;
use tokio::sync::Mutex;

use crate::certificate::Shown;
use crate::config::{ConfigError, ConfigErrors, GatewayConfig, Mode, Source};
use crate::gateway::tenants;

/// Between two looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The first look, which usually finds nothing new.
const START: &str = "start";

/// What a reload did.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// In the order of the tenants' ids.
    pub changes: Vec<TenantChange>,
    pub certificate_renewed: bool,
    pub warnings: Vec<String>,
    /// Other variables differ from those that the node was started with: they need a restart.
    pub restart_needed: bool,
}

/// Reads the configuration again from where it came.
pub struct Reloader {
    source: Arc<Source>,
    mode: Mode,
    started_with: GatewayConfig,
    node: Arc<Node>,
    certificate: Option<Arc<Shown>>,
    /// One reload at a time.
    one: Mutex<()>,
}

impl Reloader {
    /// `certificate`: what the TLS port shows, if there is one.
    pub fn new(
        source: Source,
        mode: Mode,
        started_with: GatewayConfig,
        node: Arc<Node>,
        certificate: Option<Arc<Shown>>,
    ) -> Arc<Self> {
        // What a node starts with was read as a reload reads it.
        note(&node, true);
        Arc::new(Reloader { source: Arc::new(source), mode, started_with, node, certificate, one: Mutex::default() })
    }

    /// Takes over what the files say now, or answers every mistake and changes nothing. `cause` is for the log.
    pub async fn reload(&self, cause: &str) -> Result<Reloaded, ConfigErrors> {
        let _one = self.one.lock().await;
        let (source, mode) = (self.source.clone(), self.mode);
        let loaded = tokio::task::spawn_blocking(move || GatewayConfig::load(&source, mode)).await;
        let loaded = loaded.unwrap_or_else(|panic| Err(unexpected(&panic)));
        note(&self.node, loaded.is_ok());
        let (config, warnings) = loaded.inspect_err(|errors| {
            for error in &errors.0 {
                tracing::error!(cause, "reload_refused: {error}");
            }
        })?;
        let mut changes = self.node.change_tenants(&tenants(&config, mode));
        changes.sort_by(|a, b| id(a).cmp(id(b)));
        let shown = self.certificate.as_ref().zip(config.tls_certificate.as_ref());
        let certificate_renewed = shown.is_some_and(|(shown, new)| shown.renew(new));
        let before = GatewayConfig {
            tenants: config.tenants.clone(),
            tls_certificate: config.tls_certificate.clone(),
            ..self.started_with.clone()
        };
        let reloaded = Reloaded { changes, certificate_renewed, warnings, restart_needed: before != config };
        reloaded.log(cause);
        Ok(reloaded)
    }

    /// Reloads on SIGHUP, and when a file has changed and stayed the same for one look.
    pub fn watch(self: &Arc<Self>) {
        let reloader = self.clone();
        actix_rt::spawn(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
            while hangups.recv().await.is_some() {
                let _ = reloader.reload("SIGHUP").await;
            }
        });
        let config = &self.started_with;
        let certificate = [&config.tls_cert_file, &config.tls_key_file].into_iter().flatten();
        let files: Vec<PathBuf> =
            config.tenants_file.iter().chain(&config.config_file).chain(certificate).cloned().collect();
        if !files.is_empty() {
            actix_rt::spawn(self.clone().watch_files(files));
        }
    }

    async fn watch_files(self: Arc<Self>, files: Vec<PathBuf>) {
        // Unknown at first: what was written while the node started is not missed.
        let (mut taken, mut seen) = (None, None);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let files = files.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || stamps(&files)).await else { continue };
            let now = Some(now);
            // A file that is still being written may read well and lack tenants.
            if now == seen && now != taken {
                let cause = if taken.is_none() { START } else { "file" };
                taken = now.clone();
                let _ = self.reload(cause).await;
            }
            seen = now;
        }
    }
}

/// For the metrics: whether the last reading was good, and when one was.
fn note(node: &Node, good: bool) {
    let metrics = &node.metrics;
    metrics.config_last_reload_successful.with_label_values::<&str>(&[]).set(i64::from(good));
    if good {
        metrics.config_last_reload_success_timestamp_seconds.with_label_values::<&str>(&[]).set(unix_ms() / 1000);
    }
}

/// When a file was last written, and its length; `None` = it can't be seen.
type Stamp = Option<(SystemTime, u64)>;

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let data = std::fs::metadata(file).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    files.iter().map(stamp).collect()
}

fn unexpected(panic: &tokio::task::JoinError) -> ConfigErrors {
    let (name, problem) = ("TENANTS_FILE".to_owned(), format!("could not be read: {panic}"));
    ConfigErrors(vec![ConfigError { name, value_shown: String::new(), problem }])
}

fn id(change: &TenantChange) -> &str {
    match change {
        TenantChange::Added(id) | TenantChange::Removed(id) | TenantChange::Changed(id, _) => id,
    }
}

impl Reloaded {
    fn log(&self, cause: &str) {
        if cause == START && self.changes.is_empty() && !self.certificate_renewed {
            return;
        }
        for warning in &self.warnings {
            tracing::warn!("config: {warning}");
        }
        for change in &self.changes {
            match change {
                TenantChange::Added(tenant) => tracing::info!(cause, tenant, "tenant_added"),
                TenantChange::Removed(tenant) => tracing::warn!(cause, tenant, "tenant_removed"),
                TenantChange::Changed(tenant, fields) => {
                    tracing::info!(cause, tenant, fields = fields.join(","), "tenant_changed");
                }
            }
        }
        if self.certificate_renewed {
            tracing::info!(cause, "certificate_renewed");
        }
        if self.restart_needed {
            tracing::warn!(
                cause,
                "reload: other settings than tenants and the certificate differ; they need a restart"
            );
        }
        tracing::info!(cause, changes = self.changes.len(), "reload_done");
    }
}
