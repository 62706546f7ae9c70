//! Alerts in a Telegram chat, and what its refusals do.

use serde_json::json;

use super::*;
use crate::support::bot_api::ChatMode;

#[tokio::test]
async fn an_alert_arrives_once_with_its_buttons_and_the_ledger_says_so() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    let service = watched(&mkat, "payments <eu> & [us]_*").await;
    service.fail(&mkat).await;
    let messages = shown(&api, CHAT, 1).await;
    let text = &messages[0].text;
    assert!(text.starts_with("\u{26a0}\u{fe0f} DOWN: payments <eu> & [us]_*\n\n\u{1f7e0} HIGH\n"), "{text}");
    assert!(text.trim_end().ends_with("UTC"), "{text}");
    let alert = &service.alerts(&mkat).await[0];
    let id = alert["id"].as_str().unwrap();
    let expected: Vec<String> = [15, 60, 1440].map(|minutes| format!("mute:{}:{minutes}", service.id)).into();
    assert_eq!(messages[0].buttons[0], format!("ack:{id}"));
    assert_eq!(messages[0].buttons[1..], expected);
    let rows = settled(&mkat, alert, &["sent"]).await;
    assert_eq!((rows.len(), &rows[0]["attempts"], &rows[0]["possiblyRepeated"]), (1, &1.into(), &false.into()));
    assert!(!service.alerts(&mkat).await[0]["dispatchedAt"].is_null());

    service.recover(&mkat).await;
    let messages = shown(&api, CHAT, 2).await;
    assert!(messages[1].text.starts_with("\u{2705} RECOVERED: payments"), "{}", messages[1].text);
    assert!(messages[1].buttons.iter().all(|data| data.starts_with("mute:")), "no acknowledge on a recovery");
}

#[tokio::test]
async fn a_closed_chat_disables_its_channel_and_says_why() {
    let api = FakeBotApi::start(&["1", "2"]);
    let mkat = Mkat::start().await;
    for (name, chat, reason) in [("blocked", "1", "blocked"), ("unknown", "404", "chat not found")] {
        api.set("1", ChatMode::Blocked);
        let configuration = json!({"botToken": TOKEN, "chatId": chat, "apiBaseUrl": api.url});
        let (contact, channel) = contact(&mkat, name, 0, configuration).await;
        let service = watched(&mkat, name).await;
        assign(&mkat, &service, &[&contact]).await;
        service.fail(&mkat).await;
        let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["dead"]).await;
        assert_eq!(rows[0]["attempts"], 1, "no second attempt");
        let state = channel_state(&mkat, &channel).await;
        assert_eq!(state["isEnabled"], false);
        assert!(state["disabledReason"].as_str().unwrap().contains(reason), "{state}");
        assert!(rows[0]["lastError"].as_str().unwrap().contains(reason));
    }
}

#[tokio::test]
async fn a_repaired_channel_tells_what_still_holds() {
    let api = FakeBotApi::start(&["1"]);
    api.set("1", ChatMode::Blocked);
    let mkat = Mkat::start().await;
    let configuration = json!({"botToken": TOKEN, "chatId": "1", "apiBaseUrl": api.url});
    let (contact, channel) = contact(&mkat, "ops", 0, configuration).await;
    let (down, back) = (watched(&mkat, "down").await, watched(&mkat, "back").await);
    for service in [&down, &back] {
        assign(&mkat, service, &[&contact]).await;
    }
    down.fail(&mkat).await;
    settled(&mkat, &down.alerts(&mkat).await[0], &["dead"]).await;
    api.set("1", ChatMode::Open);
    let masked = channel_state(&mkat, &channel).await["configuration"].clone();
    let (status, _) =
        mkat.put(&format!("/api/v1/channels/{channel}"), &json!({"configuration": masked, "isEnabled": true})).await;
    assert_eq!(status, 200);
    let messages = shown(&api, "1", 1).await;
    assert!(messages[0].text.contains("DOWN: down"), "{messages:?}");
    settled(&mkat, &down.alerts(&mkat).await[0], &["sent"]).await;
}

#[tokio::test]
async fn a_limited_chat_is_left_alone_for_as_long_as_it_asks() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    api.set(CHAT, ChatMode::Limited { seconds: 2, calls: 1 });
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    let message = shown(&api, CHAT, 1).await[0].clone();
    let calls = api.calls("sendMessage");
    assert_eq!(calls.len(), 2);
    assert!(message.at.duration_since(calls[0]).unwrap().as_millis() >= 1990, "retry_after is obeyed");
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    assert_eq!(rows[0]["attempts"], 2);
}

#[tokio::test]
async fn a_gateway_error_is_tried_again_and_noted() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    api.set(CHAT, ChatMode::Broken);
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    let alert = service.alerts(&mkat).await[0].clone();
    let row = wait_for("a noted failure", || async {
        deliveries(&mkat, &alert).await.into_iter().find(|row| !row["lastError"].is_null())
    })
    .await;
    assert!(row["lastError"].as_str().unwrap().contains("502"), "{row}");
    assert!(!row["nextAttemptAt"].is_null());
    api.set(CHAT, ChatMode::Open);
    settled(&mkat, &alert, &["sent"]).await;
    assert_eq!(api.shown(CHAT).len(), 1);
}

#[tokio::test]
async fn a_group_that_became_a_supergroup_is_followed() {
    let api = FakeBotApi::start(&[CHAT, "-100500"]);
    let mkat = Mkat::start().await;
    let configuration = json!({"botToken": TOKEN, "chatId": CHAT, "apiBaseUrl": api.url});
    let (contact, channel) = contact(&mkat, "ops", 0, configuration).await;
    api.set(CHAT, ChatMode::MovedTo(-100_500));
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[&contact]).await;
    service.fail(&mkat).await;
    shown(&api, "-100500", 1).await;
    let state = channel_state(&mkat, &channel).await;
    assert!(state["configuration"].as_str().unwrap().contains("-100500"), "{state}");
}

#[tokio::test]
async fn thread_and_silence_are_passed_on() {
    let api = FakeBotApi::start(&["-5"]);
    let mkat = Mkat::start().await;
    let configuration =
        json!({"BotToken": TOKEN, "ChatId": -5, "messageThreadId": 12, "silent": true, "apiBaseUrl": api.url});
    let (contact, _) = contact(&mkat, "ops", 0, configuration).await;
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[&contact]).await;
    service.fail(&mkat).await;
    let message = &shown(&api, "-5", 1).await[0];
    assert_eq!((message.thread, message.silent), (Some(12), true));
}

#[tokio::test]
async fn two_contacts_with_the_same_chat_are_told_once() {
    let api = FakeBotApi::start(&["9"]);
    let mkat = Mkat::start().await;
    let configuration = json!({"botToken": TOKEN, "chatId": "9", "apiBaseUrl": api.url});
    let (first, _) = contact(&mkat, "first", 0, configuration.clone()).await;
    let (second, _) = contact(&mkat, "second", 0, configuration).await;
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[&first, &second]).await;
    service.fail(&mkat).await;
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    assert_eq!((rows.len(), api.shown("9").len()), (1, 1));
}
