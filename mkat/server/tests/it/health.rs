//! Liveness and readiness.

use crate::support::{Mkat, answer};
use reqwest::Method;
use reqwest::header::HeaderValue;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

#[tokio::test]
async fn health_and_readiness_answer_get_and_head_at_both_roots() {
    let mkat = Mkat::start().await;
    for path in ["/health", "/mkat/health", "/MKAT/health"] {
        let (status, body) = answer(mkat.plain(Method::GET, path)).await;
        assert_eq!((status.as_u16(), &body["status"]), (200, &"healthy".into()), "{path}");
        let head = mkat.plain(Method::HEAD, path).send().await.unwrap();
        assert_eq!((head.status().as_u16(), &head.headers()["content-type"]), (200, &JSON));
    }
    let (status, body) = answer(mkat.plain(Method::GET, "/health/ready")).await;
    assert_eq!((status.as_u16(), &body["status"], &body["database"]), (200, &"ready".into(), &true.into()), "{body}");
    assert!(body["workers"].as_array().unwrap().len() >= 3);
}

#[tokio::test]
async fn a_stop_is_clean() {
    let mut mkat = Mkat::start().await;
    assert!(mkat.stop());
}
