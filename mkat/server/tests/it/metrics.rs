//! Pushed values: forms of input, strategies end to end, history.

use crate::support::{Mkat, answer, id, token};
use reqwest::Method;
use serde_json::{Value, json};

async fn metric(mkat: &Mkat, name: &str, extra: Value) -> (String, String, String) {
    let mut monitor = json!({"type": 3, "intervalSeconds": 60, "minValue": 0, "maxValue": 60});
    monitor.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let service = mkat.service(name, json!([monitor])).await;
    (id(&service), id(&service["monitors"][0]), format!("/metric/{}", token(&service, 0)))
}

#[tokio::test]
async fn values_come_as_json_query_form_and_text() {
    let mkat = Mkat::start().await;
    let (_, monitor_id, path) = metric(&mkat, "m", json!({})).await;
    let post = |query: &str, kind: &'static str, body: &'static str| {
        let request = mkat.plain(Method::POST, &format!("{path}{query}")).body(body);
        answer(if kind.is_empty() { request } else { request.header("content-type", kind) })
    };
    let form = "application/x-www-form-urlencoded";
    let accepted: &[(&str, &'static str, &'static str, f64)] = &[
        ("", "application/json", r#"{"value": 1.5}"#, 1.5),
        ("", "application/json; charset=utf-8", r#"{"Value": "2"}"#, 2.0),
        ("?value=3", "", "", 3.0),
        ("?value=9", "application/json", r#"{"value": 4}"#, 4.0),
        ("?value=4.5", "application/json", "{}", 4.5),
        ("", form, "value=5", 5.0),
        ("", form, "6", 6.0),
        ("", "text/plain", " 7 \n", 7.0),
        ("", "", "8e0", 8.0),
        ("", "application/json", "9", 9.0),
    ];
    for (query, kind, body, value) in accepted {
        let (status, answer) = post(query, kind, body).await;
        let expected = json!({"received": true, "value": value, "outOfRange": false, "violation": false});
        assert_eq!((status.as_u16(), &answer), (200, &expected), "{query} {kind} {body}");
    }
    let refused: &[(&str, &'static str, &'static str, u16)] = &[
        ("", "", "", 400),
        ("", "application/json", "{}", 400),
        ("", "application/json", r#"{"value": null}"#, 400),
        ("", "application/json", r#"{"value": "NaN"}"#, 400),
        ("", "application/json", r#"{"value": NaN}"#, 400),
        ("", "application/json", r#"{"value": 1e999}"#, 400),
        ("", "application/json", r#"{"value": true}"#, 400),
        ("?value=NaN", "", "", 400),
        ("?value=inf", "", "", 400),
        ("?value=-Infinity", "", "", 400),
        ("?value=", "", "", 400),
        ("", "text/plain", "nan", 400),
        ("", "text/plain", "1,5", 400),
        ("", "application/xml", "<v>1</v>", 415),
    ];
    for (query, kind, body, status) in refused {
        let (answered, error) = post(query, kind, body).await;
        assert_eq!(answered.as_u16(), *status, "{query} {kind} {body}: {error}");
        assert!(error["code"].is_string(), "{error}");
    }
    // The body is checked before the token.
    assert_eq!(mkat.report("/metric/none").await.0, 400);
    assert_eq!(mkat.report("/metric/none?value=1").await.0, 404);
    let (_, history) = mkat.get(&format!("/api/v1/monitors/{monitor_id}/metrics")).await;
    assert_eq!(history["totalCount"], accepted.len(), "nothing refused was stored");
}

#[tokio::test]
async fn strategies_move_the_state_exactly_when_they_should() {
    let mkat = Mkat::start().await;
    // Per push: value, outOfRange, violation, state afterwards.
    type Step = (f64, bool, bool, i64);
    let table: &[(&str, Value, &[Step])] = &[
        (
            "immediate",
            json!({}),
            &[(60.0, false, false, 1), (60.5, true, true, 2), (-1.0, true, true, 2), (0.0, false, false, 1)],
        ),
        (
            "consecutive",
            json!({"thresholdStrategy": 1, "thresholdCount": 3}),
            &[
                (99.0, true, false, 0),
                (99.0, true, false, 0),
                (99.0, true, true, 2),
                (1.0, false, false, 1),
                (99.0, true, false, 1),
                (99.0, true, false, 1),
                (99.0, true, true, 2),
            ],
        ),
        (
            "samples",
            json!({"thresholdStrategy": 3, "windowSampleCount": 2}),
            &[(0.0, false, false, 1), (100.0, true, false, 1), (100.0, true, true, 2), (0.0, false, false, 1)],
        ),
        (
            "duration",
            json!({"thresholdStrategy": 2, "windowSeconds": 3600}),
            &[(0.0, false, false, 1), (100.0, true, false, 1), (200.0, true, true, 2), (-60.0, true, false, 1)],
        ),
    ];
    for (name, extra, steps) in table {
        let (service_id, _, path) = metric(&mkat, name, extra.clone()).await;
        for (i, (value, out, violation, state)) in steps.iter().enumerate() {
            let (_, answer) = mkat.report(&format!("{path}?value={value}")).await;
            assert_eq!((&answer["outOfRange"], &answer["violation"]), (&json!(out), &json!(violation)), "{name} {i}");
            assert_eq!(mkat.state(&service_id).await, *state, "{name} {i}");
        }
    }
    let (_, alerts) = mkat.get("/api/v1/alerts?pageSize=100&type=0").await;
    let messages: Vec<_> =
        alerts["items"].as_array().unwrap().iter().map(|alert| alert["message"].as_str().unwrap()).collect();
    assert!(
        messages.contains(&"consecutive failed: metric value 99 is above the maximum 60, 3 times in a row"),
        "{messages:?}"
    );
    assert!(
        messages.contains(&"samples failed: mean 100 of 2 readings (last value 100) is above the maximum 60"),
        "{messages:?}"
    );
}

#[tokio::test]
async fn history_is_paged_and_ranged() {
    let mkat = Mkat::start().await;
    let (_, monitor_id, path) = metric(&mkat, "m", json!({})).await;
    let history = format!("/api/v1/monitors/{monitor_id}/metrics");
    assert_eq!(mkat.get(&format!("{history}/latest")).await.0, 204);
    for value in 0..7 {
        mkat.report(&format!("{path}?value={value}")).await;
    }
    let values = |body: &Value| -> Vec<f64> {
        body["readings"].as_array().unwrap().iter().map(|reading| reading["value"].as_f64().unwrap()).collect()
    };
    let (_, all) = mkat.get(&history).await;
    assert_eq!(values(&all), [6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
    assert_eq!((&all["monitorId"], &all["totalCount"]), (&json!(monitor_id), &json!(7)));
    assert_eq!(values(&mkat.get(&format!("{history}?limit=2")).await.1), [6.0, 5.0]);
    let (_, second) = mkat.get(&format!("{history}?page=2&pageSize=3")).await;
    assert_eq!((values(&second), &second["hasNextPage"]), (vec![3.0, 2.0, 1.0], &json!(true)));
    // Both ends are inclusive.
    let at = |n: usize| all["readings"][n]["recordedAt"].as_str().unwrap().to_owned();
    let (_, range) = mkat.get(&format!("{history}?from={}&to={}", at(4), at(2))).await;
    assert_eq!(values(&range), [4.0, 3.0, 2.0]);
    let (_, latest) = mkat.get(&format!("{history}/latest")).await;
    assert_eq!((&latest["value"], &latest["monitorId"]), (&json!(6.0), &json!(monitor_id)));

    assert_eq!(mkat.get("/api/v1/monitors/none/metrics").await.1["code"], "MONITOR_NOT_FOUND");
    let webhook = mkat.service("w", json!([{"intervalSeconds": 60}])).await;
    let other = format!("/api/v1/monitors/{}/metrics/latest", id(&webhook["monitors"][0]));
    assert_eq!(mkat.get(&other).await.1["code"], "INVALID_MONITOR_TYPE");
    assert_eq!(mkat.get(&format!("{history}?from=yesterday")).await.0, 400);
}
