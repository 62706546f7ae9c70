//! Offline messages in an SQLite file: the example of a store, and good for one process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mics_proto::hook::{GetOfflineMessagesRequest, GetOfflineMessagesResponse, MqEvent};
use mics_proto::message::MessageRequest;
use mics_proto::prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{BoxError, OfflineStore};

const MAX_PAGE: i32 = 1000;

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL, user TEXT NOT NULL, sender TEXT NOT NULL, msg_id TEXT NOT NULL,
  data BLOB NOT NULL, at_ms INTEGER NOT NULL,
  UNIQUE (tenant, user, sender, msg_id)
);
CREATE TABLE IF NOT EXISTS device (
  tenant TEXT NOT NULL, user TEXT NOT NULL, device TEXT NOT NULL,
  done INTEGER NOT NULL, given INTEGER NOT NULL, given_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, user, device)
);
CREATE INDEX IF NOT EXISTS message_age ON message (at_ms);
";

/// Each device gets each message of its user. What was given to a device is given again while `repeat` has not passed
/// since: the answer may have been too late, or the connection may have broken. Clients drop repetitions by id.
#[derive(Clone)]
pub struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
    repeat_ms: i64,
}

impl SqliteStore {
    /// Opens or makes the file, with `repeat` of 60 s.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BoxError> {
        Self::prepare(Connection::open(path)?)
    }

    /// A store that ends with the process.
    pub fn in_memory() -> Result<Self, BoxError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    /// Changes how long what was given is given again.
    pub fn with_repeat(mut self, repeat: Duration) -> Self {
        self.repeat_ms = i64::try_from(repeat.as_millis()).unwrap_or(i64::MAX);
        self
    }

    fn prepare(connection: Connection) -> Result<Self, BoxError> {
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), repeat_ms: 60_000 })
    }

    /// Forgets what was kept before `before_ms` (Unix ms of the event); gives how many. Call it now and then.
    pub async fn forget(&self, before_ms: i64) -> Result<usize, BoxError> {
        self.run(move |connection| Ok(connection.execute("DELETE FROM message WHERE at_ms < ?1", [before_ms])?)).await
    }

    /// SQLite blocks, so it does off the threads that serve.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, BoxError> + Send + 'static,
    ) -> Result<T, BoxError> {
        let connection = self.connection.clone();
        let locked = move || work(&mut connection.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(locked).await?
    }
}

impl OfflineStore for SqliteStore {
    async fn keep(&self, event: &MqEvent) -> Result<bool, BoxError> {
        let event = event.clone();
        self.run(move |connection| {
            let added = connection.execute(
                "INSERT OR IGNORE INTO message (tenant, user, sender, msg_id, data, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    event.tenant_id,
                    event.to_user_id,
                    event.user_id,
                    event.msg_id,
                    event.event_data.as_ref(),
                    event.timestamp
                ],
            )?;
            Ok(added == 1)
        })
        .await
    }

    async fn page(
        &self,
        request: &GetOfflineMessagesRequest,
        now_ms: i64,
    ) -> Result<GetOfflineMessagesResponse, BoxError> {
        let request = request.clone();
        let repeat_ms = self.repeat_ms;
        self.run(move |connection| page(connection, &request, now_ms, repeat_ms)).await
    }
}

/// How far a device is: messages up to `done` were given long enough ago, up to `given` lately.
#[derive(Default)]
struct Mark {
    done: i64,
    given: i64,
    given_ms: i64,
}

fn page(
    connection: &mut Connection,
    request: &GetOfflineMessagesRequest,
    now_ms: i64,
    repeat_ms: i64,
) -> Result<GetOfflineMessagesResponse, BoxError> {
    let tenant = request.meta.as_ref().map_or("", |meta| meta.tenant_id.as_str());
    let transaction = connection.transaction()?;
    let mut mark = read_mark(&transaction, tenant, request)?;
    let start = if request.cursor.is_empty() {
        if now_ms - mark.given_ms >= repeat_ms {
            mark.done = mark.given;
        }
        mark.done
    } else {
        request.cursor.parse().map_err(|_| "invalid cursor")?
    };
    let wanted = request.max_messages.clamp(1, MAX_PAGE);
    let mut rows = read_messages(&transaction, tenant, &request.user_id, start, wanted + 1)?;
    let has_more = rows.len() > wanted as usize;
    rows.truncate(wanted as usize);
    let last = rows.last().map_or(start, |row| row.0);
    if last > start {
        mark.given = mark.given.max(last);
        mark.given_ms = now_ms;
    }
    write_mark(&transaction, tenant, request, &mark)?;
    transaction.commit()?;
    let messages: Result<Vec<_>, _> = rows.iter().map(|row| MessageRequest::decode(&*row.1)).collect();
    let next_cursor = if has_more { last.to_string() } else { String::new() };
    Ok(GetOfflineMessagesResponse { ok: true, messages: messages?, has_more, next_cursor, ..Default::default() })
}

fn read_mark(
    connection: &Connection,
    tenant: &str,
    request: &GetOfflineMessagesRequest,
) -> Result<Mark, rusqlite::Error> {
    let sql = "SELECT done, given, given_ms FROM device WHERE tenant = ?1 AND user = ?2 AND device = ?3";
    let found = connection.query_row(sql, params![tenant, request.user_id, request.device_id], |row| {
        Ok(Mark { done: row.get(0)?, given: row.get(1)?, given_ms: row.get(2)? })
    });
    Ok(found.optional()?.unwrap_or_default())
}

fn write_mark(
    connection: &Connection,
    tenant: &str,
    request: &GetOfflineMessagesRequest,
    mark: &Mark,
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT OR REPLACE INTO device (tenant, user, device, done, given, given_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![tenant, request.user_id, request.device_id, mark.done, mark.given, mark.given_ms],
    )?;
    Ok(())
}

fn read_messages(
    connection: &Connection,
    tenant: &str,
    user: &str,
    start: i64,
    count: i32,
) -> Result<Vec<(i64, Vec<u8>)>, rusqlite::Error> {
    let sql = "SELECT id, data FROM message WHERE tenant = ?1 AND user = ?2 AND id > ?3 ORDER BY id LIMIT ?4";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![tenant, user, start, count], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
