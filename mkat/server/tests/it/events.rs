//! Events, rollups, uptime, health checks and mkat's own metrics.

use crate::support::receiver::Receiver;
use crate::support::{FAST, Folder, Mkat, answer, id, token, wait_for};
use reqwest::Method;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

#[tokio::test]
async fn events_are_listed_newest_first_with_changes_of_state() {
    let mkat = Mkat::start().await;
    let service = mkat
        .service("shop", json!([{"type": 0, "intervalSeconds": 60}, {"type": 3, "intervalSeconds": 60, "maxValue": 9}]))
        .await;
    let (service_id, monitor_id) = (id(&service), id(&service["monitors"][0]));
    mkat.report(&format!("/webhook/{}/fail", token(&service, 0))).await;
    mkat.report(&format!("/metric/{}?value=4.5", token(&service, 1))).await;
    mkat.report(&format!("/webhook/{}/recover", token(&service, 0))).await;

    let (_, events) = mkat.get(&format!("/api/v1/services/{service_id}/events")).await;
    let kinds: Vec<_> = list(&events).iter().map(|event| event["eventType"].as_str().unwrap()).collect();
    let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
    assert_eq!((count("WebhookReceived"), count("MetricIngested"), count("StateChanged")), (2, 1, 2), "{events}");
    let times: Vec<_> = list(&events).iter().map(|event| event["createdAt"].as_str().unwrap()).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{times:?}");

    let (_, one) = mkat.get(&format!("/api/v1/monitors/{monitor_id}/events?eventType=WebhookReceived&limit=1")).await;
    assert_eq!((list(&one).len(), &one[0]["success"]), (1, &json!(true)));
    let (_, changes) = mkat.get(&format!("/api/v1/services/{service_id}/events?eventType=4")).await;
    assert_eq!(list(&changes)[0]["message"], "Down to Up: webhook reported recovery");
    for query in ["eventType=Nope", "limit=0", "limit=1001", "from=soon", "from=2026-02-01&to=2026-01-01"] {
        let (status, body) = mkat.get(&format!("/api/v1/services/{service_id}/events?{query}")).await;
        assert_eq!((status.as_u16(), &body["code"]), (400, &json!("VALIDATION_ERROR")), "{query}");
    }
    for (path, code) in [
        ("monitors/x/events", "MONITOR_NOT_FOUND"),
        ("services/x/events", "SERVICE_NOT_FOUND"),
        ("monitors/x/rollups", "MONITOR_NOT_FOUND"),
        ("services/x/uptime", "SERVICE_NOT_FOUND"),
    ] {
        let (status, body) = mkat.get(&format!("/api/v1/{path}")).await;
        assert_eq!((status.as_u16(), &body["code"]), (404, &json!(code)));
    }
}

#[tokio::test]
async fn events_of_all_services_come_in_one_bounded_list() {
    let mkat = Mkat::start().await;
    let shop = mkat.service("shop", json!([{"type": 0, "intervalSeconds": 60}])).await;
    let job = mkat.service("job", json!([{"type": 1, "intervalSeconds": 60}])).await;
    mkat.report(&format!("/heartbeat/{}", token(&job, 0))).await;
    mkat.report(&format!("/webhook/{}/fail", token(&shop, 0))).await;
    let (_, page) = mkat.get("/api/v1/events").await;
    let shown = |page: &Value| {
        let items = list(&page["items"]).iter();
        items.map(|one| format!("{} {}", one["serviceName"], one["eventType"]).replace('"', "")).collect::<Vec<_>>()
    };
    let all = shown(&page);
    let ids: std::collections::BTreeSet<_> = list(&page["items"]).iter().map(id).collect();
    assert_eq!(ids.len(), all.len(), "a signal and the change that it caused have ids of their own: {page}");
    assert_eq!((all.len(), &page["totalCount"], &page["totalPages"]), (4, &json!(4), &json!(1)), "{page}");
    assert!(all[..2].iter().all(|one| one.starts_with("shop ")), "newest first: {all:?}");
    for kind in ["job HeartbeatReceived", "job StateChanged", "shop WebhookReceived", "shop StateChanged"] {
        assert!(all.iter().any(|one| one == kind), "{kind}: {all:?}");
    }
    let (_, last) = mkat.get("/api/v1/events?page=4&pageSize=1").await;
    assert_eq!((shown(&last), &last["hasNextPage"]), (all[3..].to_vec(), &json!(false)));
    assert_eq!(shown(&mkat.get("/api/v1/events?eventType=4").await.1), ["shop StateChanged", "job StateChanged"]);
    assert_eq!(shown(&mkat.get("/api/v1/events?eventType=WebhookReceived").await.1), ["shop WebhookReceived"]);
    for query in ["eventType=Nope", "page=x"] {
        let (status, body) = mkat.get(&format!("/api/v1/events?{query}")).await;
        assert_eq!((status.as_u16(), &body["code"]), (400, &json!("VALIDATION_ERROR")), "{query}");
    }
    assert_eq!(answer(mkat.plain(Method::GET, "/api/v1/events")).await.0, 401);

    // However many are kept, the list ends after 1,000.
    let folder = mkat.kill();
    let database = Connection::open(folder.path().join("mkat.db")).unwrap();
    let sql = "WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 1500) \
               INSERT INTO events (monitor_id, service_id, event_type, success, created_at) \
               SELECT m.id, m.service_id, 1, 1, (SELECT max(created_at) FROM events) + n.value \
               FROM monitors m, n WHERE m.type = 1";
    assert_eq!(database.execute(sql, []).unwrap(), 1500);
    drop(database);
    let mkat = Mkat::start_with(folder, &[]).await;
    let (_, page) = mkat.get("/api/v1/events?page=11&pageSize=100").await;
    assert_eq!((list(&page["items"]).len(), &page["totalCount"]), (0, &json!(1000)));
    assert_eq!(shown(&mkat.get("/api/v1/events?eventType=0").await.1), ["shop WebhookReceived"], "not crowded out");
}

#[tokio::test]
async fn closed_hours_are_folded_once_and_uptime_counts_time() {
    const HOUR: i64 = 3_600_000_000;
    let this_hour = mkat::domain::Timestamp::now().micros() / HOUR;
    let hours_ago = |hours: i64| (this_hour - hours) * HOUR;
    let mkat = Mkat::start().await;
    let service = mkat.service("api", json!([{"type": 3, "intervalSeconds": 60, "maxValue": 9}])).await;
    let (service_id, monitor_id) = (id(&service), id(&service["monitors"][0]));
    let folder = mkat.kill();
    let database = Connection::open(folder.path().join("mkat.db")).unwrap();
    let insert_event = |at: i64, value: f64| {
        let sql = "INSERT INTO events (monitor_id, service_id, event_type, success, value, created_at) \
                   VALUES (?1, ?2, 3, ?3, ?4, ?5)";
        database.execute(sql, params![monitor_id, service_id, value <= 9.0, value, at]).unwrap();
    };
    for (n, value) in [1.0, 2.0, 3.0, 10.0].into_iter().enumerate() {
        insert_event(hours_ago(50) + i64::try_from(n).unwrap(), value);
    }
    insert_event(hours_ago(49), 4.0);
    let sql = "INSERT INTO transitions (service_id, from_state, to_state, trigger_name, created_at) VALUES (?1, ?2, ?3, 't', ?4)";
    for (from, to, hours) in [(0, 1, 10), (1, 2, 6), (2, 1, 4)] {
        database.execute(sql, params![service_id, from, to, hours_ago(hours)]).unwrap();
    }
    database.execute("UPDATE services SET created_at = ?2 WHERE id = ?1", params![service_id, hours_ago(20)]).unwrap();
    drop(database);

    let mkat = Mkat::start_with(folder, &[]).await;
    let path = format!("/api/v1/monitors/{monitor_id}/rollups?granularity=Hourly");
    let hourly = wait_for("two hours", || async {
        let (_, rows) = mkat.get(&path).await;
        (list(&rows).len() == 2).then_some(rows)
    })
    .await;
    let first = &hourly[0];
    assert_eq!((&first["count"], &first["successCount"], &first["failureCount"]), (&json!(4), &json!(3), &json!(1)));
    assert_eq!((&first["mean"], &first["median"], &first["max"]), (&json!(4.0), &json!(2.5), &json!(10.0)));
    assert_eq!((&first["uptimePercent"], &hourly[1]["mean"]), (&json!(75.0), &json!(4.0)));
    let daily = wait_for("days", || async {
        let (_, rows) = mkat.get(&path.replace("Hourly", "1")).await;
        let total: i64 = list(&rows).iter().map(|row| row["count"].as_i64().unwrap()).sum();
        // The two hours may lie on two days.
        (total >= 4).then_some(rows)
    })
    .await;
    assert_eq!((&daily[0]["min"], &daily[0]["median"]), (&json!(1.0), &Value::Null));
    assert_eq!(mkat.get(&path.replace("Hourly", "Yearly")).await.0, 400);

    let from = mkat::domain::Timestamp::from_micros(hours_ago(8));
    let to = mkat::domain::Timestamp::from_micros(hours_ago(0));
    let (_, uptime) = mkat.get(&format!("/api/v1/services/{service_id}/uptime?from={from}&to={to}")).await;
    assert_eq!((&uptime["upSeconds"], &uptime["downSeconds"]), (&json!(21600.0), &json!(7200.0)), "{uptime}");
    assert_eq!(uptime["uptimePercent"], 75.0);
    let (_, uptime) = mkat.get(&format!("/api/v1/services/{service_id}/uptime")).await;
    assert_eq!((&uptime["totalEvents"], &uptime["failureEvents"]), (&json!(5), &json!(1)));
    assert_eq!(uptime["unknownSeconds"], 36000.0, "from the beginning of the service");
    // A period that was written is not written again, although its events are gone by now.
    let folder = mkat.kill();
    let database = Connection::open(folder.path().join("mkat.db")).unwrap();
    database.execute("DELETE FROM events", []).unwrap();
    drop(database);
    let mkat = Mkat::start_with(folder, &[]).await;
    assert_eq!(mkat.get(&path).await.1, hourly);
}

#[tokio::test]
async fn health_checks_look_at_status_and_body_and_one_that_hangs_delays_no_other() {
    let far = Receiver::start();
    far.answer(200, &[], "all is well");
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mkat = Mkat::start_with(Folder::new(), FAST).await;
    let check = |url: String, regex: &str| json!([{"type": 2, "intervalSeconds": 1, "healthCheckUrl": url, "timeoutSeconds": 2, "bodyMatchRegex": regex}]);
    let hanging = format!("http://{}/", silent.local_addr().unwrap());
    let mut stuck = Vec::new();
    for n in 0..5 {
        stuck.push(id(&mkat.service(&format!("stuck {n}"), check(hanging.clone(), ".")).await));
    }
    let good = id(&mkat.service("good", check(format!("{}/health", far.url), "^all is \\w+$")).await);
    let wrong = id(&mkat.service("wrong", check(format!("{}/health", far.url), "(a|a)*b$")).await);
    let state = async |service_id: &String, expected: i64| {
        wait_for("state", || async { (mkat.state(service_id).await == expected).then_some(()) }).await;
    };
    state(&good, 1).await;
    state(&wrong, 2).await;
    for service_id in &stuck {
        state(service_id, 2).await;
    }
    assert_eq!(mkat.alerts(&wrong).await, [(3, false)]);
    far.answer(500, &[], "all is well");
    state(&good, 2).await;
    let (_, page) = mkat.get(&format!("/api/v1/alerts?serviceId={good}")).await;
    assert_eq!(page["items"][0]["message"], "good failed: health check failed: HTTP 500, expected 200");
    far.answer(302, &[("location", "http://169.254.169.254/latest")], "");
    let (_, events) = mkat.get(&format!("/api/v1/services/{good}/events?eventType=HealthCheckPerformed")).await;
    assert!(list(&events)[0]["value"].as_f64().unwrap() > 0.0);
    wait_for("the redirect", || async {
        let (_, events) = mkat.get(&format!("/api/v1/services/{good}/events?eventType=HealthCheckPerformed")).await;
        (events[0]["message"] == "a redirect leads nowhere").then_some(())
    })
    .await;
}

#[tokio::test]
async fn own_metrics_want_the_token_or_the_sign_in() {
    let mkat = Mkat::start_with(Folder::new(), &[("MKAT_METRICS_TOKEN", "m3trics")]).await;
    mkat.service("s", json!([{"type": 0, "intervalSeconds": 60}])).await;
    for request in [
        mkat.plain(Method::GET, "/metrics"),
        mkat.plain(Method::GET, "/metrics").bearer_auth("wrong"),
        mkat.plain(Method::GET, "/mkat/METRICS").bearer_auth("m3trics x"),
    ] {
        let (status, body) = answer(request).await;
        assert!(matches!(status.as_u16(), 401 | 404), "{status} {body}");
        assert!(body["code"].is_string(), "{body}");
    }
    let (status, text) = answer(mkat.plain(Method::GET, "/metrics").bearer_auth("m3trics")).await;
    assert_eq!(status, 200);
    let text = text.as_str().unwrap();
    for line in [
        "mkat_services{state=\"Unknown\"} 1",
        "mkat_monitors{type=\"Webhook\"} 1",
        "mkat_worker_alive{worker=\"peers\"} 1",
        "mkat_writer_backlog 0",
        "mkat_outbox_waiting 0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
    assert_eq!(mkat.request(Method::GET, "/metrics").send().await.unwrap().status(), 200, "the operator as well");
}
