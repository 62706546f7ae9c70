//! Who is told: contacts of the service, the default contact, the channel of the environment.

use super::*;
use crate::support::bot_api::ChatMode;

fn telegram(api: &FakeBotApi, chat: &str) -> Value {
    json!({"botToken": TOKEN, "chatId": chat, "apiBaseUrl": api.url})
}

#[tokio::test]
async fn assigned_contacts_are_told_and_only_they() {
    let api = FakeBotApi::start(&[CHAT, "1", "2", "3"]);
    let mkat = start(&api).await;
    let (first, _) = contact(&mkat, "first", 0, telegram(&api, "1")).await;
    channel(&mkat, &first, 0, telegram(&api, "2")).await;
    let off = channel(&mkat, &first, 0, telegram(&api, "3")).await;
    mkat.put(
        &format!("/api/v1/channels/{off}"),
        &json!({"configuration": telegram(&api, "3").to_string(), "isEnabled": false}),
    )
    .await;
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[&first]).await;
    service.fail(&mkat).await;
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    assert_eq!(rows.len(), 2);
    assert_eq!([CHAT, "1", "2", "3"].map(|chat| api.shown(chat).len()), [0, 1, 1, 0]);
}

#[tokio::test]
async fn a_contact_without_channels_leaves_it_to_the_environment() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    let (_, empty) = mkat.post("/api/v1/contacts", &json!({"name": "empty"})).await;
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[empty["id"].as_str().unwrap()]).await;
    service.fail(&mkat).await;
    shown(&api, CHAT, 1).await;
}

#[tokio::test]
async fn when_the_only_channel_is_closed_the_environment_is_told_instead() {
    let api = FakeBotApi::start(&[CHAT, "1"]);
    let mkat = start(&api).await;
    api.set("1", ChatMode::Blocked);
    let (contact, _) = contact(&mkat, "blocked", 0, telegram(&api, "1")).await;
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[&contact]).await;
    service.fail(&mkat).await;
    let messages = shown(&api, CHAT, 1).await;
    assert!(messages[0].text.contains("DOWN: api"));
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent", "dead"]).await;
    assert_eq!(rows.len(), 2, "{rows:?}");
}

#[tokio::test]
async fn an_alert_that_nobody_could_take_is_told_once_a_channel_appears() {
    let api = FakeBotApi::start(&["1"]);
    let mkat = Mkat::start().await;
    let (down, back) = (watched(&mkat, "down").await, watched(&mkat, "back").await);
    down.fail(&mkat).await;
    back.fail(&mkat).await;
    back.recover(&mkat).await;
    assert!(deliveries(&mkat, &down.alerts(&mkat).await[0]).await.is_empty());
    let (_, contacts) = mkat.get("/api/v1/contacts").await;
    let default = contacts.as_array().unwrap().iter().find(|contact| contact["isDefault"] == true).unwrap();
    channel(&mkat, default["id"].as_str().unwrap(), 0, telegram(&api, "1")).await;
    let messages = shown(&api, "1", 1).await;
    assert!(messages[0].text.contains("DOWN: down"), "{messages:?}");
    down.recover(&mkat).await;
    let messages = shown(&api, "1", 2).await;
    assert!(messages[1].text.contains("RECOVERED: down"), "{messages:?}");
}

#[tokio::test]
async fn a_removed_channel_hands_its_waiting_alerts_on() {
    let api = FakeBotApi::start(&[CHAT, "1"]);
    let mkat = start(&api).await;
    api.set("1", ChatMode::Broken);
    let (contact, channel) = contact(&mkat, "broken", 0, telegram(&api, "1")).await;
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[&contact]).await;
    service.fail(&mkat).await;
    let path = format!("/api/v1/contacts/{contact}/channels/{channel}");
    assert_eq!(mkat.delete(&path).await.0, 204);
    shown(&api, CHAT, 1).await;
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent", "cancelled"]).await;
    assert_eq!(rows.len(), 2, "the ledger outlives the channel: {rows:?}");
}

#[tokio::test]
async fn the_environments_channel_follows_the_environment() {
    let api = FakeBotApi::start(&[CHAT, "5"]);
    let mkat = start(&api).await;
    let managed = |channels: Value| {
        channels.as_array().unwrap().iter().filter(|channel| channel["isManaged"] == true).cloned().collect::<Vec<_>>()
    };
    let before =
        wait_for("the managed channel", || async { managed(mkat.get("/api/v1/channels").await.1).into_iter().next() })
            .await;
    assert_eq!(before["contactName"], "Default");
    let path = format!("/api/v1/channels/{}", before["id"].as_str().unwrap());
    let (status, body) = mkat.put(&path, &json!({"configuration": telegram(&api, "5").to_string()})).await;
    assert_eq!((status.as_u16(), &body["code"]), (409, &"CHANNEL_MANAGED".into()));
    let path = format!(
        "/api/v1/contacts/{}/channels/{}",
        before["contactId"].as_str().unwrap(),
        before["id"].as_str().unwrap()
    );
    assert_eq!(mkat.delete(&path).await.0, 409);
    let folder = mkat.kill();

    let settings = [
        ("MKAT_TELEGRAM_BOT_TOKEN", TOKEN),
        ("MKAT_TELEGRAM_CHAT_ID", "5"),
        ("MKAT_TELEGRAM_API_URL", api.url.as_str()),
    ];
    let mkat = Mkat::start_with(folder, &settings).await;
    watched(&mkat, "api").await.fail(&mkat).await;
    shown(&api, "5", 1).await;
    let folder = mkat.kill();
    let mkat = Mkat::start_with(folder, &[]).await;
    wait_for("no managed channel", || async { managed(mkat.get("/api/v1/channels").await.1).is_empty().then_some(()) })
        .await;
}
