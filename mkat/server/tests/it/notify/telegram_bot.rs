//! Buttons and commands.

use super::*;
use crate::support::bot_api::BOT_NAME;

const CHAT_ID: i64 = 4711;
const STRANGER: i64 = 666;

async fn answered(api: &FakeBotApi, query: &str) -> String {
    let answers = wait_for("an answer to the button", || async {
        let answers = api.answers(query);
        (!answers.is_empty()).then_some(answers)
    })
    .await;
    answers[0].clone()
}

/// Says something and waits for the next message of the chat that is no alert.
async fn ask(api: &FakeBotApi, text: &str) -> String {
    let replies = || -> Vec<String> {
        let messages = api.shown(CHAT).into_iter();
        messages
            .map(|shown| shown.text)
            .filter(|text| !text.contains("DOWN: ") && !text.contains("RECOVERED: "))
            .collect()
    };
    let before = replies().len();
    api.say(CHAT_ID, text);
    wait_for(&format!("an answer to {text}"), || async { replies().into_iter().nth(before) }).await
}

#[tokio::test]
async fn acknowledging_by_button_is_answered_once_and_shows_who() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    let message = shown(&api, CHAT, 1).await[0].clone();
    let query = api.press(CHAT_ID, message.message_id, &message.buttons[0]);
    assert_eq!(answered(&api, &query).await, "Acknowledged.");
    let messages = shown(&api, CHAT, 2).await;
    assert!(messages[1].text.contains("api acknowledged by Ann"), "{}", messages[1].text);
    assert!(messages[0].buttons.is_empty(), "the buttons are gone");
    assert!(!service.alerts(&mkat).await[0]["acknowledgedAt"].is_null());

    let again = api.press(CHAT_ID, message.message_id, &message.buttons[0]);
    assert_eq!(answered(&api, &again).await, "Already acknowledged by Ann.");
    let unknown = api.press(CHAT_ID, message.message_id, "ack:00000000-0000-0000-0000-000000000000");
    assert!(answered(&api, &unknown).await.contains("no such alert"));
    // The next command comes after both answers, so a second answer would have been seen.
    ask(&api, "/help").await;
    for query in [query, again, unknown] {
        assert_eq!(api.answers(&query).len(), 1);
    }
}

#[tokio::test]
async fn muting_by_button_holds_back_the_next_alert() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    let message = shown(&api, CHAT, 1).await[0].clone();
    let query = api.press(CHAT_ID, message.message_id, &message.buttons[1]);
    assert!(answered(&api, &query).await.starts_with("api is muted until "));
    assert_eq!(service.signal(&mkat, "recover").await["alertCreated"], false);
    assert_eq!(service.signal(&mkat, "fail").await["alertCreated"], false);
    for data in ["mute:nobody:15", "mute:x", "mute:x:-5", "mute:x:99999999", "nonsense", ""] {
        let query = api.press(CHAT_ID, message.message_id, data);
        answered(&api, &query).await;
        assert_eq!(api.answers(&query).len(), 1, "{data}");
    }
}

#[tokio::test]
async fn a_foreign_chat_can_do_nothing() {
    let api = FakeBotApi::start(&[CHAT, "666"]);
    let mkat = start(&api).await;
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    let message = shown(&api, CHAT, 1).await[0].clone();
    for data in &message.buttons {
        let query = api.press(STRANGER, message.message_id, data);
        assert_eq!(answered(&api, &query).await, "This chat may not do that.");
    }
    for text in ["/status", "/list", "/mute api 1h", "/pause api", "/ack api"] {
        api.say(STRANGER, text);
    }
    ask(&api, "/status").await;
    assert!(api.shown("666").is_empty());
    let (_, state) = mkat.get(&format!("/api/v1/services/{}", service.id)).await;
    assert_eq!(state["state"], 2, "still down, not paused");
    assert!(service.alerts(&mkat).await[0]["acknowledgedAt"].is_null());
    service.recover(&mkat).await;
}

#[tokio::test]
async fn commands_answer_and_act() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    assert_eq!(ask(&api, "/list").await, "There are no services.");
    let service = watched(&mkat, "Big <api> Server").await;
    assert!(ask(&api, "/status").await.starts_with("1 services\n"));
    assert!(ask(&api, &format!("/STATUS@{}", BOT_NAME.to_uppercase())).await.contains("Unknown: 1"));
    assert_eq!(ask(&api, "/list").await.trim(), "\u{2753} Big <api> Server");
    assert!(ask(&api, "/mute big <API> server 90m").await.contains("is muted until"));
    assert_eq!(service.signal(&mkat, "fail").await["alertCreated"], false);
    assert!(ask(&api, "/unmute Big <api> Server").await.contains("1 mute(s) ended"));
    wait_for("what the mute held back", || async {
        api.shown(CHAT).iter().any(|shown| shown.text.contains("DOWN: Big <api> Server")).then_some(())
    })
    .await;
    for bad in
        ["/mute", "/mute api", "/mute nobody 5m", "/mute Big <api> Server 0m", "/unmute", "/pause", "/ack", "/resume"]
    {
        let reply = ask(&api, bad).await;
        assert!(
            ["Usage:", "There is no service", "The duration"].iter().any(|part| reply.contains(part)),
            "{bad}: {reply}"
        );
    }
    assert!(ask(&api, "/pause Big <api> Server").await.contains("is paused"));
    let (_, state) = mkat.get(&format!("/api/v1/services/{}", service.id)).await;
    assert_eq!(state["state"], 3);
    assert!(ask(&api, "/resume Big <api> Server").await.contains("watched again"));
    assert!(ask(&api, "/help").await.contains("/mute <service> <duration>"));
    // Not ours, and not to us: no answer, so the next one is that of /help.
    for silent in ["/statusfoo", "/status@other_bot", "hello", "/"] {
        api.say(CHAT_ID, silent);
    }
    assert!(ask(&api, "/help").await.contains("/unmute"));
}

#[tokio::test]
async fn an_update_is_not_handled_again_after_a_restart() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    ask(&api, "/status").await;
    // The offset of the last update is confirmed by the next poll at the latest.
    wait_for("the offset", || async { (api.calls("getUpdates").len() >= 2).then_some(()) }).await;
    let folder = mkat.kill();
    let mkat = start_on(folder, &api).await;
    ask(&api, "/help").await;
    let statuses = api.shown(CHAT).iter().filter(|shown| shown.text.contains("0 services")).count();
    assert_eq!(statuses, 1);
    drop(mkat);
}

#[tokio::test]
async fn one_poller_serves_all_channels_of_a_bot_and_a_refused_token_ends_it() {
    let api = FakeBotApi::start(&[CHAT, "5"]);
    let mkat = start(&api).await;
    let configuration = json!({"botToken": TOKEN, "chatId": "5", "apiBaseUrl": api.url});
    contact(&mkat, "second", 0, configuration).await;
    ask(&api, "/help").await;
    assert!(!mkat.log().iter().any(|line| line.contains("Conflict")), "two pollers for one bot");
    api.remove_bot(TOKEN);
    wait_for("the end of the poller", || async {
        mkat.log().iter().any(|line| line.contains("not listening")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn another_poller_is_noticed_and_outlived() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    ask(&api, "/help").await;
    // The answer is shown before mkat polls again; only a poll that is open can be cut off.
    wait_for("an open poll", || async { api.all_confirmed().then_some(()) }).await;
    let call = mkat.http.post(format!("{}/bot{TOKEN}/getUpdates", api.url)).json(&json!({"offset": 0, "timeout": 0}));
    assert_eq!(call.send().await.unwrap().status(), 200);
    wait_for("the conflict in the log", || async {
        mkat.log().iter().any(|line| line.contains("409") && line.contains("cannot listen")).then_some(())
    })
    .await;
    assert!(ask(&api, "/status").await.contains("0 services"), "listening again after a pause");
}
