//! A few read-only connections, lent to blocking tasks one at a time.

use super::tune;
use crate::error::{Error, Result};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

const CONNECTIONS: usize = 4;

#[derive(Clone)]
pub struct Readers {
    path: Arc<PathBuf>,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_owned()), permits: Arc::new(Semaphore::new(CONNECTIONS)), idle: Arc::default() }
    }

    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let readers = self.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = match readers.idle().pop() {
                Some(connection) => connection,
                None => open(&readers.path)?,
            };
            // One snapshot for all statements of the closure. A panic in `work` drops the connection, which is fine.
            let transaction = connection.unchecked_transaction()?;
            let result = work(&transaction);
            drop(transaction);
            readers.idle().push(connection);
            result
        })
        .await
        .map_err(|error| Error::Internal(format!("read task: {error}")))?
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn open(path: &Path) -> Result<Connection> {
    // Opened read-write because a reader of a WAL file may have to create its index; writing is refused by query_only.
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    tune(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}
