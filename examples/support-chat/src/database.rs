//! The desk's own data: accounts and the transcript.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mics_hook::{BoxError, MessageRequest};
use rusqlite::{Connection, OptionalExtension, params};

/// Somebody who may connect, by a token.
pub struct Account {
    token: String,
    pub user: String,
    agent: bool,
}

impl Account {
    pub fn new(token: &str, user: &str, agent: bool) -> Self {
        Self { token: token.into(), user: user.into(), agent }
    }
}

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS account (token TEXT PRIMARY KEY, user TEXT NOT NULL UNIQUE, agent INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS transcript (
  sender TEXT NOT NULL, msg_id TEXT NOT NULL, recipient TEXT NOT NULL, text TEXT NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (sender, msg_id)
);
";

#[derive(Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl Database {
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BoxError> {
        let connection = Connection::open(path)?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    pub fn add_accounts(&self, accounts: &[Account]) -> Result<(), BoxError> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for Account { token, user, agent } in accounts {
            connection.execute("INSERT OR IGNORE INTO account VALUES (?1, ?2, ?3)", params![token, user, agent])?;
        }
        Ok(())
    }

    pub async fn account(&self, token: &str) -> Result<Option<Account>, BoxError> {
        let token = token.to_owned();
        self.run(move |connection| {
            let sql = "SELECT token, user, agent FROM account WHERE token = ?1";
            let read = |row: &rusqlite::Row| Ok(Account { token: row.get(0)?, user: row.get(1)?, agent: row.get(2)? });
            Ok(connection.query_row(sql, [token], read).optional()?)
        })
        .await
    }

    pub async fn is_agent(&self, user: &str) -> Result<bool, BoxError> {
        let user = user.to_owned();
        let sql = "SELECT 1 FROM account WHERE user = ?1 AND agent";
        self.run(move |connection| Ok(connection.prepare_cached(sql)?.exists([user])?)).await
    }

    pub async fn agents(&self) -> Result<Vec<String>, BoxError> {
        self.run(|connection| {
            let mut statement = connection.prepare_cached("SELECT user FROM account WHERE agent ORDER BY user")?;
            let users = statement.query_map([], |row| row.get(0))?;
            Ok(users.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Adds a message to the transcript, once: an event can come twice.
    pub async fn write_down(&self, message: &MessageRequest) -> Result<(), BoxError> {
        let m = message.clone();
        self.run(move |connection| {
            let recipient = if m.group_id.is_empty() { m.to_user_id } else { format!("#{}", m.group_id) };
            let text = String::from_utf8_lossy(&m.msg_body);
            connection.execute(
                "INSERT OR IGNORE INTO transcript VALUES (?1, ?2, ?3, ?4, ?5)",
                params![m.user_id, m.msg_id, recipient, text, m.timestamp_ms],
            )?;
            Ok(())
        })
        .await
    }

    /// SQLite blocks, so it does off the threads that serve.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, BoxError> + Send + 'static,
    ) -> Result<T, BoxError> {
        let connection = self.0.clone();
        tokio::task::spawn_blocking(move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner))).await?
    }
}
