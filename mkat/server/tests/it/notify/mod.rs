//! People are told: every channel, the outbox under faults, contacts and routing, with the real binary.

mod contacts;
mod email;
mod outbox;
mod routing;
mod telegram;
mod telegram_bot;
mod webhooks;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::bot_api::{FakeBotApi, Shown, TOKEN};
use crate::support::{Folder, Mkat, answer, wait_for};

/// The chat of the environment's channel.
const CHAT: &str = "4711";

/// An instance whose default contact speaks to `api` in [`CHAT`].
async fn start(api: &FakeBotApi) -> Mkat {
    start_on(Folder::new(), api).await
}

async fn start_on(folder: std::sync::Arc<Folder>, api: &FakeBotApi) -> Mkat {
    let settings = [
        ("MKAT_TELEGRAM_BOT_TOKEN", TOKEN),
        ("MKAT_TELEGRAM_CHAT_ID", CHAT),
        ("MKAT_TELEGRAM_API_URL", api.url.as_str()),
    ];
    Mkat::start_with(folder, &settings).await
}

/// A service with one webhook monitor.
#[derive(Clone)]
struct Watched {
    id: String,
    token: String,
}

async fn watched(mkat: &Mkat, name: &str) -> Watched {
    let service = mkat.service(name, json!([{"type": 0, "intervalSeconds": 300}])).await;
    Watched {
        id: service["id"].as_str().unwrap().to_owned(),
        token: service["monitors"][0]["token"].as_str().unwrap().to_owned(),
    }
}

impl Watched {
    async fn signal(&self, mkat: &Mkat, what: &str) -> Value {
        let (status, body) = answer(mkat.plain(Method::POST, &format!("/webhook/{}/{what}", self.token))).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn fail(&self, mkat: &Mkat) {
        assert_eq!(self.signal(mkat, "fail").await["alertCreated"], true);
    }

    async fn recover(&self, mkat: &Mkat) {
        assert_eq!(self.signal(mkat, "recover").await["alertCreated"], true);
    }

    /// Its alerts, the oldest first.
    async fn alerts(&self, mkat: &Mkat) -> Vec<Value> {
        let (_, page) = mkat.get(&format!("/api/v1/alerts?serviceId={}&pageSize=100", self.id)).await;
        let mut alerts = page["items"].as_array().unwrap().clone();
        alerts.reverse();
        alerts
    }
}

/// A new contact with one channel. Ids of both.
async fn contact(mkat: &Mkat, name: &str, kind: i64, configuration: Value) -> (String, String) {
    let (status, contact) = mkat.post("/api/v1/contacts", &json!({ "name": name })).await;
    assert_eq!(status, 201, "{contact}");
    let contact = contact["id"].as_str().unwrap().to_owned();
    let channel = channel(mkat, &contact, kind, configuration).await;
    (contact, channel)
}

async fn channel(mkat: &Mkat, contact: &str, kind: i64, configuration: Value) -> String {
    let body = json!({ "type": kind, "configuration": configuration.to_string() });
    let (status, channel) = mkat.post(&format!("/api/v1/contacts/{contact}/channels"), &body).await;
    assert_eq!(status, 201, "{channel}");
    channel["id"].as_str().unwrap().to_owned()
}

async fn assign(mkat: &Mkat, service: &Watched, contacts: &[&str]) {
    let (status, body) =
        mkat.put(&format!("/api/v1/services/{}/contacts", service.id), &json!({ "contactIds": contacts })).await;
    assert_eq!((status.as_u16(), &body["assigned"]), (200, &contacts.len().into()), "{body}");
}

async fn channel_state(mkat: &Mkat, id: &str) -> Value {
    let (status, channel) = mkat.get(&format!("/api/v1/channels/{id}")).await;
    assert_eq!(status, 200, "{channel}");
    channel
}

/// The ledger of an alert.
async fn deliveries(mkat: &Mkat, alert: &Value) -> Vec<Value> {
    let (status, rows) = mkat.get(&format!("/api/v1/alerts/{}/deliveries", alert["id"].as_str().unwrap())).await;
    assert_eq!(status, 200, "{rows}");
    rows.as_array().unwrap().clone()
}

/// Waits until the chat shows `count` messages, then says which.
async fn shown(api: &FakeBotApi, chat: &str, count: usize) -> Vec<Shown> {
    wait_for(&format!("{count} messages in {chat}"), || async {
        let shown = api.shown(chat);
        (shown.len() >= count).then_some(shown)
    })
    .await
}

/// Waits until all deliveries of an alert have one of the given states.
async fn settled(mkat: &Mkat, alert: &Value, states: &[&str]) -> Vec<Value> {
    wait_for(&format!("deliveries {states:?}"), || async {
        let rows = deliveries(mkat, alert).await;
        let done = rows.iter().all(|row| states.contains(&row["status"].as_str().unwrap()));
        (done && !rows.is_empty()).then_some(rows)
    })
    .await
}
