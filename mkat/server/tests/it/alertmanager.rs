//! Alertmanager's messages become states of services.

use crate::support::{FAST, Folder, Mkat, answer, id, wait_for};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// As Alertmanager 0.34 sends it (version 4 of its webhook), with one alert for each of the given ones.
fn message(alerts: Vec<Value>) -> Value {
    json!({
        "receiver": "mkat", "status": "firing", "version": "4", "truncatedAlerts": 0,
        "groupKey": "{}:{alertname=\"HookErrors\"}", "groupLabels": {"alertname": "HookErrors"},
        "commonLabels": {"severity": "warning"}, "commonAnnotations": {}, "externalURL": "http://am:9093",
        "alerts": alerts,
    })
}

fn alert(name: &str, tenant: &str, status: &str, severity: &str) -> Value {
    let ends = if status == "firing" { "0001-01-01T00:00:00Z" } else { "2026-11-21T10:05:00Z" };
    json!({
        "status": status, "labels": {"alertname": name, "tenant": tenant, "severity": severity, "job": "mics"},
        "annotations": {"summary": format!("{name} of {tenant}"), "runbook_url": "https://wiki/hook"},
        "startsAt": "2026-11-21T10:00:00.123Z", "endsAt": ends,
        "generatorURL": "http://prom:9090/graph?g0.expr=x", "fingerprint": format!("{name}-{tenant}"),
    })
}

async fn receiver(mkat: &Mkat, settings: Value) -> (String, String) {
    let (status, made) = mkat.post("/api/v1/alertmanager/receivers", &settings).await;
    assert_eq!(status, 201, "{made}");
    (id(&made), format!("/alertmanager/{}", made["token"].as_str().unwrap()))
}

async fn post(mkat: &Mkat, path: &str, body: &Value) -> (StatusCode, Value) {
    answer(mkat.plain(Method::POST, path).json(body)).await
}

async fn service(mkat: &Mkat, name: &str) -> Option<Value> {
    let (_, page) = mkat.get("/api/v1/services?pageSize=100").await;
    page["items"].as_array().unwrap().iter().find(|service| service["name"] == name).cloned()
}

#[tokio::test]
async fn alerts_are_grouped_by_labels_and_told_once() {
    let mkat = Mkat::start().await;
    let (receiver_id, path) = receiver(&mkat, json!({"name": "prod", "serviceTemplate": "gateway/{{tenant}}"})).await;
    let both = message(vec![
        alert("HookErrors", "t1", "firing", "warning"),
        alert("HookSlow", "t1", "firing", "critical"),
        alert("HookErrors", "t2", "firing", "info"),
    ]);
    let (status, taken) = post(&mkat, &path, &both).await;
    assert_eq!((status.as_u16(), &taken["firing"], &taken["alertCreated"]), (200, &json!(3), &json!(true)), "{taken}");
    let (t1, t2) = (service(&mkat, "gateway/t1").await.unwrap(), service(&mkat, "gateway/t2").await.unwrap());
    assert_eq!((&t1["state"], &t1["severity"]), (&json!(2), &json!(3)), "as bad as the worst");
    assert_eq!((&t2["state"], &t2["severity"], &t2["managedBy"]), (&json!(2), &json!(0), &json!("alertmanager")));
    let (_, page) = mkat.get(&format!("/api/v1/alerts?serviceId={}", id(&t1))).await;
    let told = page["items"][0]["message"].as_str().unwrap();
    for part in ["HookErrors of t1", "HookSlow of t1", "runbook: https://wiki/hook"] {
        assert!(told.contains(part), "{told}");
    }

    for _ in 0..3 {
        assert_eq!(post(&mkat, &path, &both).await.1["alertCreated"], false, "a repetition");
    }
    assert_eq!(mkat.alerts(&id(&t1)).await, [(0, false)]);
    let (_, firing) = mkat.get(&format!("/api/v1/alertmanager/receivers/{receiver_id}/alerts")).await;
    assert_eq!(firing.as_array().unwrap().len(), 3);

    // One of two is resolved: still Down. The last one: Up. A repeat of that: nothing.
    let one = message(vec![alert("HookErrors", "t1", "resolved", "warning")]);
    assert_eq!(post(&mkat, &path, &one).await.1["alertCreated"], false);
    assert_eq!(mkat.state(&id(&t1)).await, 2);
    let last = message(vec![alert("HookSlow", "t1", "resolved", "critical")]);
    assert_eq!(post(&mkat, &path, &last).await.1["alertCreated"], true);
    assert_eq!(post(&mkat, &path, &last).await.1["alertCreated"], false);
    assert_eq!((mkat.state(&id(&t1)).await, mkat.state(&id(&t2)).await), (1, 2));
    // A firing report that its resolution has overtaken.
    let (_, late) = post(&mkat, &path, &message(vec![alert("HookSlow", "t1", "firing", "critical")])).await;
    assert_eq!((&late["stale"], &late["alertCreated"]), (&json!(1), &json!(false)));
    assert_eq!(mkat.alerts(&id(&t1)).await, [(0, false), (1, false)]);
    // The next failure of the same alert.
    let mut next = alert("HookSlow", "t1", "firing", "critical");
    next["startsAt"] = json!("2026-11-21T11:00:00Z");
    assert_eq!(post(&mkat, &path, &message(vec![next])).await.1["alertCreated"], true);
}

#[tokio::test]
async fn a_worse_alert_in_a_service_that_is_down_is_told() {
    let mkat = Mkat::start().await;
    let (_, path) = receiver(&mkat, json!({"name": "prod", "serviceTemplate": "gateway"})).await;
    post(&mkat, &path, &message(vec![alert("Slow", "t1", "firing", "warning")])).await;
    let same = post(&mkat, &path, &message(vec![alert("Slow", "t2", "firing", "warning")])).await;
    assert_eq!(same.1["alertCreated"], false, "as bad as before");
    let worse = post(&mkat, &path, &message(vec![alert("Dead", "t1", "firing", "critical")])).await;
    assert_eq!(worse.1["alertCreated"], true);
    let service = service(&mkat, "gateway").await.unwrap();
    assert_eq!(mkat.alerts(&id(&service)).await, [(0, false), (0, false)]);
    let (_, page) = mkat.get(&format!("/api/v1/alerts?serviceId={}&severity=3", id(&service))).await;
    assert!(page["items"][0]["message"].as_str().unwrap().contains("Dead of t1"), "{page}");
}

#[tokio::test]
async fn nothing_is_lost_beyond_the_limit_of_services_or_without_a_fingerprint() {
    let mkat = Mkat::start().await;
    let settings = json!({"name": "prod", "serviceTemplate": "{{tenant}}", "maxServices": 2});
    let (receiver_id, path) = receiver(&mkat, settings).await;
    let mut many: Vec<Value> = (0..10).map(|n| alert("Down", &format!("t{n}"), "firing", "warning")).collect();
    for alert in &mut many {
        alert.as_object_mut().unwrap().remove("fingerprint");
    }
    assert_eq!(post(&mkat, &path, &message(many.clone())).await.1["firing"], 10);
    let rest = service(&mkat, "prod: further alerts").await.unwrap();
    assert_eq!(rest["state"], 2);
    let (_, page) = mkat.get("/api/v1/services").await;
    assert_eq!(page["totalCount"], 3);
    for alert in &mut many {
        alert["status"] = json!("resolved");
        alert["endsAt"] = json!("2026-11-21T10:05:00Z");
    }
    post(&mkat, &path, &message(many)).await;
    assert_eq!(mkat.state(&id(&rest)).await, 1);
    assert_eq!(mkat.delete(&format!("/api/v1/alertmanager/receivers/{receiver_id}")).await.0, 204);
    assert_eq!(mkat.get("/api/v1/services").await.1["totalCount"], 0, "what was made for alerts goes with them");
    assert_eq!(post(&mkat, &path, &message(vec![])).await.1["code"], "TOKEN_NOT_FOUND");
}

#[tokio::test]
async fn a_service_of_the_operator_is_used_and_kept() {
    let mkat = Mkat::start().await;
    let own = mkat.service("gateway", json!([{"type": 0, "intervalSeconds": 60}])).await;
    let (receiver_id, path) = receiver(&mkat, json!({"name": "prod", "serviceTemplate": "gateway"})).await;
    post(&mkat, &path, &message(vec![alert("Down", "t1", "firing", "critical")])).await;
    assert_eq!(mkat.state(&id(&own)).await, 2);
    assert_eq!(service(&mkat, "gateway").await.unwrap()["severity"], 2, "its severity is the operator's");
    let other = mkat.service("lone", json!([{"type": 0, "intervalSeconds": 60}])).await;
    let (lone_id, lone) = receiver(&mkat, json!({"name": "lone", "serviceTemplate": "lone"})).await;
    post(&mkat, &lone, &message(vec![alert("Down", "t1", "firing", "critical")])).await;
    let first = format!("/api/v1/services/{}/monitors/{}", id(&other), id(&other["monitors"][0]));
    assert_eq!(mkat.delete(&first).await.0, 204);
    assert_eq!(mkat.delete(&format!("/api/v1/alertmanager/receivers/{lone_id}")).await.0, 204);
    assert_eq!(mkat.state(&id(&other)).await, 1, "the last monitor stays, and what fired in it is over");
    assert_eq!(mkat.delete(&format!("/api/v1/alertmanager/receivers/{receiver_id}")).await.0, 204);
    let left = service(&mkat, "gateway").await.unwrap();
    assert_eq!((left["monitors"].as_array().unwrap().len(), &left["state"]), (1, &json!(0)));
}

#[tokio::test]
async fn the_watchdog_is_a_heartbeat_of_the_pipeline() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let (_, path) = receiver(&mkat, json!({"name": "prod", "watchdogSeconds": 2})).await;
    let watchdog = || message(vec![alert("Watchdog", "", "firing", "none")]);
    post(&mkat, &path, &watchdog()).await;
    let service = service(&mkat, "prod: watchdog").await.unwrap();
    assert_eq!((&service["state"], &service["severity"]), (&json!(1), &json!(3)));
    let service_id = id(&service);
    wait_for("silence", || async { (mkat.state(&service_id).await == 2).then_some(()) }).await;
    assert_eq!(mkat.alerts(&service_id).await, [(2, false)]);
    let resolved = message(vec![alert("Watchdog", "", "resolved", "none")]);
    assert_eq!(post(&mkat, &path, &resolved).await.1["alertCreated"], false, "its end is no sign of life");
    assert_eq!(mkat.state(&service_id).await, 2);
    assert_eq!(post(&mkat, &path, &watchdog()).await.1["alertCreated"], true);
    assert_eq!(mkat.state(&service_id).await, 1);
}

#[tokio::test]
async fn what_is_not_repeated_ends_and_what_fires_comes_back_after_a_pause() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let (_, path) = receiver(&mkat, json!({"name": "long"})).await;
    post(&mkat, &path, &message(vec![alert("Stays", "t", "firing", "warning")])).await;
    let stays = id(&service(&mkat, "Stays").await.unwrap());
    mkat.post(&format!("/api/v1/services/{stays}/pause"), &json!({})).await;
    mkat.post(&format!("/api/v1/services/{stays}/resume"), &json!({})).await;
    wait_for("Down again", || async { (mkat.state(&stays).await == 2).then_some(()) }).await;

    let (_, path) = receiver(&mkat, json!({"name": "short", "expireSeconds": 1})).await;
    post(&mkat, &path, &message(vec![alert("Fades", "t", "firing", "warning")])).await;
    let fades = id(&service(&mkat, "Fades").await.unwrap());
    wait_for("the end", || async { (mkat.state(&fades).await == 1).then_some(()) }).await;
    assert_eq!(mkat.state(&stays).await, 2);
}

#[tokio::test]
async fn garbage_is_refused_with_a_code_and_nothing_is_stored() {
    let mkat = Mkat::start().await;
    let (_, path) = receiver(&mkat, json!({"name": "prod", "bearer": "s3cret"})).await;
    let send = |body: String| {
        let request = mkat.plain(Method::POST, &path).bearer_auth("s3cret").header("content-type", "application/json");
        answer(request.body(body))
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut one = alert("Down", "t1", "firing", "warning");
        change(&mut one);
        // A good one beside the bad one is not stored either.
        message(vec![alert("Good", "t1", "firing", "warning"), one]).to_string()
    };
    let broken = [
        String::new(),
        "nonsense".into(),
        "[]".into(),
        "{}".into(),
        r#"{"alerts": null}"#.into(),
        r#"{"alerts": {}}"#.into(),
        r#"{"alerts": [7]}"#.into(),
        with(&|one| one["status"] = json!("pending")),
        with(&|one| one["labels"] = json!(["a"])),
        with(&|one| one["labels"]["tenant"] = json!(7)),
        with(&|one| one["labels"]["tenant"] = json!("x".repeat(5000))),
        with(&|one| one["startsAt"] = json!("yesterday")),
        with(&|one| one["startsAt"] = Value::Null),
        with(&|one| one["endsAt"] = json!({})),
        with(&|one| one["fingerprint"] = json!("f".repeat(101))),
        message(vec![json!({}); 10_001]).to_string(),
        "[".repeat(100_000),
    ];
    for body in broken {
        let (status, refused) = send(body.clone()).await;
        let start: String = body.chars().take(80).collect();
        assert_eq!((status.as_u16(), &refused["code"]), (400, &json!("VALIDATION_ERROR")), "{start}: {refused}");
    }
    let (status, refused) = send(" ".repeat(9 << 20)).await;
    assert_eq!((status.as_u16(), &refused["code"]), (413, &json!("BODY_TOO_LARGE")));
    let good = message(vec![alert("Good", "t1", "firing", "warning")]);
    let (status, refused) = post(&mkat, &path, &good).await;
    assert_eq!((status.as_u16(), &refused["code"]), (401, &json!("UNAUTHORIZED")));
    let wrong = mkat.plain(Method::POST, &path).bearer_auth("S3CRET").json(&good);
    assert_eq!(answer(wrong).await.0, 401);
    assert_eq!(mkat.get("/api/v1/services").await.1["totalCount"], 0);

    // A storm is taken whole; odd annotations cost nothing.
    let mut storm: Vec<Value> = (0..5_000).map(|n| alert("Storm", &format!("t{n}"), "firing", "warning")).collect();
    storm[0]["annotations"] = json!({"summary": 7, "description": "y".repeat(10_000)});
    storm[1]["annotations"] = Value::Null;
    let (status, taken) = send(message(storm).to_string()).await;
    assert_eq!((status.as_u16(), &taken["firing"]), (200, &json!(5_000)), "{taken}");
    assert_eq!(mkat.get("/api/v1/services").await.1["totalCount"], 1);
    assert!(
        mkat.log().iter().all(|line| !line.contains(path.trim_start_matches("/alertmanager/"))),
        "no token in the log"
    );
}

#[tokio::test]
async fn settings_of_receivers_are_checked() {
    let mkat = Mkat::start().await;
    let path = "/api/v1/alertmanager/receivers";
    for (body, key) in [
        (json!({}), "Name"),
        (json!({"name": " "}), "Name"),
        (json!({"name": "a", "serviceTemplate": "{{"}), "ServiceTemplate"),
        (json!({"name": "a", "maxServices": 0}), "MaxServices"),
        (json!({"name": "a", "expireSeconds": 1}), "ExpireSeconds"),
        (json!({"name": "a", "watchdogSeconds": "soon"}), "WatchdogSeconds"),
        (json!({"name": "a", "bearer": 7}), "Bearer"),
    ] {
        let (status, refused) = mkat.post(path, &body).await;
        assert_eq!(status, 400, "{body}");
        assert!(refused["details"][key].is_array(), "{refused}");
    }
    let (one, _) = receiver(&mkat, json!({"name": "a", "bearer": "x"})).await;
    assert_eq!(mkat.post(path, &json!({"name": "a"})).await.1["code"], "RECEIVER_NAME_TAKEN");
    let (_, changed) = mkat.put(&format!("{path}/{one}"), &json!({"name": "b", "maxServices": 7})).await;
    assert_eq!(
        (&changed["name"], &changed["maxServices"], &changed["hasBearer"]),
        (&json!("b"), &json!(7), &json!(true))
    );
    assert!(changed.get("bearer").is_none());
    let (_, bare) = mkat.put(&format!("{path}/{one}"), &json!({"name": "b", "bearer": ""})).await;
    assert_eq!(bare["hasBearer"], false);
    assert_eq!(mkat.get(path).await.1.as_array().unwrap().len(), 1);
    for (method, path) in [(Method::GET, format!("{path}/none")), (Method::DELETE, format!("{path}/none"))] {
        assert_eq!(answer(mkat.request(method, &path)).await.1["code"], "RECEIVER_NOT_FOUND");
    }
    assert_eq!(answer(mkat.plain(Method::GET, path)).await.0, 401);
}

#[tokio::test]
async fn a_receiver_shows_its_watchdog_and_a_new_token_ends_the_old_one() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let (receiver_id, path) = receiver(&mkat, json!({"name": "prod", "watchdogSeconds": 2})).await;
    let own = format!("/api/v1/alertmanager/receivers/{receiver_id}");
    assert_eq!(mkat.get(&own).await.1["watchdog"], Value::Null, "not heard of yet");
    let watchdog = message(vec![alert("Watchdog", "t", "firing", "none")]);
    post(&mkat, &path, &watchdog).await;
    let (_, shown) = mkat.get(&own).await;
    let told = &shown["watchdog"];
    assert_eq!((&told["state"], &told["serviceName"]), (&json!(1), &json!("prod: watchdog")), "{shown}");
    assert!(told["lastHeardAt"].is_string(), "{shown}");
    wait_for("its silence", || async { (mkat.get(&own).await.1["watchdog"]["state"] == 2).then_some(()) }).await;

    let (status, rotated) = mkat.post(&format!("{own}/rotate-token"), &json!({})).await;
    let fresh = format!("/alertmanager/{}", rotated["token"].as_str().unwrap());
    assert_eq!(status, 200);
    assert!(fresh != path && rotated["url"].as_str().unwrap().ends_with(&fresh), "{rotated}");
    assert_eq!(post(&mkat, &path, &watchdog).await.1["code"], "TOKEN_NOT_FOUND");
    assert_eq!(post(&mkat, &fresh, &watchdog).await.0, 200);
    assert_eq!(mkat.get(&own).await.1["watchdog"]["state"], 1, "the same service goes on");
    let missing = mkat.post("/api/v1/alertmanager/receivers/none/rotate-token", &json!({})).await;
    assert_eq!((missing.0.as_u16(), &missing.1["code"]), (404, &json!("RECEIVER_NOT_FOUND")));
    assert_eq!(answer(mkat.plain(Method::POST, &format!("{own}/rotate-token"))).await.0, 401);
}

#[tokio::test]
async fn alerts_that_were_left_out_are_shown_until_their_group_is_whole_again() {
    let mkat = Mkat::start().await;
    let (receiver_id, path) = receiver(&mkat, json!({"name": "prod"})).await;
    let own = format!("/api/v1/alertmanager/receivers/{receiver_id}");
    let part = |group: &str, truncated: i64| {
        let mut message = message(vec![alert("Storm", group, "firing", "warning")]);
        message["groupKey"] = json!(group);
        message["truncatedAlerts"] = json!(truncated);
        message
    };
    assert_eq!(post(&mkat, &path, &part("a", 7)).await.1["truncated"], 7);
    assert_eq!(mkat.get(&own).await.1["truncated"], 7);
    post(&mkat, &path, &part("b", 0)).await;
    assert_eq!(mkat.get(&own).await.1["truncated"], 7, "another group says nothing about it");
    post(&mkat, &path, &part("a", 0)).await;
    assert_eq!(mkat.get(&own).await.1["truncated"], 0);
}
