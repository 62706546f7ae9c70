//! Push URLs of Healthchecks and Uptime Kuma, with the real binary.

use crate::support::{FAST, Folder, Mkat, answer, id, token, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

const HEARTBEAT: i64 = 1;
const METRIC: i64 = 3;
const UP: i64 = 1;
const DOWN: i64 = 2;

/// Service id and token.
async fn job(mkat: &Mkat, name: &str, kind: i64) -> (String, String) {
    let mut monitor = json!({"type": kind, "intervalSeconds": 300});
    if kind == METRIC {
        monitor["maxValue"] = json!(100);
    }
    let service = mkat.service(name, json!([monitor])).await;
    (id(&service), token(&service, 0))
}

async fn call(mkat: &Mkat, method: Method, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = answer(mkat.plain(method, path).body(body.to_owned())).await;
    (status.as_u16(), body)
}

async fn reason(mkat: &Mkat, service_id: &str) -> String {
    let (_, history) = mkat.get(&format!("/api/v1/services/{service_id}/transitions")).await;
    history["items"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// As Healthchecks prints tokens.
fn hyphenated(token: &str) -> String {
    uuid::Uuid::parse_str(token).unwrap().hyphenated().to_string()
}

#[tokio::test]
async fn healthchecks_urls_move_a_monitor() {
    let mkat = Mkat::start().await;
    for (name, kind) in [("a heartbeat", HEARTBEAT), ("a webhook", 0)] {
        let (service_id, token) = job(&mkat, name, kind).await;
        for base in [format!("/ping/{token}"), format!("/mkat/ping/{}", hyphenated(&token))] {
            for (method, end, body, state) in [
                (Method::GET, "", "", UP),
                (Method::POST, "/fail", "disk full", DOWN),
                (Method::HEAD, "/start", "", DOWN),
                (Method::POST, "/log", "halfway", DOWN),
                (Method::POST, "", "all 7 files", UP),
                (Method::GET, "/137", "", DOWN),
                (Method::GET, "/0", "", UP),
            ] {
                let (status, text) = call(&mkat, method.clone(), &format!("{base}{end}"), body).await;
                assert_eq!(status, 200, "{method} {end}: {text}");
                assert!(method == Method::HEAD || text == "OK", "{text}");
                assert_eq!(mkat.state(&service_id).await, state, "{name}: {method} {end}");
                if end == "/fail" {
                    assert!(reason(&mkat, &service_id).await.ends_with("a failure: disk full"));
                }
            }
        }
        assert_eq!(mkat.alerts(&service_id).await.len(), 8, "two failures and recoveries by each base");
    }
}

#[tokio::test]
async fn what_is_no_push_url_is_refused_and_changes_nothing() {
    let mkat = Mkat::start().await;
    let (service_id, token) = job(&mkat, "job", HEARTBEAT).await;
    let (_, metric) = job(&mkat, "metric", METRIC).await;
    let nobody = uuid::Uuid::new_v4();
    for (method, path, status, code) in [
        (Method::GET, format!("/ping/{nobody}"), 404, "TOKEN_NOT_FOUND"),
        (Method::POST, format!("/ping/{nobody}/fail"), 404, "TOKEN_NOT_FOUND"),
        (Method::POST, format!("/ping/{token}/256"), 404, "TOKEN_NOT_FOUND"),
        (Method::POST, format!("/ping/{token}/-1"), 404, "TOKEN_NOT_FOUND"),
        (Method::POST, format!("/ping/{token}/FAIL"), 404, "TOKEN_NOT_FOUND"),
        (Method::POST, format!("/ping/{token}/x/fail"), 404, "TOKEN_NOT_FOUND"),
        (Method::POST, format!("/ping/{token}/fail/now"), 404, "TOKEN_NOT_FOUND"),
        (Method::POST, format!("/ping/{token}/a/b/c"), 404, "NOT_FOUND"),
        (Method::GET, "/ping".into(), 404, "NOT_FOUND"),
        (Method::DELETE, format!("/ping/{token}"), 405, "METHOD_NOT_ALLOWED"),
        (Method::GET, format!("/ping/{metric}"), 400, "INVALID_MONITOR_TYPE"),
        (Method::GET, format!("/api/push/{nobody}"), 404, "TOKEN_NOT_FOUND"),
        (Method::GET, format!("/api/push/{token}?status=broken"), 400, "VALIDATION_ERROR"),
        (Method::GET, format!("/api/push/{token}?status=down&ping=fast"), 400, "VALIDATION_ERROR"),
        (Method::GET, format!("/api/push/{metric}"), 400, "VALIDATION_ERROR"),
        (Method::GET, format!("/api/push/{token}/down"), 401, "UNAUTHORIZED"),
        (Method::GET, "/api/push".into(), 401, "UNAUTHORIZED"),
        (Method::PUT, format!("/api/push/{token}"), 405, "METHOD_NOT_ALLOWED"),
    ] {
        let (answered, error) = call(&mkat, method.clone(), &path, "").await;
        assert_eq!((answered, &error["code"]), (status, &json!(code)), "{method} {path}: {error}");
    }
    let too_long = "x".repeat(300 * 1024);
    assert_eq!(call(&mkat, Method::POST, &format!("/ping/{token}/fail"), &too_long).await.0, 413);
    assert_eq!(mkat.state(&service_id).await, 0, "nothing was heard");
    for line in mkat.log() {
        assert!(!line.contains(&token), "{line}");
    }
}

#[tokio::test]
async fn kuma_urls_move_a_monitor_and_push_its_ping() {
    let mkat = Mkat::start().await;
    let (service_id, token) = job(&mkat, "job", HEARTBEAT).await;
    for (method, query, state) in [
        (Method::GET, "?status=up&msg=OK&ping=", UP),
        (Method::GET, "?status=down&msg=no+space%20left&ping=12.5", DOWN),
        (Method::POST, "", UP),
        (Method::POST, "?status=down", DOWN),
        (Method::HEAD, "?msg=fine", UP),
    ] {
        let (status, body) = call(&mkat, method.clone(), &format!("/api/push/{token}{query}"), "").await;
        assert_eq!(status, 200, "{query}: {body}");
        assert!(method == Method::HEAD || body == json!({"ok": true}), "{body}");
        assert_eq!(mkat.state(&service_id).await, state, "{method} {query}");
        if query.contains("space") {
            assert!(reason(&mkat, &service_id).await.ends_with(": no space left (12.5 ms)"));
        }
    }
    let (service_id, token) = job(&mkat, "latency", METRIC).await;
    for (ping, state) in [("99", UP), ("101", DOWN)] {
        assert_eq!(call(&mkat, Method::GET, &format!("/api/push/{token}?status=up&ping={ping}"), "").await.0, 200);
        assert_eq!(mkat.state(&service_id).await, state);
    }
}

#[tokio::test]
async fn a_job_keeps_the_token_it_has() {
    let mkat = Mkat::start().await;
    let service = mkat.service("job", json!([{"type": HEARTBEAT, "intervalSeconds": 300}])).await;
    let (service_id, old) = (id(&service), token(&service, 0));
    let adopt = format!("/api/v1/services/{service_id}/monitors/{}/adopt-token", id(&service["monitors"][0]));
    let uuid = "0D1B7A40-4f4e-4b7c-9d5e-6c0d7f3b2a11";
    assert_eq!(mkat.post(&adopt, &json!({"token": uuid})).await.0, 200);
    assert_eq!(call(&mkat, Method::GET, &format!("/ping/{uuid}"), "").await.0, 200);
    assert_eq!(mkat.state(&service_id).await, UP);
    assert_eq!(call(&mkat, Method::GET, &format!("/ping/{old}"), "").await.0, 404);
    let kuma = "Qk3xZ0pLr9";
    assert_eq!(mkat.post(&adopt, &json!({"token": kuma})).await.1["token"], kuma);
    assert_eq!(call(&mkat, Method::GET, &format!("/api/push/{kuma}?status=down"), "").await.0, 200);
    assert_eq!(mkat.state(&service_id).await, DOWN);

    let (_, taken) = job(&mkat, "another", HEARTBEAT).await;
    for wrong in [json!(taken), json!("short"), json!("with/a/slash"), json!("x".repeat(101)), json!(null), json!(7)] {
        let (status, error) = mkat.post(&adopt, &json!({"token": wrong})).await;
        assert_eq!((status.as_u16(), &error["code"]), (400, &json!("VALIDATION_ERROR")), "{wrong}: {error}");
    }
    assert_eq!(call(&mkat, Method::GET, &format!("/api/push/{kuma}"), "").await.0, 200, "it kept its token");
    assert_eq!(answer(mkat.plain(Method::POST, &adopt).json(&json!({"token": "0123456789"}))).await.0, 401);
}

#[tokio::test]
async fn slugs_need_the_ping_key() {
    let folder = Folder::new();
    let mkat = Mkat::start_with(folder.clone(), &[]).await;
    let (service_id, _) = job(&mkat, "Nightly backup (db)", HEARTBEAT).await;
    let key = "f0kwqJXcTS2mLd5Nb8vRyA";
    let url = format!("/ping/{key}/nightly-backup-db");
    assert_eq!(call(&mkat, Method::GET, &url, "").await.0, 404, "no key is set");
    assert_eq!(mkat.put("/api/v1/ping-key", &json!({"key": "short"})).await.0, 400);
    assert_eq!(mkat.put("/api/v1/ping-key", &json!({"key": key})).await.0, 204);
    for (end, state) in [("", UP), ("/fail", DOWN), ("/start", DOWN), ("/0", UP), ("/3", DOWN)] {
        assert_eq!(call(&mkat, Method::POST, &format!("{url}{end}"), "").await.0, 200, "{end}");
        assert_eq!(mkat.state(&service_id).await, state, "{end}");
    }
    for wrong in
        ["/ping/another-ping-key-00000/nightly-backup-db", &format!("/ping/{key}/nightly"), &format!("/ping/{key}/")]
    {
        assert_eq!(call(&mkat, Method::GET, wrong, "").await.0, 404, "{wrong}");
    }
    job(&mkat, "nightly backup DB", HEARTBEAT).await;
    assert_eq!(call(&mkat, Method::GET, &url, "").await.0, 400, "two services have that slug");
    assert_eq!(mkat.delete("/api/v1/ping-key").await.0, 204);
    assert_eq!(call(&mkat, Method::GET, &url, "").await.0, 404);
    mkat.kill();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let kept = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!kept.windows(key.len()).any(|window| window == key.as_bytes()), "the key itself is nowhere");
    }
}

#[tokio::test]
async fn a_failed_job_is_not_missed_as_well_and_a_started_one_still_is() {
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let monitors = json!([{"type": HEARTBEAT, "intervalSeconds": 2, "gracePeriodSeconds": 0}]);
    let failed = mkat.service("failed", monitors.clone()).await;
    let started = mkat.service("started", monitors).await;
    assert_eq!(call(&mkat, Method::POST, &format!("/ping/{}/fail", token(&failed, 0)), "").await.0, 200);
    assert_eq!(call(&mkat, Method::POST, &format!("/ping/{}/start", token(&started, 0)), "").await.0, 200);
    wait_for("the miss", || async { (mkat.state(&id(&started)).await == DOWN).then_some(()) }).await;
    assert_eq!(mkat.alerts(&id(&started)).await, [(2, false)]);
    assert_eq!(mkat.alerts(&id(&failed)).await, [(0, false)]);
}
