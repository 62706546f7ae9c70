//! The back end that the samples serve: settings from the environment, answers to the four calls, and a store that is
//! filled from Kafka.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use mics_hook::consumer::{ConsumerOptions, EventConsumer, EventHandler};
use mics_hook::event::EventData;
use mics_hook::sqlite::SqliteStore;
use mics_hook::*;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

/// What the environment says. `PORT` 8081, `PUBLIC_URL` http://localhost:PORT, `REQUIRE_SIGN` true, `TENANT_SECRETS`
/// t1=dev-secret-t1, `GROUP_MEMBERS` group-1=u1|u2|u3, `OFFLINE_USE_HOOK_PULL` false, `KAFKA_BROKERS` none, `GROUP_ID`
/// mics-hook-sample, `STORE` (an SQLite file) in memory.
pub struct Settings {
    pub port: u16,
    pub require_sign: bool,
    pub secrets: HashMap<String, String>,
    groups: HashMap<String, Vec<String>>,
    public_url: String,
    offline_pull: bool,
    brokers: String,
    group_id: String,
    store: String,
}

impl Settings {
    pub fn from_env() -> Result<Self, BoxError> {
        let all: HashMap<String, String> = std::env::vars().collect();
        let get =
            |name: &str, default: &str| all.get(name).filter(|v| !v.is_empty()).cloned().unwrap_or(default.into());
        let port: u16 = get("PORT", "8081").parse()?;
        let members = |list: String| list.split('|').map(str::to_owned).collect();
        Ok(Self {
            port,
            require_sign: get("REQUIRE_SIGN", "true").parse()?,
            secrets: pairs(&get("TENANT_SECRETS", "t1=dev-secret-t1")).collect(),
            groups: pairs(&get("GROUP_MEMBERS", "group-1=u1|u2|u3")).map(|(g, list)| (g, members(list))).collect(),
            public_url: get("PUBLIC_URL", &format!("http://localhost:{port}")),
            offline_pull: get("OFFLINE_USE_HOOK_PULL", "false").parse()?,
            brokers: get("KAFKA_BROKERS", ""),
            group_id: get("GROUP_ID", "mics-hook-sample"),
            store: get("STORE", ":memory:"),
        })
    }

    /// What the SDK checks before a handler is asked.
    pub fn options(&self) -> HookOptions {
        let secrets = self.secrets.clone();
        let mut options = HookOptions::new(move |tenant| secrets.get(tenant).cloned());
        options.require_sign = self.require_sign;
        options
    }
}

/// `a=x,b=y`
fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split(',').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (key.trim().into(), value.trim().into()))
}

/// The answers of the sample tenant.
pub struct SampleTenant {
    settings: Settings,
    store: SqliteStore,
}

impl SampleTenant {
    /// Opens the store and, when the tenant pulls, starts to fill it from Kafka. That task ends on SIGTERM or Ctrl-C; wait
    /// for it, so that the consumer leaves its group and the next one gets the partitions at once.
    pub fn start(settings: Settings) -> Result<(Self, JoinHandle<()>), BoxError> {
        let store = SqliteStore::open(&settings.store)?;
        let reading = if settings.offline_pull && !settings.brokers.is_empty() {
            let mut options = ConsumerOptions::new(&settings.brokers, settings.secrets.clone());
            options.require_sign = settings.require_sign;
            options.group_id.clone_from(&settings.group_id);
            // The store ignores repeated rows; this only spares the work.
            let consumer = EventConsumer::new(options, Keeper(store.clone()), RecentEvents::default())?;
            tokio::spawn(consumer.run(told_to_stop()))
        } else {
            tokio::spawn(std::future::ready(()))
        };
        Ok((Self { settings, store }, reading))
    }

    fn config(&self, tenant: &str) -> TenantRuntimeConfig {
        TenantRuntimeConfig {
            hook_base_url: self.settings.public_url.clone(),
            tenant_secret: self.settings.secrets.get(tenant).cloned().unwrap_or_default(),
            offline_use_hook_pull: Some(self.settings.offline_pull),
            ..Default::default()
        }
    }
}

impl HookHandler for SampleTenant {
    async fn auth(&self, request: AuthRequest) -> Result<AuthResponse, BoxError> {
        let tenant = request.meta.unwrap_or_default().tenant_id;
        match request.token.strip_prefix("valid:").filter(|user| !user.is_empty()) {
            Some(user) => Ok(answer::accept(user, self.config(&tenant))),
            None => Ok(answer::refuse("invalid token")),
        }
    }

    async fn check_message(&self, request: CheckMessageRequest) -> Result<CheckMessageResponse, BoxError> {
        let message = request.message.unwrap_or_default();
        Ok(if message.msg_body.starts_with(b"deny") { answer::deny("denied") } else { answer::allow() })
    }

    async fn get_group_members(&self, request: GetGroupMembersRequest) -> Result<GetGroupMembersResponse, BoxError> {
        Ok(answer::members(self.settings.groups.get(&request.group_id).cloned().unwrap_or_default()))
    }

    async fn get_offline_messages(
        &self,
        request: GetOfflineMessagesRequest,
    ) -> Result<GetOfflineMessagesResponse, BoxError> {
        self.store.page(&request, now_ms()).await
    }
}

/// Puts what users missed into the store.
struct Keeper(SqliteStore);

impl EventHandler for Keeper {
    async fn on_event(&self, event: &MqEvent, data: EventData) -> Result<(), BoxError> {
        if let EventData::OfflineMessage(_) = data {
            self.0.keep(event).await?;
        }
        Ok(())
    }
}

/// Ends when the process is told to stop.
pub async fn told_to_stop() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be listened to");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Unix time in milliseconds.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
