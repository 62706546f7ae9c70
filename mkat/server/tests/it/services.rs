//! Services and monitors: create, read, change, delete, and what is refused.

use crate::support::{Mkat, answer};
use reqwest::Method;
use serde_json::{Value, json};

fn keys(body: &Value) -> Vec<&str> {
    assert_eq!(body["code"], "VALIDATION_ERROR", "{body}");
    body["details"].as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_service_lives_through_create_read_update_and_delete() {
    let mkat = Mkat::start().await;
    let body = json!({"NAME": "shop", "monitors": [{"type": 1, "intervalSeconds": "300"}, {"intervalSeconds": 7200}]});
    let response = mkat.request(Method::POST, "/MKAT/api/v1/services").json(&body).send().await.unwrap();
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let service: Value = response.json().await.unwrap();
    let id = service["id"].as_str().unwrap();
    assert_eq!(location, format!("{}/MKAT/api/v1/services/{id}", mkat.url));
    assert_eq!(
        (&service["state"], &service["severity"], &service["description"]),
        (&json!(0), &json!(1), &Value::Null)
    );
    let monitors = service["monitors"].as_array().unwrap();
    let token = monitors[0]["token"].as_str().unwrap();
    assert_eq!(token.len(), 32);
    assert_eq!(monitors[0]["heartbeatUrl"], format!("{}/MKAT/heartbeat/{token}", mkat.url));
    assert_eq!(monitors[0]["webhookFailUrl"], format!("{}/MKAT/webhook/{token}/fail", mkat.url));
    assert_eq!((&monitors[0]["gracePeriodSeconds"], &monitors[1]["gracePeriodSeconds"]), (&json!(60), &json!(720)));
    assert_eq!((&monitors[0]["thresholdStrategy"], &monitors[0]["retentionDays"]), (&Value::Null, &Value::Null));
    assert!(service["createdAt"].as_str().unwrap().ends_with('Z'));

    let path = format!("/api/v1/services/{id}");
    let (status, read) = mkat.get(&path).await;
    assert_eq!((status.as_u16(), &read["name"]), (200, &json!("shop")));
    let (status, changed) = mkat.put(&path, &json!({"name": "Shop 2", "description": "d", "severity": 3})).await;
    assert_eq!((status.as_u16(), &changed["severity"], &changed["description"]), (200, &json!(3), &json!("d")));
    let (_, kept) = mkat.put(&path, &json!({"name": "Shop 2"})).await;
    assert_eq!((&kept["severity"], &kept["description"]), (&json!(3), &Value::Null));

    assert_eq!(mkat.delete(&path).await.0, 204);
    let (status, gone) = mkat.get(&path).await;
    assert_eq!((status.as_u16(), &gone["code"], &gone["details"]), (404, &json!("SERVICE_NOT_FOUND"), &Value::Null));
    assert_eq!(mkat.delete(&path).await.0, 404);
}

#[tokio::test]
async fn wrong_services_are_refused_with_exact_keys_and_nothing_is_stored() {
    let mkat = Mkat::start().await;
    let long = "x".repeat(101);
    let ok = json!([{"type": 0, "intervalSeconds": 60}]);
    let table: Vec<(Value, &[&str])> = vec![
        (json!({}), &["Monitors", "Name"]),
        (json!({"name": "  ", "monitors": ok}), &["Name"]),
        (json!({"name": null, "monitors": ok}), &["Name"]),
        (json!({"name": 5, "monitors": ok}), &["Name"]),
        (json!({"name": long, "description": "d".repeat(501), "monitors": ok}), &["Description", "Name"]),
        (json!({"name": "a", "severity": 4, "monitors": ok}), &["Severity"]),
        (json!({"name": "a", "severity": "High", "monitors": ok}), &["Severity"]),
        (json!({"name": "a", "severity": "1", "monitors": ok}), &["Severity"]),
        (json!({"name": "a", "monitors": []}), &["Monitors"]),
        (json!({"name": "a", "monitors": [{"type": 9, "intervalSeconds": 60}]}), &["Monitors[0].Type"]),
        (
            json!({"name": "a", "monitors": [{"intervalSeconds": 60}, {"intervalSeconds": 29, "gracePeriodSeconds": 59}]}),
            &["Monitors[1].GracePeriodSeconds", "Monitors[1].IntervalSeconds"],
        ),
        (json!({"name": "a", "monitors": [{"intervalSeconds": 604_801}]}), &["Monitors[0].IntervalSeconds"]),
        (json!({"name": "a", "monitors": [{"type": 3, "intervalSeconds": 60}]}), &["Monitors[0]"]),
        (
            json!({"name": "a", "monitors": [{"type": 3, "intervalSeconds": 60, "minValue": 2, "maxValue": 2}]}),
            &["Monitors[0].MaxValue"],
        ),
        (
            json!({"name": "a", "monitors": [{"type": 3, "intervalSeconds": 60, "maxValue": 2, "thresholdStrategy": 1}]}),
            &["Monitors[0].ThresholdCount"],
        ),
        (
            json!({"name": "a", "monitors": [{"type": 2, "intervalSeconds": 60, "httpMethod": "TRACE",
                "expectedStatusCodes": "200,999", "timeoutSeconds": 0, "bodyMatchRegex": "("}]}),
            &[
                "Monitors[0].BodyMatchRegex",
                "Monitors[0].ExpectedStatusCodes",
                "Monitors[0].HealthCheckUrl",
                "Monitors[0].HttpMethod",
                "Monitors[0].TimeoutSeconds",
            ],
        ),
    ];
    for (body, expected) in table {
        let (status, error) = mkat.post("/api/v1/services", &body).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!(keys(&error), expected, "{body}");
    }
    assert_eq!(mkat.get("/api/v1/services").await.1["totalCount"], 0);

    // Before the look-up: an invalid update of a missing service is 400, a valid one 404.
    assert_eq!(mkat.put("/api/v1/services/none", &json!({"name": ""})).await.0, 400);
    assert_eq!(mkat.put("/api/v1/services/none", &json!({"name": "a"})).await.0, 404);
    mkat.service("taken", ok.clone()).await;
    let (status, error) = mkat.post("/api/v1/services", &json!({"name": "taken", "monitors": ok})).await;
    assert_eq!((status.as_u16(), &error["code"]), (409, &json!("SERVICE_NAME_TAKEN")));
}

#[tokio::test]
async fn bodies_that_are_not_json_objects_are_refused_in_one_form() {
    let mkat = Mkat::start().await;
    let send = |kind: Option<&'static str>, body: Vec<u8>| {
        let request = mkat.request(Method::POST, "/api/v1/services").body(body);
        answer(kind.map_or(request.try_clone().unwrap(), |kind| request.header("content-type", kind)))
    };
    let huge = format!("{{\"name\":\"{}\"}}", "x".repeat(300 * 1024));
    let deep = "[".repeat(100_000);
    for (kind, body, status, code) in [
        (Some("application/json"), "{".into(), 400, "VALIDATION_ERROR"),
        (Some("application/json"), "[]".into(), 400, "VALIDATION_ERROR"),
        (Some("application/json"), String::new(), 400, "VALIDATION_ERROR"),
        (Some("application/json"), deep, 400, "VALIDATION_ERROR"),
        (Some("application/json"), huge, 413, "BODY_TOO_LARGE"),
        (Some("text/plain"), "{}".into(), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (None, String::new(), 415, "UNSUPPORTED_MEDIA_TYPE"),
    ] {
        let (answered, error) = send(kind, body.into_bytes()).await;
        assert_eq!((answered.as_u16(), error["code"].as_str()), (status, Some(code)), "{error}");
        assert!(error["error"].is_string() && error.get("details").is_some(), "{error}");
    }
}

#[tokio::test]
async fn lists_are_paged_ordered_and_filtered() {
    let mkat = Mkat::start().await;
    for name in ["b", "a", "C", "d", "e"] {
        mkat.service(name, json!([{"intervalSeconds": 60}])).await;
    }
    let (_, page) = mkat.get("/api/v1/services?page=2&pageSize=2").await;
    let names: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "d"]);
    assert_eq!(page["items"][0]["monitors"].as_array().unwrap().len(), 1);
    for (key, value) in [
        ("page", json!(2)),
        ("pageSize", json!(2)),
        ("totalCount", json!(5)),
        ("totalPages", json!(3)),
        ("hasNextPage", json!(true)),
        ("hasPreviousPage", json!(true)),
    ] {
        assert_eq!(page[key], value, "{key}");
    }
    let (_, clamped) = mkat.get("/api/v1/services?page=-3&pageSize=1000").await;
    assert_eq!((&clamped["page"], &clamped["pageSize"]), (&json!(1), &json!(100)));
    let (status, error) = mkat.get("/api/v1/services?page=x&state=9").await;
    assert_eq!(status, 400);
    assert_eq!(keys(&error), ["Page", "State"]);
    assert_eq!(mkat.get("/api/v1/services?search=c").await.1["totalCount"], 1);
    assert_eq!(mkat.get("/api/v1/services/summary").await.1["unknown"], 5);
}

#[tokio::test]
async fn monitors_are_added_changed_and_removed() {
    let mkat = Mkat::start().await;
    let service = mkat.service("s", json!([{"intervalSeconds": 60}])).await;
    let other = mkat.service("o", json!([{"intervalSeconds": 60}])).await;
    let path = format!("/api/v1/services/{}/monitors", service["id"].as_str().unwrap());
    let first = format!("{path}/{}", service["monitors"][0]["id"].as_str().unwrap());
    let (status, error) = mkat.delete(&first).await;
    assert_eq!((status.as_u16(), &error["code"]), (400, &json!("LAST_MONITOR")));

    let (status, error) = mkat.post(&path, &json!({"type": 3, "intervalSeconds": 60})).await;
    assert_eq!(status, 400);
    assert_eq!(keys(&error), [""]);
    let metric = json!({"type": 3, "intervalSeconds": 60, "maxValue": 90, "thresholdStrategy": 1, "thresholdCount": 3,
                        "retentionDays": 30});
    let (status, added) = mkat.post(&path, &metric).await;
    assert_eq!((status.as_u16(), &added["retentionDays"], &added["maxValue"]), (201, &json!(30), &json!(90.0)));

    // Checked by the stored type; strategy and retention are kept, the rest is replaced.
    let second = format!("{path}/{}", added["id"].as_str().unwrap());
    let (status, error) = mkat.put(&second, &json!({"type": 0, "intervalSeconds": 60})).await;
    assert_eq!(status, 400, "{error}");
    assert_eq!(keys(&error), ["", "ThresholdCount"]);
    let body = json!({"intervalSeconds": 60, "minValue": 1, "thresholdCount": 2});
    let (status, changed) = mkat.put(&second, &body).await;
    assert_eq!((status.as_u16(), &changed["type"], &changed["maxValue"]), (200, &json!(3), &Value::Null));
    assert_eq!((&changed["thresholdStrategy"], &changed["retentionDays"]), (&json!(1), &json!(30)));

    let foreign = format!("{path}/{}", other["monitors"][0]["id"].as_str().unwrap());
    let (status, error) = mkat.put(&foreign, &json!({"intervalSeconds": 60})).await;
    assert_eq!((status.as_u16(), &error["code"]), (404, &json!("MONITOR_NOT_FOUND")));

    let (status, rotated) = mkat.post(&format!("{second}/rotate-token"), &json!({})).await;
    assert_eq!(status, 200);
    assert_ne!(rotated["token"], added["token"]);
    let old = format!("/metric/{}?value=1", added["token"].as_str().unwrap());
    assert_eq!(mkat.plain(Method::POST, &old).send().await.unwrap().status(), 404);
    assert_eq!(mkat.delete(&first).await.0, 204);
    assert_eq!(mkat.get(&path).await.1.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn generated_urls_follow_the_public_url_and_only_trusted_proxies() {
    let settings = [("MKAT_PUBLIC_URL", "https://watch.example.org")];
    let public = Mkat::start_with(crate::support::Folder::new(), &settings).await;
    let service = public.service("s", json!([{"intervalSeconds": 60}])).await;
    assert!(service["monitors"][0]["metricUrl"].as_str().unwrap().starts_with("https://watch.example.org/metric/"));

    let forged = |mkat: &Mkat| {
        let body = json!({"name": "f", "monitors": [{"intervalSeconds": 60}]});
        let request = mkat.request(Method::POST, "/api/v1/services").json(&body);
        answer(request.header("x-forwarded-host", "evil.example").header("x-forwarded-proto", "https"))
    };
    let mkat = Mkat::start().await;
    let (_, service) = forged(&mkat).await;
    assert!(service["monitors"][0]["metricUrl"].as_str().unwrap().starts_with(&mkat.url), "{service}");
    let behind = Mkat::start_with(crate::support::Folder::new(), &[("MKAT_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let (_, service) = forged(&behind).await;
    assert!(service["monitors"][0]["metricUrl"].as_str().unwrap().starts_with("https://evil.example/"), "{service}");
}
