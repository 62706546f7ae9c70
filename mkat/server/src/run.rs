//! Start and stop: configuration, database, workers, listener, and the reverse in order.

use crate::api::auth::Guard;
use crate::api::{Shared, application};
use crate::app::App;
use crate::config::{self, Config};
use crate::domain::token;
use crate::error::{Error, Result};
use crate::signals::Signals;
use crate::store::{Store, contacts, monitors, sessions, settings};
use crate::{http_client, workers};
use actix_web::HttpServer;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::prelude::*;

/// How long requests and workers may take to finish once the stop was asked for.
const GRACE: Duration = Duration::from_secs(8);

/// Prints the settings in force; the exit status says whether they are right.
pub fn print_config() -> ExitCode {
    print!("{}", config::in_force());
    for name in config::unknown() {
        eprintln!("mkat: {name} is no setting of mkat");
    }
    match Config::from_env() {
        Ok(_) => ExitCode::SUCCESS,
        Err(mistakes) => refuse(&mistakes),
    }
}

/// Runs until SIGTERM or SIGINT.
pub fn serve() -> ExitCode {
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes),
    };
    start_logging(&config);
    for name in config::unknown() {
        tracing::warn!(name, "this variable is no setting of mkat");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&[format!("cannot start threads: {error}")]),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "ended");
            eprintln!("mkat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn refuse(mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("mkat: {mistake}");
    }
    ExitCode::from(2)
}

fn start_logging(config: &Config) {
    let filter: tracing_subscriber::filter::Targets = config.log_level.parse().unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false);
    // Only fails when a subscriber exists already, which then serves as well.
    let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
}

async fn run(config: Config) -> Result<()> {
    // From here on a stop is orderly, however early it comes.
    let asked_to_stop = StopSignals::listen()?;
    let signals = Arc::new(Signals::default());
    let store = Store::open(&config.database, signals.clone())?;
    let app = App {
        config: Arc::new(config),
        store,
        signals,
        feed: Arc::default(),
        liveness: Arc::default(),
        http: http_client::build()?,
        metrics: prometheus::Registry::new(),
        stop: CancellationToken::new(),
    };
    let guard = Arc::new(prepare(&app).await?);
    let served = serve_until_stopped(&app, guard, asked_to_stop).await;
    app.store.close();
    served
}

/// What must be true in the database before anything runs.
async fn prepare(app: &App) -> Result<Guard> {
    let configured = app.config.password.clone();
    let fingerprint_of = format!("{}\n{}", app.config.username, configured.as_deref().unwrap_or_default());
    let (password, generated) = app
        .write(move |tx| {
            contacts::ensure_default(tx, tx.now)?;
            monitors::restart_deadlines(tx, tx.now)?;
            end_sessions_of_old_credentials(tx, &fingerprint_of)?;
            match configured {
                Some(text) => Ok((token::sha256(&text), None)),
                None => generated_password(tx),
            }
        })
        .await?;
    if let Some(text) = generated {
        // The only time it is shown; standard output is otherwise JSON lines.
        eprintln!("mkat: sign in as {} with the password {text} (made now, shown once)", app.config.username);
    }
    Ok(Guard::new(&app.config, password))
}

fn end_sessions_of_old_credentials(db: &rusqlite::Connection, credentials: &str) -> Result<()> {
    let fingerprint = token::hex(&token::sha256(credentials));
    if settings::get(db, "credentials")?.as_ref() != Some(&fingerprint) {
        sessions::delete_all(db)?;
        settings::set(db, "credentials", &fingerprint)?;
    }
    Ok(())
}

/// The stored generated password's hash, or a new password. It has 128 random bits, so a plain hash is enough.
fn generated_password(db: &rusqlite::Connection) -> Result<([u8; 32], Option<String>)> {
    if let Some(hash) = settings::get(db, "generated_password_sha256")?.and_then(|text| unhex(&text)) {
        return Ok((hash, None));
    }
    let text = token::new_token();
    let hash = token::sha256(&text);
    settings::set(db, "generated_password_sha256", &token::hex(&hash))?;
    Ok((hash, Some(text)))
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> =
        (0..text.len() / 2).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    bytes?.try_into().ok()
}

async fn serve_until_stopped(app: &App, guard: Arc<Guard>, asked_to_stop: StopSignals) -> Result<()> {
    let shared = Shared { app: app.clone(), guard };
    let address = (app.config.bind, app.config.port);
    let server = HttpServer::new(move || application(&shared))
        .workers(app.config.http_workers)
        .shutdown_timeout(GRACE.as_secs())
        .disable_signals()
        .bind(address)
        .map_err(|error| Error::Internal(format!("cannot listen on {}:{}: {error}", address.0, address.1)))?;
    let addresses = server.addrs();
    let server = server.run();
    let handle = server.handle();
    let tracker = workers::start(app);
    for address in addresses {
        tracing::info!(%address, "listening");
    }
    let stop = app.stop.clone();
    tokio::spawn(async move {
        asked_to_stop.wait().await;
        tracing::info!("stopping");
        // Open event streams end by this, so that the graceful stop of the server need not wait for them.
        stop.cancel();
        handle.stop(true).await;
    });
    let served = server.await.map_err(Error::internal);
    app.stop.cancel();
    if tokio::time::timeout(GRACE, tracker.wait()).await.is_err() {
        tracing::warn!("some workers did not end in time");
    }
    served
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(Error::internal);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
