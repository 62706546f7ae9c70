//! Signals, deadlines, pauses, mutes and what they make of a service.

use crate::support::{FAST, Folder, Mkat, answer, id, token, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

const WEBHOOK: &str = r#"[{"type": 0, "intervalSeconds": 60}]"#;
const BEAT: &str = r#"[{"type": 1, "intervalSeconds": 1, "gracePeriodSeconds": 1}]"#;

fn monitors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn webhooks_move_the_state_and_alert_once() {
    let mkat = Mkat::start().await;
    let service = mkat.service("shop", monitors(WEBHOOK)).await;
    let (service_id, token) = (id(&service), token(&service, 0));
    let (fail, recover) = (format!("/webhook/{token}/fail"), format!("/mkat/webhook/{token}/recover"));

    assert_eq!(mkat.report(&recover).await.1, json!({"received": true, "alertCreated": false}));
    assert_eq!(mkat.state(&service_id).await, 1, "Unknown to Up without an alert");
    let with_message = mkat.plain(Method::POST, &fail).json(&json!({"message": "disk full"}));
    assert_eq!(answer(with_message).await.1, json!({"received": true, "alertCreated": true}));
    assert_eq!(mkat.report(&fail).await.1["alertCreated"], false, "already Down");
    assert_eq!(mkat.state(&service_id).await, 2);
    assert_eq!(mkat.report(&recover).await.1["alertCreated"], true);
    assert_eq!(mkat.alerts(&service_id).await, [(0, false), (1, false)]);

    let (_, page) = mkat.get("/api/v1/alerts?type=0&severity=2&acknowledged=false").await;
    let alert = &page["items"][0];
    assert_eq!((&page["totalCount"], &alert["serviceName"]), (&json!(1), &json!("shop")));
    assert_eq!(alert["message"], "shop failed: webhook reported a failure: disk full");
    let path = format!("/api/v1/alerts/{}", id(alert));
    assert_eq!(mkat.post(&format!("{path}/ack"), &json!({})).await.1, json!({"acknowledged": true}));
    let (status, again) = mkat.post(&format!("{path}/ack"), &json!({})).await;
    assert_eq!((status.as_u16(), &again["code"]), (400, &json!("ALREADY_ACKNOWLEDGED")));
    assert_eq!(mkat.get(&path).await.1["acknowledgedBy"], "admin");
    assert_eq!(mkat.post("/api/v1/alerts/none/ack", &json!({})).await.1["code"], "ALERT_NOT_FOUND");

    let (_, history) = mkat.get(&format!("/api/v1/services/{service_id}/transitions")).await;
    let steps: Vec<_> = history["items"].as_array().unwrap().iter().map(|row| (&row["from"], &row["to"])).collect();
    assert_eq!(steps, [(&json!(2), &json!(1)), (&json!(1), &json!(2)), (&json!(0), &json!(1))]);
    assert_eq!(history["items"][1]["trigger"], "webhook");
}

#[tokio::test]
async fn unknown_and_foreign_tokens_are_refused() {
    let mkat = Mkat::start().await;
    let service = mkat.service("s", monitors(WEBHOOK)).await;
    let token = token(&service, 0);
    let (unknown, upper) = ("0".repeat(32), token.to_uppercase());
    let odd = ["%00", "%ff", "..", "'%20OR%201=1--", &"9".repeat(5000)];
    for wrong in [unknown.as_str(), upper.as_str(), &token[..31]].into_iter().chain(odd) {
        for path in
            [format!("/webhook/{wrong}/fail"), format!("/heartbeat/{wrong}"), format!("/metric/{wrong}?value=1")]
        {
            let (status, body) = mkat.report(&path).await;
            assert_eq!(status, 404, "{path}: {body}");
            assert!(body["code"].is_string() && body.get("details").is_some(), "{path}: {body}");
        }
    }
    for path in [format!("/heartbeat/{token}"), format!("/metric/{token}?value=1")] {
        let (status, body) = mkat.report(&path).await;
        assert_eq!((status.as_u16(), &body["code"]), (400, &json!("INVALID_MONITOR_TYPE")));
    }
    let response = mkat.plain(Method::GET, &format!("/webhook/{token}/fail")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["allow"]), (405, &"POST".parse().unwrap()));
    assert_eq!(mkat.plain(Method::PATCH, &format!("/heartbeat/{token}")).send().await.unwrap().status(), 405);
    let huge = mkat.plain(Method::POST, &format!("/webhook/{token}/fail")).body("x".repeat(300 * 1024));
    let (status, body) = answer(huge).await;
    assert_eq!((status.as_u16(), &body["code"]), (413, &json!("BODY_TOO_LARGE")));
    assert_eq!(mkat.state(&id(&service)).await, 0, "nothing of all this counted");
}

#[tokio::test]
async fn heartbeats_come_by_get_head_and_post_and_their_absence_is_noticed() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let service = mkat.service("job", monitors(BEAT)).await;
    let (service_id, path) = (id(&service), format!("/heartbeat/{}", token(&service, 0)));
    for method in [Method::GET, Method::HEAD, Method::POST] {
        let before = mkat.get(&format!("/api/v1/services/{service_id}")).await.1["monitors"][0]["lastCheckIn"].clone();
        assert_eq!(mkat.plain(method.clone(), &path).send().await.unwrap().status(), 200);
        let after = mkat.get(&format!("/api/v1/services/{service_id}")).await.1["monitors"][0]["lastCheckIn"].clone();
        assert_ne!(before, after, "{method}");
    }
    assert_eq!(mkat.state(&service_id).await, 1);

    wait_for("the missed heartbeat", || async { (mkat.state(&service_id).await == 2).then_some(()) }).await;
    assert_eq!(mkat.alerts(&service_id).await, [(2, false)]);
    // Noticed within a second of the deadline, by mkat's own clock.
    let (_, service) = mkat.get(&format!("/api/v1/services/{service_id}")).await;
    let (_, history) = mkat.get(&format!("/api/v1/services/{service_id}/transitions")).await;
    let at = |value: &Value| mkat::domain::Timestamp::parse(value.as_str().unwrap()).unwrap();
    let deadline = at(&service["monitors"][0]["lastCheckIn"]).plus_seconds(2);
    let noticed = at(&history["items"][0]["createdAt"]);
    assert!(noticed > deadline && noticed.since(deadline).as_millis() < 1000, "{:?}", noticed.since(deadline));

    // Back again, and the deadline runs anew.
    assert_eq!(mkat.report(&path).await.1["alertCreated"], true);
    wait_for("the next miss", || async { (mkat.alerts(&service_id).await.len() == 3).then_some(()) }).await;
}

#[tokio::test]
async fn a_heartbeat_that_never_came_counts_from_the_creation() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let service_id = id(&mkat.service("job", monitors(BEAT)).await);
    wait_for("the miss", || async { (mkat.state(&service_id).await == 2).then_some(()) }).await;
    let (_, page) = mkat.get("/api/v1/alerts").await;
    assert_eq!(page["items"][0]["message"], "job failed: heartbeat missed, never checked in");
}

#[tokio::test]
async fn a_service_is_as_bad_as_its_worst_monitor() {
    let mkat = Mkat::start().await;
    let both = json!([{"type": 0, "intervalSeconds": 60}, {"type": 1, "intervalSeconds": 60}]);
    let service = mkat.service("both", both).await;
    let service_id = id(&service);
    let (webhook, beat) = (token(&service, 0), format!("/heartbeat/{}", token(&service, 1)));
    mkat.report(&format!("/webhook/{webhook}/fail")).await;
    assert_eq!(mkat.report(&beat).await.1["alertCreated"], false);
    assert_eq!(mkat.state(&service_id).await, 2, "a heartbeat does not hide the failure");
    assert_eq!(mkat.report(&format!("/webhook/{webhook}/recover")).await.1["alertCreated"], true);
    assert_eq!(mkat.state(&service_id).await, 1);
    mkat.report(&format!("/webhook/{webhook}/fail")).await;
    // Removing the failing monitor lets the service recover.
    let path = format!("/api/v1/services/{service_id}/monitors/{}", id(&service["monitors"][0]));
    assert_eq!(mkat.delete(&path).await.0, 204);
    assert_eq!(mkat.state(&service_id).await, 1);
    assert_eq!(mkat.alerts(&service_id).await, [(0, false), (1, false), (0, false), (1, false)]);
}

#[tokio::test]
async fn a_paused_service_records_but_does_not_change() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let service = mkat.service("s", monitors(r#"[{"intervalSeconds": 60}]"#)).await;
    let (service_id, fail) = (id(&service), format!("/webhook/{}/fail", token(&service, 0)));
    let path = format!("/api/v1/services/{service_id}");
    let (status, error) = mkat.post(&format!("{path}/resume"), &json!({})).await;
    assert_eq!((status.as_u16(), &error["code"]), (400, &json!("SERVICE_NOT_PAUSED")));
    assert_eq!(mkat.request(Method::POST, &format!("{path}/pause")).send().await.unwrap().status(), 200);
    assert_eq!(mkat.report(&fail).await.1, json!({"received": true, "alertCreated": false}));
    let (_, paused) = mkat.get(&path).await;
    assert_eq!((&paused["state"], paused["monitors"][0]["lastCheckIn"].is_string()), (&json!(3), true));
    let (_, again) = mkat.post(&format!("{path}/pause"), &json!({"until": "2030-01-01T00:00"})).await;
    assert_eq!(again, json!({"paused": true, "until": "2030-01-01T00:00:00.000000Z"}));
    let (status, error) = mkat.post(&format!("{path}/pause"), &json!({"until": "soon"})).await;
    assert_eq!((status.as_u16(), error["details"]["Until"].is_array()), (400, true));
    assert_eq!(mkat.post(&format!("{path}/resume"), &json!({})).await.1, json!({"resumed": true}));
    let (_, resumed) = mkat.get(&path).await;
    assert_eq!((&resumed["state"], &resumed["pausedUntil"]), (&json!(0), &Value::Null));
    assert!(mkat.alerts(&service_id).await.is_empty());
}

#[tokio::test]
async fn a_pause_ends_by_itself_if_asked_and_the_deadline_starts_again() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let slow = json!([{"type": 1, "intervalSeconds": 2, "gracePeriodSeconds": 1}]);
    let service_id = id(&mkat.service("s", slow).await);
    let until = mkat::domain::Timestamp::now().plus_seconds(4).to_string();
    let body = json!({"until": until, "autoResume": true});
    mkat.post(&format!("/api/v1/services/{service_id}/pause"), &body).await;
    wait_for("the resume", || async { (mkat.state(&service_id).await == 0).then_some(()) }).await;
    // By now the heartbeat is overdue since its creation; it gets a full interval and grace all the same.
    wait_for("the miss", || async { (mkat.state(&service_id).await == 2).then_some(()) }).await;
    let (_, history) = mkat.get(&format!("/api/v1/services/{service_id}/transitions")).await;
    let at = |n: usize| mkat::domain::Timestamp::parse(history["items"][n]["createdAt"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&history["items"][1]["trigger"], &history["items"][0]["trigger"]),
        (&json!("auto_resume"), &json!("missed_heartbeat"))
    );
    assert!(at(0).since(at(1)).as_secs() >= 3, "{history}");
}

#[tokio::test]
async fn what_a_mute_hid_is_told_when_it_ends_if_it_still_holds() {
    let mkat = Mkat::start().await;
    let make = async |name: &str| {
        let service = mkat.service(name, monitors(WEBHOOK)).await;
        let (service_id, token) = (id(&service), token(&service, 0));
        let (status, muted) =
            mkat.post(&format!("/api/v1/services/{service_id}/mute"), &json!({"durationMinutes": 15})).await;
        assert_eq!((status.as_u16(), &muted["muted"]), (200, &json!(true)), "{muted}");
        (service_id, format!("/webhook/{token}/fail"), format!("/webhook/{token}/recover"))
    };
    let unmute = async |service_id: &str| {
        assert_eq!(mkat.delete(&format!("/api/v1/services/{service_id}/mute")).await.0, 204);
        wait_for("the end of the mute", || async {
            let (_, open) = mkat.get(&format!("/api/v1/services/{service_id}/mutes")).await;
            open.as_array().unwrap().is_empty().then_some(())
        })
        .await;
    };
    // Still down: told once.
    let (down, fail, recover) = make("down").await;
    assert_eq!(mkat.report(&fail).await.1["alertCreated"], false);
    assert_eq!(mkat.alerts(&down).await, [(0, true)]);
    unmute(&down).await;
    wait_for("the release", || async { (mkat.alerts(&down).await == [(0, false)]).then_some(()) }).await;
    assert_eq!(mkat.report(&recover).await.1["alertCreated"], true);

    // Failed and recovered in silence, then recovered again later: nobody hears of the recovery.
    let (silent, fail, recover) = make("silent").await;
    mkat.report(&fail).await;
    mkat.report(&recover).await;
    unmute(&silent).await;
    mkat.report(&fail).await;
    mkat.report(&recover).await;
    assert_eq!(mkat.alerts(&silent).await, [(0, true), (1, true), (0, false), (1, false)]);

    // Failure told, recovery in silence: told at the end, because people believe it is down.
    let (told, fail, recover) = make("told").await;
    unmute(&told).await;
    mkat.report(&fail).await;
    mkat.post(&format!("/api/v1/services/{told}/mute"), &json!({"durationMinutes": 1})).await;
    mkat.report(&recover).await;
    assert_eq!(mkat.alerts(&told).await, [(0, false), (1, true)]);
    unmute(&told).await;
    wait_for("the release", || async { (mkat.alerts(&told).await == [(0, false), (1, false)]).then_some(()) }).await;

    for minutes in [json!(0), json!(-5), json!(525_601), json!("x"), Value::Null] {
        let (status, _) =
            mkat.post(&format!("/api/v1/services/{told}/mute"), &json!({"durationMinutes": minutes})).await;
        assert_eq!(status, 400, "{minutes}");
    }
}

#[tokio::test]
async fn simultaneous_failures_make_one_alert() {
    let mkat = Mkat::start().await;
    let service = mkat.service("s", monitors(WEBHOOK)).await;
    let fail = format!("/webhook/{}/fail", token(&service, 0));
    for round in 1..=5 {
        let all = futures_util::future::join_all((0..40).map(|_| mkat.report(&fail))).await;
        assert_eq!(all.iter().filter(|(_, body)| body["alertCreated"] == true).count(), 1, "round {round}");
        mkat.report(&fail.replace("fail", "recover")).await;
        assert_eq!(mkat.alerts(&id(&service)).await.len(), 2 * round);
    }
}

#[tokio::test]
async fn nothing_that_was_answered_is_lost_by_kill_9() {
    let folder = Folder::new();
    let mkat = Mkat::start_with(folder.clone(), &[]).await;
    let service =
        mkat.service("s", json!([{"intervalSeconds": 60}, {"type": 3, "intervalSeconds": 60, "maxValue": 5}])).await;
    let (service_id, monitor_id) = (id(&service), id(&service["monitors"][1]));
    let (fail, metric) = (format!("/webhook/{}/fail", token(&service, 0)), format!("/metric/{}", token(&service, 1)));
    let mut pushed = 0;
    for value in 0..30 {
        if mkat.report(&format!("{metric}?value={}", value % 5)).await.0 == 200 {
            pushed += 1;
        }
    }
    assert_eq!(mkat.report(&fail).await.1["alertCreated"], true);
    mkat.kill();

    let mkat = Mkat::start_with(folder, &[]).await;
    assert_eq!(mkat.state(&service_id).await, 2);
    assert_eq!(mkat.alerts(&service_id).await, [(0, false)]);
    let (_, readings) = mkat.get(&format!("/api/v1/monitors/{monitor_id}/metrics")).await;
    assert_eq!((pushed, &readings["totalCount"]), (30, &json!(30)));
    assert_eq!(mkat.report(&fail).await.1["alertCreated"], false, "the state is known after the restart");
}

#[tokio::test]
async fn a_restart_gives_every_heartbeat_a_full_interval_and_grace() {
    let folder = Folder::new();
    let mkat = Mkat::start_with(folder.clone(), FAST).await;
    let service_id = id(&mkat.service("s", json!([{"type": 1, "intervalSeconds": 2, "gracePeriodSeconds": 1}])).await);
    mkat.kill();
    tokio::time::sleep(std::time::Duration::from_millis(3200)).await;
    let began = mkat::domain::Timestamp::now();
    let mkat = Mkat::start_with(folder, FAST).await;
    wait_for("the miss", || async { (mkat.state(&service_id).await == 2).then_some(()) }).await;
    let (_, history) = mkat.get(&format!("/api/v1/services/{service_id}/transitions")).await;
    let missed = mkat::domain::Timestamp::parse(history["items"][0]["createdAt"].as_str().unwrap()).unwrap();
    assert!(missed.since(began).as_secs() >= 3, "not at once after the start");
}

#[tokio::test]
async fn a_process_that_was_stopped_does_not_blame_the_services() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let service_id = id(&mkat.service("s", json!([{"type": 1, "intervalSeconds": 5, "gracePeriodSeconds": 1}])).await);
    mkat.signal("STOP");
    tokio::time::sleep(std::time::Duration::from_secs(17)).await;
    let began = mkat::domain::Timestamp::now();
    mkat.signal("CONT");
    // The connection that was kept open may be closed by now.
    let _ = mkat.plain(Method::GET, "/health").send().await;
    wait_for("the miss", || async { (mkat.state(&service_id).await == 2).then_some(()) }).await;
    let (_, history) = mkat.get(&format!("/api/v1/services/{service_id}/transitions")).await;
    let missed = mkat::domain::Timestamp::parse(history["items"][0]["createdAt"].as_str().unwrap()).unwrap();
    assert!(missed.since(began).as_secs() >= 5, "a full interval and grace after the continuation: {history}");
}
