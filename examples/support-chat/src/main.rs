//! The desk's back end: answers the gateway from a database, and reads the event topic into it.

mod database;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use database::{Account, Database};
use mics_hook::consumer::{ConsumerOptions, EventConsumer, EventHandler};
use mics_hook::event::EventData;
use mics_hook::sqlite::SqliteStore;
use mics_hook::{
    AuthRequest, AuthResponse, BoxError, CheckMessageRequest, CheckMessageResponse, GetGroupMembersRequest,
    GetGroupMembersResponse, GetOfflineMessagesRequest, GetOfflineMessagesResponse, HookHandler, HookOptions,
    HookService, MqEvent, OfflineStore, RecentEvents, TenantRuntimeConfig, answer,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const TENANT: &str = "desk";
const DESK: &str = "desk";
/// Longest sequence of digits in a message; a card has 16.
const MAX_DIGITS: usize = 12;

/// The tenant. `brokers` empty: the gateway keeps what absent users missed, in memory.
struct Desk {
    database: Database,
    offline: SqliteStore,
    public_url: String,
    secret: String,
    pull: bool,
}

impl HookHandler for Desk {
    async fn auth(&self, request: AuthRequest) -> Result<AuthResponse, BoxError> {
        let Some(account) = self.database.account(&request.token).await? else {
            return Ok(answer::refuse("unknown token"));
        };
        let config = TenantRuntimeConfig {
            hook_base_url: self.public_url.clone(),
            tenant_secret: self.secret.clone(),
            offline_use_hook_pull: Some(self.pull),
            ..Default::default()
        };
        Ok(answer::accept(account.user, config))
    }

    /// Customers write to the desk or to its agents, not to each other, and nobody sends card numbers.
    async fn check_message(&self, request: CheckMessageRequest) -> Result<CheckMessageResponse, BoxError> {
        let message = request.message.unwrap_or_default();
        if has_long_number(&message.msg_body) {
            return Ok(answer::deny("please send no card numbers"));
        }
        let to_desk = message.group_id == DESK;
        let with_agent =
            self.database.is_agent(&message.user_id).await? || self.database.is_agent(&message.to_user_id).await?;
        Ok(if to_desk || with_agent { answer::allow() } else { answer::deny("customers write to the desk") })
    }

    async fn get_group_members(&self, request: GetGroupMembersRequest) -> Result<GetGroupMembersResponse, BoxError> {
        let members = if request.group_id == DESK { self.database.agents().await? } else { Vec::new() };
        Ok(answer::members(members))
    }

    async fn get_offline_messages(
        &self,
        request: GetOfflineMessagesRequest,
    ) -> Result<GetOfflineMessagesResponse, BoxError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        self.offline.page(&request, now.as_millis() as i64).await
    }
}

fn has_long_number(body: &[u8]) -> bool {
    let digits: Vec<bool> = body.iter().filter(|byte| **byte != b' ').map(u8::is_ascii_digit).collect();
    digits.split(|digit| !digit).any(|run| run.len() > MAX_DIGITS)
}

/// Writes down what was said, and keeps what somebody missed.
struct Archive {
    database: Database,
    offline: SqliteStore,
}

impl EventHandler for Archive {
    async fn on_event(&self, event: &MqEvent, data: EventData) -> Result<(), BoxError> {
        match data {
            EventData::Chat(message) => self.database.write_down(&message).await,
            EventData::OfflineMessage(_) => self.offline.keep(event).await.map(drop),
            _ => Ok(()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let env: HashMap<String, String> = std::env::vars().collect();
    let get = |name: &str, default: &str| env.get(name).cloned().unwrap_or(default.into());
    let (folder, secret, brokers) = (get("DATA", "."), get("DESK_SECRET", "desk-secret"), get("KAFKA_BROKERS", ""));
    let database = Database::open(format!("{folder}/desk.sqlite"))?;
    database.add_accounts(&[
        Account::new("alice-token", "alice", false),
        Account::new("bob-token", "bob", true),
        Account::new("carol-token", "carol", true),
    ])?;
    let offline = SqliteStore::open(format!("{folder}/offline.sqlite"))?;

    let mut reading = tokio::spawn(std::future::ready(()));
    if !brokers.is_empty() {
        let options = ConsumerOptions::new(&brokers, HashMap::from([(TENANT.to_owned(), secret.clone())]));
        let archive = Archive { database: database.clone(), offline: offline.clone() };
        let consumer = EventConsumer::new(options, archive, RecentEvents::default())?;
        reading = tokio::spawn(consumer.run(told_to_stop()));
    }

    let listener = TcpListener::bind(("127.0.0.1", get("PORT", "8081").parse()?)).await?;
    let port = listener.local_addr()?.port();
    let public_url = get("PUBLIC_URL", &format!("http://127.0.0.1:{port}"));
    let options = HookOptions::new({
        let secret = secret.clone();
        move |tenant| (tenant == TENANT).then(|| secret.clone())
    });
    let desk = Desk { database, offline, public_url, secret, pull: !brokers.is_empty() };
    let service = Arc::new(HookService::new(desk, options));
    println!("listening on {port}");
    axum::serve(listener, mics_hook::axum::router(service)).with_graceful_shutdown(told_to_stop()).await?;
    reading.await?;
    Ok(())
}

async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened to");
    terminate.recv().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_recognised_also_with_spaces() {
        assert!(has_long_number(b"it is 4111 1111 1111 1111"));
        assert!(!has_long_number(b"order 4711 of 2026-01-31"));
        assert!(!has_long_number("grüße".as_bytes()));
    }
}
