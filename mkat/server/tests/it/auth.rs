//! Who may call what: every route of the table, every spelling, sessions, throttling.

use crate::support::{Folder, Mkat, PASSWORD, USER, answer};
use mkat::api::{Access, endpoints};
use reqwest::Method;
use serde_json::json;
use std::io::{Read, Write};

#[tokio::test]
async fn every_route_of_the_table_refuses_strangers() {
    let mkat = Mkat::start().await;
    let mut refused = 0;
    for endpoint in endpoints().into_iter().filter(|endpoint| endpoint.access == Access::User) {
        let path = endpoint.path.replace(['{', '}'], "");
        for base in ["", "/mkat", "/MkAt"] {
            let (status, body) =
                answer(mkat.plain(endpoint.method.clone().as_str().parse().unwrap(), &format!("{base}{path}"))).await;
            assert_eq!(status, 401, "{} {base}{path}", endpoint.method);
            assert_eq!(body["code"], "UNAUTHORIZED");
            refused += 1;
        }
    }
    assert!(refused >= 3 * 20);
    // Whatever is not in the table is not told either.
    for path in ["/api/v1/nope", "/api", "/api/v2/services", "/mkat/api/v1/"] {
        assert_eq!(mkat.plain(Method::GET, path).send().await.unwrap().status(), 401, "{path}");
    }
}

/// Sends the request line as it stands: HTTP clients would tidy the path.
fn raw(mkat: &Mkat, method: &str, path: &str) -> (u16, String) {
    let address = mkat.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_past_the_sign_in() {
    let mkat = Mkat::start().await;
    let service = mkat.service("secret-service", json!([{"intervalSeconds": 60}])).await;
    let id = service["id"].as_str().unwrap();
    let token = service["monitors"][0]["token"].as_str().unwrap();
    let spellings = [
        "/API/v1/services",
        "/Api/V1/Services",
        "/aPi/v1/services",
        "/mkat/API/v1/services",
        "/MKAT/aPI/v1/services",
        "/%61pi/v1/services",
        "/a%70i/v1/services",
        "/%41PI/v1/services",
        "/api%2fv1%2fservices",
        "/api%2Fv1/services",
        "/%2561pi/v1/services",
        "//api/v1/services",
        "/api//v1/services",
        "/api/v1//services",
        "///api/v1/services",
        "/./api/v1/services",
        "/x/../api/v1/services",
        "/api/./v1/services",
        "/api/v1/../v1/services",
        "/health/../api/v1/services",
        "/mkat/../api/v1/services",
        "/mkat//api/v1/services",
        "/mkat/mkat/api/v1/services",
        "/api/v1/services/",
        "/api/v1/services;x=1",
        "/api/v1/services%00",
        "/api/v1/services%20",
        "/api\\v1\\services",
        "/heartbeat/../api/v1/services",
        "/webhook/%2e%2e/api/v1/services",
        "/%2e%2e/api/v1/services",
        "/assets/..%2f..%2fapi/v1/services",
        "/api/v1/peers/pair/accept/../../../services",
    ];
    for path in spellings {
        for (method, path) in [
            ("GET", path.to_owned()),
            ("GET", format!("{path}/{id}")),
            ("DELETE", format!("{path}/{id}")),
            ("POST", path.to_owned()),
            ("HEAD", path.to_owned()),
        ] {
            let (status, answer) = raw(&mkat, method, &path);
            assert!(!answer.contains(token) && !answer.contains("secret-service"), "{method} {path}: {answer}");
            let page = method != "DELETE" && method != "POST" && answer.contains("<!doctype html>");
            assert!(
                matches!(status, 400 | 401 | 404 | 405) || status == 200 && (page || method == "HEAD"),
                "{method} {path}: {status}"
            );
        }
    }
    assert_eq!(mkat.get(&format!("/api/v1/services/{id}")).await.0, 200, "nothing was deleted");
    // Machine paths never get the page, whatever the spelling.
    for path in [
        "/api/x",
        "/webhook/x/y",
        "/Heartbeat/x/y",
        "/%6detric/x",
        "//webhook/x",
        "/alertmanager/x/y",
        "/API/v1/services",
    ] {
        let (status, answer) = raw(&mkat, "GET", path);
        assert!(matches!(status, 401 | 404 | 405) && !answer.contains("<!doctype"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn basic_credentials_are_read_exactly() {
    let mkat = Mkat::start().await;
    let with =
        |value: &str| mkat.plain(Method::GET, "/api/v1/services").header("authorization", value.to_owned()).send();
    let encode = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let right = encode(&format!("{USER}:{PASSWORD}"));
    for scheme in ["Basic", "basic", "BASIC"] {
        assert_eq!(with(&format!("{scheme} {right}")).await.unwrap().status(), 200);
    }
    for wrong in [
        format!("Bearer {right}"),
        "Basic".into(),
        "Basic !!!".into(),
        format!("Basic {}", encode("admin")),
        format!("Basic {}", encode("admin:")),
    ] {
        let response = with(&wrong).await.unwrap();
        assert_eq!(response.status(), 401, "{wrong}");
        assert!(!response.headers().contains_key("www-authenticate"), "{wrong}");
    }
    let response = mkat.plain(Method::GET, "/api/v1/services").send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Basic realm=\"mkat\"");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("cache-control", "no-store"),
        ("content-type", "application/json; charset=utf-8"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
}

#[tokio::test]
async fn the_page_signs_in_by_cookie_and_needs_the_csrf_header_to_change_things() {
    let folder = Folder::new();
    let mkat = Mkat::start_with(folder.clone(), &[]).await;
    let credentials = json!({"username": USER, "password": PASSWORD});
    let response = mkat.plain(Method::POST, "/api/v1/session").json(&credentials).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let set = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/"), "{set}");
    let cookie = set.split(';').next().unwrap().to_owned();

    let status = |mkat: &Mkat, method: Method, path: &str, csrf: bool| {
        let request = mkat.plain(method, path).header("cookie", &cookie);
        let request = if csrf { request.header("x-mkat-csrf", "1") } else { request };
        async { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!(status(&mkat, Method::GET, "/api/v1/services", false).await, 200);
    assert_eq!(status(&mkat, Method::DELETE, "/api/v1/services/x", false).await, 403);
    assert_eq!(status(&mkat, Method::DELETE, "/api/v1/services/x", true).await, 404);

    // A session survives a crash, but not a change of the password.
    mkat.kill();
    let mkat = Mkat::start_with(folder.clone(), &[]).await;
    assert_eq!(status(&mkat, Method::GET, "/api/v1/session", false).await, 200);
    mkat.kill();
    let mkat = Mkat::start_with(folder.clone(), &[("MKAT_PASSWORD", "another")]).await;
    assert_eq!(status(&mkat, Method::GET, "/api/v1/session", false).await, 401);
    mkat.kill();

    let mkat = Mkat::start_with(folder, &[]).await;
    let response = mkat.plain(Method::POST, "/api/v1/session").json(&credentials).send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let out = mkat.plain(Method::DELETE, "/api/v1/session").header("cookie", &cookie).header("x-mkat-csrf", "1");
    assert_eq!(out.send().await.unwrap().status(), 204);
    let after = mkat.plain(Method::GET, "/api/v1/session").header("cookie", &cookie).send().await.unwrap();
    assert_eq!(after.status(), 401);
}

#[tokio::test]
async fn wrong_passwords_are_slowed_down() {
    let mkat = Mkat::start().await;
    let attempt = |password: &'static str| {
        let body = json!({"username": USER, "password": password});
        answer(mkat.plain(Method::POST, "/api/v1/session").json(&body))
    };
    for _ in 0..5 {
        assert_eq!(attempt("guess").await.0, 401);
    }
    let (status, body) = attempt("guess").await;
    assert_eq!((status.as_u16(), &body["code"]), (429, &json!("RATE_LIMITED")));
    // The right password has to wait as well, or the wait would tell which one is right; then it clears the count.
    assert_eq!(attempt(PASSWORD).await.0, 429);
    crate::support::wait_for("the wait to be over", || async { (attempt(PASSWORD).await.0 == 200).then_some(()) })
        .await;
    assert_eq!(attempt("guess").await.0, 401);
}

#[tokio::test]
async fn tokens_and_passwords_stay_out_of_the_log() {
    let mkat = Mkat::start().await;
    let service = mkat.service("s", json!([{"type": 1, "intervalSeconds": 60}])).await;
    let token = service["monitors"][0]["token"].as_str().unwrap();
    for path in [
        format!("/heartbeat/{token}"),
        format!("/heartbeat/{token}/x"),
        format!("/mkat/webhook/{token}/fail"),
        format!("/Metric/{token}"),
    ] {
        mkat.plain(Method::POST, &path).send().await.unwrap();
    }
    crate::support::wait_for("the log", || async {
        mkat.log().iter().any(|line| line.contains("/metric/...") || line.contains("\"path\":\"/metric")).then_some(())
    })
    .await;
    for line in mkat.log() {
        assert!(!line.contains(token) && !line.contains(PASSWORD), "{line}");
    }
}
