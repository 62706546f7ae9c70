//! The outbox under faults: nothing lost, nothing twice, in order, whatever breaks.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::*;
use crate::support::bot_api::ChatMode;

#[tokio::test]
async fn killed_between_sending_and_writing_it_down_the_alert_comes_once_more_and_says_so() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    api.set(CHAT, ChatMode::Holds);
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    shown(&api, CHAT, 1).await;
    let folder = mkat.kill();
    api.set(CHAT, ChatMode::Open);
    let mkat = start_on(folder, &api).await;
    let messages = shown(&api, CHAT, 2).await;
    assert!(!messages[0].text.contains("Possibly repeated"));
    assert!(messages[1].text.contains("Possibly repeated"), "{}", messages[1].text);
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    assert_eq!((&rows[0]["possiblyRepeated"], &rows[0]["attempts"]), (&true.into(), &2.into()));
    // A later message shows that nothing else was sent in between.
    service.recover(&mkat).await;
    assert_eq!(shown(&api, CHAT, 3).await.len(), 3);
    api.release();
}

#[tokio::test]
async fn killed_before_sending_nothing_is_lost_and_nothing_doubled() {
    let mut api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    api.die().await;
    let mut services = Vec::new();
    for number in 0..20 {
        services.push(watched(&mkat, &format!("service-{number:02}")).await);
    }
    for service in &services {
        service.fail(&mkat).await;
    }
    let folder = mkat.kill();
    let mkat = start_on(folder, &api).await;
    api.rise();
    for service in &services {
        settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    }
    let told = mentions(&api.shown(CHAT));
    for number in 0..20 {
        assert_eq!(told.get(&format!("service-{number:02}")), Some(&1));
    }
}

#[tokio::test]
async fn a_clock_that_was_ahead_holds_up_neither_messages_nor_deadlines() {
    let mut api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    api.die().await;
    let service = watched(&mkat, "api").await;
    let job = mkat.service("job", json!([{"type": 1, "intervalSeconds": 30}])).await;
    service.fail(&mkat).await;
    let folder = mkat.kill();
    // What a process whose clock was a day ahead leaves behind.
    let database = rusqlite::Connection::open(folder.path().join("mkat.db")).unwrap();
    let day = 86_400_000_000_i64;
    assert_eq!(database.execute("UPDATE outbox SET next_attempt_at = next_attempt_at + ?1", [day]).unwrap(), 1);
    let later = "UPDATE monitors SET deadline_at = deadline_at + ?1 WHERE deadline_at IS NOT NULL";
    assert_eq!(database.execute(later, [day]).unwrap(), 1);
    drop(database);
    let mkat = start_on(folder.clone(), &api).await;
    api.rise();
    settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    let database = rusqlite::Connection::open(folder.path().join("mkat.db")).unwrap();
    let deadline = database.query_row(
        "SELECT deadline_at FROM monitors WHERE service_id = ?1",
        [job["id"].as_str().unwrap()],
        |row| row.get::<_, i64>(0),
    );
    let now = mkat::domain::Timestamp::now().micros();
    assert!(deadline.unwrap() < now + 120_000_000, "an interval and a grace from the start, not a day later");
}

/// How often each `service-NN` is named as the subject of an alert.
fn mentions(messages: &[Shown]) -> HashMap<String, usize> {
    let mut told = HashMap::new();
    for message in messages {
        // Single messages name it in the first line, shared ones in bold.
        let names: Vec<&str> = match message.text.lines().next() {
            Some(first) if first.contains("DOWN: ") => vec![first.rsplit("DOWN: ").next().unwrap()],
            _ => message.raw.split("<b>").skip(2).map(|rest| rest.split("</b>").next().unwrap()).collect(),
        };
        for name in names {
            *told.entry(name.to_owned()).or_default() += 1;
        }
    }
    told
}

#[tokio::test]
async fn a_broken_channel_does_not_make_a_healthy_one_hear_anything_twice() {
    let api = FakeBotApi::start(&["1", "2"]);
    let mkat = Mkat::start().await;
    let telegram = |chat: &str| json!({"botToken": TOKEN, "chatId": chat, "apiBaseUrl": api.url});
    let (healthy, _) = contact(&mkat, "healthy", 0, telegram("1")).await;
    let (broken, broken_channel) = contact(&mkat, "broken", 0, telegram("2")).await;
    api.set("2", ChatMode::Broken);
    let mut services = Vec::new();
    for name in ["a", "b", "c"] {
        let service = watched(&mkat, name).await;
        assign(&mkat, &service, &[&healthy, &broken]).await;
        service.fail(&mkat).await;
        services.push(service);
    }
    shown(&api, "1", 3).await;
    // Several attempts of the broken one later, the healthy one has still been told once each.
    wait_for("more attempts", || async {
        (channel_state(&mkat, &broken_channel).await["failureCount"].as_i64() >= Some(3)).then_some(())
    })
    .await;
    assert_eq!(api.shown("1").len(), 3);
    let state = channel_state(&mkat, &broken_channel).await;
    assert!(!state["failingSince"].is_null() && state["isEnabled"] == true, "{state}");
    for service in &services {
        assert!(!service.alerts(&mkat).await[0]["dispatchedAt"].is_null(), "one channel has told it");
    }
    api.set("2", ChatMode::Open);
    for service in &services {
        settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    }
    assert_eq!((api.shown("1").len(), api.shown("2").len()), (3, 3));
    assert!(channel_state(&mkat, &broken_channel).await["failingSince"].is_null());
}

#[tokio::test]
async fn a_hanging_channel_delays_only_itself() {
    let api = FakeBotApi::start(&["1", "2"]);
    let mkat = Mkat::start().await;
    let telegram = |chat: &str| json!({"botToken": TOKEN, "chatId": chat, "apiBaseUrl": api.url});
    let (hanging, _) = contact(&mkat, "hanging", 0, telegram("1")).await;
    let (healthy, _) = contact(&mkat, "healthy", 0, telegram("2")).await;
    api.set("1", ChatMode::Hangs);
    let services = [watched(&mkat, "a").await, watched(&mkat, "b").await];
    for service in &services {
        assign(&mkat, service, &[&hanging, &healthy]).await;
        service.fail(&mkat).await;
    }
    shown(&api, "2", 2).await;
    let alert = services[0].alerts(&mkat).await[0].clone();
    let row = wait_for("the time-out", || async {
        deliveries(&mkat, &alert).await.into_iter().find(|row| !row["lastError"].is_null())
    })
    .await;
    assert!(row["lastError"].as_str().unwrap().contains("no answer"), "{row}");
    assert_eq!(row["possiblyRepeated"], true, "it may have arrived");
    assert_eq!(api.shown("2").len(), 2);
}

#[tokio::test]
async fn failure_and_recovery_that_waited_together_come_in_order() {
    let mut api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    api.die().await;
    let services = [watched(&mkat, "a").await, watched(&mkat, "b").await];
    for service in &services {
        service.fail(&mkat).await;
        service.recover(&mkat).await;
    }
    api.rise();
    let messages = shown(&api, CHAT, 4).await;
    for name in ["a", "b"] {
        let own: Vec<_> = messages.iter().filter(|shown| shown.text.contains(&format!(": {name}\n"))).collect();
        assert_eq!(own.len(), 2, "{messages:?}");
        assert!(own[0].text.contains("DOWN") && own[1].text.contains("RECOVERED"), "{own:?}");
    }
}

#[tokio::test]
async fn a_recovery_never_comes_alone() {
    let api = FakeBotApi::start(&[CHAT, "2"]);
    let mkat = start(&api).await;
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    shown(&api, CHAT, 1).await;
    // A channel that was not told of the failure is not told of the recovery either.
    let configuration = json!({"botToken": TOKEN, "chatId": "2", "apiBaseUrl": api.url});
    let (late, _) = contact(&mkat, "late", 0, configuration).await;
    assign(&mkat, &service, &[&late]).await;
    service.recover(&mkat).await;
    shown(&api, CHAT, 2).await;
    service.fail(&mkat).await;
    let messages = shown(&api, "2", 1).await;
    assert!(messages[0].text.contains("DOWN"), "{messages:?}");
    assert_eq!(api.shown(CHAT).len(), 2);
}

#[tokio::test]
async fn a_thousand_failures_at_once_are_told_once_each_in_few_messages() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    let mut services = Vec::new();
    for batch in 0..20 {
        let made = (0..50).map(|number| {
            let name = format!("service-{:04}", batch * 50 + number);
            let mkat = &mkat;
            async move { watched(mkat, &name).await }
        });
        services.extend(join_all(made).await);
    }
    join_all(services.iter().map(|service| service.fail(&mkat))).await;
    wait_for("a thousand alerts", || async {
        (mentions(&api.shown(CHAT)).values().sum::<usize>() >= services.len()).then_some(())
    })
    .await;
    let messages = api.shown(CHAT);
    let told = mentions(&messages);
    assert_eq!(told.len(), services.len());
    assert!(told.values().all(|count| *count == 1));
    assert!(messages.len() < 500, "{} messages", messages.len());

    // The button under a shared message acknowledges all of its alerts.
    let shared = messages.iter().find(|message| message.buttons == ["ackall"]).unwrap();
    let query = api.press(4711, shared.message_id, "ackall");
    wait_for("the answer", || async { api.answers(&query).first().cloned() }).await;
    let (_, page) = mkat.get("/api/v1/alerts?acknowledged=true").await;
    let count = shared.raw.matches("<b>").count() - 1;
    assert_eq!(page["totalCount"], count, "{}", shared.raw);
}

#[tokio::test]
async fn a_limit_met_by_several_messages_at_once_pauses_the_channel_once_and_doubles_nothing() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    let services = join_all((0..200).map(|number| {
        let mkat = &mkat;
        async move { watched(mkat, &format!("service-{number:04}")).await }
    }))
    .await;
    // The first message finds nobody; what gathers until the second attempt goes out as several, which meet the limit.
    api.set(CHAT, ChatMode::Broken);
    join_all(services.iter().map(|service| service.fail(&mkat))).await;
    api.set(CHAT, ChatMode::Limited { seconds: 2, calls: 3 });
    wait_for("all alerts", || async { (mentions(&api.shown(CHAT)).len() == services.len()).then_some(()) }).await;
    assert!(mentions(&api.shown(CHAT)).values().all(|count| *count == 1));
    let calls = api.calls("sendMessage");
    let longest = calls.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default()).max().unwrap();
    assert!(longest >= Duration::from_millis(1900), "{longest:?}");
}

#[tokio::test]
async fn what_could_not_be_delivered_for_a_day_is_given_up_visibly() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    api.set(CHAT, ChatMode::Broken);
    let service = watched(&mkat, "api").await;
    service.fail(&mkat).await;
    let alert = service.alerts(&mkat).await[0].clone();
    wait_for("an attempt", || async { (!api.calls("sendMessage").is_empty()).then_some(()) }).await;
    let folder = mkat.kill();
    let database = rusqlite::Connection::open(folder.path().join("mkat.db")).unwrap();
    database.execute("UPDATE outbox SET created_at = created_at - 86500000000, next_attempt_at = 0", []).unwrap();
    drop(database);
    let mkat = start_on(folder, &api).await;
    let rows = settled(&mkat, &alert, &["dead"]).await;
    assert!(rows[0]["lastError"].as_str().unwrap().contains("502"), "{rows:?}");
    assert_eq!(channel_state(&mkat, rows[0]["channelId"].as_str().unwrap()).await["isEnabled"], true);
}

#[tokio::test]
async fn the_end_of_a_mute_tells_once_what_is_still_down() {
    let api = FakeBotApi::start(&[CHAT]);
    let mkat = start(&api).await;
    let (down, back) = (watched(&mkat, "down").await, watched(&mkat, "back").await);
    for service in [&down, &back] {
        let (status, _) =
            mkat.post(&format!("/api/v1/services/{}/mute", service.id), &json!({"durationMinutes": 5})).await;
        assert_eq!(status, 200);
        assert_eq!(service.signal(&mkat, "fail").await["alertCreated"], false);
    }
    assert_eq!(back.signal(&mkat, "recover").await["alertCreated"], false);
    let folder = mkat.kill();
    let database = rusqlite::Connection::open(folder.path().join("mkat.db")).unwrap();
    database.execute("UPDATE mute_windows SET ends_at = starts_at + 1", []).unwrap();
    drop(database);
    let mkat = start_on(folder, &api).await;
    let messages = shown(&api, CHAT, 1).await;
    assert!(messages[0].text.contains("DOWN: down"), "{messages:?}");
    down.recover(&mkat).await;
    let messages = shown(&api, CHAT, 2).await;
    assert!(messages[1].text.contains("RECOVERED: down"), "{messages:?}");
    assert_eq!(back.signal(&mkat, "fail").await["alertCreated"], true);
    assert_eq!(shown(&api, CHAT, 3).await.len(), 3, "nothing was said about the other one before");
}
