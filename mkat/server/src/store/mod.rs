//! SQLite behind two doors: `write` (one thread, group commit) and `read` (a small pool). Nothing else opens the file.

pub mod alertmanager;
pub mod alerts;
pub mod contacts;
pub mod events;
pub mod monitors;
pub mod mutes;
pub mod outbox;
pub mod peers;
mod readers;
pub mod readings;
pub mod rollups;
mod schema;
pub mod services;
pub mod sessions;
pub mod settings;
mod sql_types;
pub mod transitions;
mod writer;

pub use writer::Tx;

use crate::error::{Error, Result};
use crate::signals::Signals;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Handle of the store; clones share it.
#[derive(Clone)]
pub struct Store {
    writer: Arc<writer::Writer>,
    readers: readers::Readers,
    path: Arc<PathBuf>,
}

impl Store {
    /// Opens (and creates or migrates) the file and starts the writer's thread. Events of each commit go to `signals`.
    pub fn open(path: &Path, signals: Arc<Signals>) -> Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::Internal(format!("cannot create {}: {error}", folder.display())))?;
        }
        create_private(path)?;
        let mut connection = connect(path)?;
        schema::migrate(&mut connection)?;
        Ok(Self {
            writer: Arc::new(writer::Writer::start(connection, signals)?),
            readers: readers::Readers::new(path),
            path: Arc::new(path.to_owned()),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in the writer's thread inside a transaction. When this resolves with `Ok`, the work is on disk;
    /// with `Err`, nothing of it is. Several calls share one commit.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(work).await
    }

    /// Runs `work` on a read-only connection, off the async threads. Sees everything committed before the call.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.run(work).await
    }

    /// Jobs waiting for the writer.
    pub fn backlog(&self) -> usize {
        self.writer.backlog()
    }

    /// Ends the writer after the jobs already queued, and folds the log back into the file. Idempotent.
    pub fn close(&self) {
        self.writer.close();
    }
}

/// The file holds tokens and bot secrets, so that a new one is for its owner only; SQLite gives its logs the same mode.
fn create_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::Internal(format!("cannot create {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    tune(&connection)?;
    Ok(connection)
}

/// Settings of every connection. `synchronous = FULL`: an answered heartbeat survives a power cut, not only a crash.
fn tune(connection: &Connection) -> Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "cache_size", -2048)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// Like `QueryReturnedNoRows` -> `None`, for look-ups.
pub fn optional<T>(result: rusqlite::Result<T>) -> Result<Option<T>> {
    use rusqlite::OptionalExtension;
    Ok(result.optional()?)
}
