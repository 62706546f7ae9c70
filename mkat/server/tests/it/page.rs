//! The page and the API's description: where they are served and with which headers.

use crate::support::{Folder, Mkat};
use reqwest::Method;

#[tokio::test]
async fn the_page_answers_at_both_roots_with_deep_links_and_a_strict_policy() {
    let mkat = Mkat::start_with(Folder::new(), &[("MKAT_BASE_PATH", "/watch/man")]).await;
    for path in ["/", "/services/0193", "/watch/man", "/watch/man/", "/WATCH/man/services/new", "/login?next=%2Falerts"]
    {
        let response = mkat.plain(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        for part in ["default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        let html = response.text().await.unwrap();
        assert!(html.to_lowercase().starts_with("<!doctype html>"), "{path}: {html}");
    }
    for (method, path, status) in [
        (Method::GET, "/assets/none.js", 404),
        (Method::GET, "/favicon-none.ico", 404),
        (Method::POST, "/", 404),
        (Method::DELETE, "/services/x", 404),
        (Method::GET, "/heartbeat", 404),
        (Method::GET, "/webhook/x", 404),
        (Method::GET, "/alertmanager/x/y", 404),
    ] {
        let response = mkat.plain(method, path).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["code"], "NOT_FOUND", "{path}");
    }
}

#[tokio::test]
async fn the_description_names_every_endpoint_of_the_table() {
    let mkat = Mkat::start().await;
    let (status, document) = mkat.get("/mkat/api/v1/openapi.json").await;
    assert_eq!(status, 200);
    assert_eq!(document["servers"][0]["url"], format!("{}/mkat", mkat.url));
    for endpoint in mkat::api::endpoints() {
        let operation = &document["paths"][endpoint.path][endpoint.method.as_str().to_lowercase()];
        assert!(operation["summary"].is_string(), "{} {}", endpoint.method, endpoint.path);
        let open = operation["security"].as_array().unwrap().is_empty();
        assert_eq!(open, endpoint.access != mkat::api::Access::User, "{}", endpoint.path);
    }
}

#[tokio::test]
async fn https_as_public_url_brings_hsts_and_a_secure_cookie() {
    let mkat = Mkat::start_with(Folder::new(), &[("MKAT_PUBLIC_URL", "https://watch.example.org")]).await;
    let body = serde_json::json!({"username": crate::support::USER, "password": crate::support::PASSWORD});
    let response = mkat.plain(Method::POST, "/api/v1/session").json(&body).send().await.unwrap();
    assert!(response.headers().contains_key("strict-transport-security"));
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains("Secure"));
}
