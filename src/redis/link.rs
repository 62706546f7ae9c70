//! One connection that is always there, or being opened again. Callers share it and report trouble; one task watches over
//! it, so that no caller ever waits for a connection to be opened for longer than its own deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::pool::{Held, RedisConnection, RedisPool};

/// Between two attempts to connect, and between two looks at a connection in trouble.
const PAUSE: Duration = Duration::from_millis(200);
/// For the question whether a connection is of use.
const LOOK: Duration = Duration::from_millis(500);
/// A connection without trouble is asked this often, because one that nobody uses reports none.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A share of the connection, and which one it is.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) connection: RedisConnection,
    pub(super) number: u64,
}

pub(super) struct Link {
    current: watch::Sender<Option<Current>>,
    trouble: Notify,
    /// Number of the last connection that is known to be useless.
    broken: AtomicU64,
}

impl Link {
    pub(super) fn new() -> Self {
        Link { current: watch::Sender::new(None), trouble: Notify::new(), broken: AtomicU64::new(0) }
    }

    /// Waits until there is a first one. Later there always is one, though it may not work.
    pub(super) async fn current(&self) -> Option<Current> {
        self.current.subscribe().wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Tells of every new connection.
    pub(super) fn changes(&self) -> watch::Receiver<Option<Current>> {
        self.current.subscribe()
    }

    /// Nobody answered in time; somebody may look after it.
    pub(super) fn report_silence(&self) {
        self.trouble.notify_one();
    }

    pub(super) fn report(&self, number: u64, error: &RedisError) {
        let read_only = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
        // A cluster's connection gets over these by itself.
        let is_server = matches!(&*self.current.borrow(), Some(Current { connection: RedisConnection::Server(_), .. }));
        if is_server && (read_only || error.is_unrecoverable_error() || error.is_connection_dropped()) {
            self.broken.fetch_max(number, Ordering::Relaxed);
        }
        if read_only || error.is_io_error() || error.is_cluster_error() || error.is_unrecoverable_error() {
            self.trouble.notify_one();
        }
    }

    /// Opens a connection, and a new one whenever it is in trouble. `opened` is called after each. Never ends.
    pub(super) async fn keep(self: Arc<Self>, pool: RedisPool, opened: impl Fn()) {
        let mut held: Option<Held> = None;
        let mut down = false;
        for number in 1.. {
            let fresh = loop {
                match pool.get().await {
                    Ok(fresh) => break fresh,
                    Err(error) if !down => tracing::warn!(%error, "redis_unreachable"),
                    Err(_) => {}
                }
                down = true;
                sleep(PAUSE).await;
            };
            if std::mem::take(&mut down) {
                tracing::info!("redis_reached");
            }
            self.current.send_replace(Some(Current { connection: fresh.share(), number }));
            opened();
            if let Some(old) = held.replace(fresh) {
                old.discard();
            }
            self.until_useless(number).await;
        }
    }

    async fn until_useless(&self, number: u64) {
        let (mut seen, mut failures) = (None, 0);
        loop {
            if seen.is_some() {
                let _ = timeout(LOOK_EVERY, self.trouble.notified()).await;
            }
            let Some(Current { mut connection, .. }) = self.current.borrow().clone() else { return };
            let looks = connection.looks();
            match timeout(LOOK, connection.view()).await {
                Ok(Ok(view)) => {
                    failures = 0;
                    if *seen.get_or_insert_with(|| view.clone()) != view {
                        return;
                    }
                }
                _ => failures += 1,
            }
            // Before the next attempt as well: a connection may open without being of use.
            sleep(PAUSE).await;
            if failures >= looks || self.broken.load(Ordering::Relaxed) >= number {
                return;
            }
        }
    }
}
