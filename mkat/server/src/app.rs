//! What every handler and worker shares.

use crate::config::Config;
use crate::error::Result;
use crate::feed::Feed;
use crate::liveness::Liveness;
use crate::signals::Signals;
use crate::store::{Store, Tx};
use rusqlite::Connection;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub store: Store,
    pub signals: Arc<Signals>,
    /// What the live stream tells.
    pub feed: Arc<Feed>,
    pub liveness: Arc<Liveness>,
    /// For everything that mkat calls: 10 s in total per request unless the caller sets another limit.
    pub http: reqwest::Client,
    /// mkat's own metrics; register collectors here at start.
    pub metrics: prometheus::Registry,
    /// Cancelled when the process is to end.
    pub stop: CancellationToken,
}

impl App {
    /// See [`Store::write`].
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.store.write(work).await
    }

    /// See [`Store::read`].
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.store.read(work).await
    }
}
