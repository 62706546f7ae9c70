//! Two and three real instances that watch each other.

use crate::support::receiver::Receiver;
use crate::support::{Folder, Mkat, answer, id, token, wait_for};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

const UP: i64 = 1;
const DOWN: i64 = 2;

async fn instance(name: &str) -> Mkat {
    Mkat::start_with(Folder::new(), &[("MKAT_INSTANCE_NAME", name), ("MKAT_PEER_INTERVAL_SECONDS", "2")]).await
}

async fn pairing_token(mkat: &Mkat, name: &str) -> String {
    let (status, body) = mkat.post("/mkat/api/v1/peers/pair/initiate", &json!({ "name": name })).await;
    assert_eq!(status, 200, "{body}");
    body["token"].as_str().unwrap().to_owned()
}

/// Carries a token of `a` to `b`; what `b` says of its new peer.
async fn pair(a: &Mkat, name: &str, b: &Mkat) -> Value {
    let token = pairing_token(a, name).await;
    let (status, peer) = b.post("/mkat/api/v1/peers/pair/complete", &json!({ "token": token })).await;
    assert_eq!(status, 200, "{peer}");
    peer
}

async fn peers(mkat: &Mkat) -> Vec<Value> {
    let (status, peers) = mkat.get("/api/v1/peers").await;
    assert_eq!(status, 200);
    peers.as_array().unwrap().clone()
}

async fn until_state(mkat: &Mkat, service_id: &str, state: i64) {
    wait_for(&format!("state {state}"), || async { (mkat.state(service_id).await == state).then_some(()) }).await;
}

fn service_of(peer: &Value) -> String {
    peer["serviceId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn two_instances_hear_each_other_and_the_death_of_one_is_noticed() {
    let (alpha, beta) = (instance("alpha").await, instance("beta").await);
    let at_beta = pair(&alpha, "Alpha", &beta).await;
    assert_eq!((&at_beta["name"], &at_beta["twoWay"]), (&json!("Alpha"), &json!(true)));
    assert_eq!(at_beta["url"], format!("{}/mkat", alpha.url));
    assert_eq!((&at_beta["serviceState"], &at_beta["heartbeatIntervalSeconds"]), (&json!(0), &json!(2)));
    let at_alpha = peers(&alpha).await.remove(0);
    assert_eq!((&at_alpha["name"], &at_alpha["url"]), (&json!("beta"), &json!(format!("{}/mkat", beta.url))));

    let (_, service) = alpha.get(&format!("/api/v1/services/{}", service_of(&at_alpha))).await;
    assert_eq!((&service["name"], &service["severity"]), (&json!("Peer: beta"), &json!(2)));
    let kinds: Vec<_> = service["monitors"].as_array().unwrap().iter().map(|monitor| monitor["type"].clone()).collect();
    assert_eq!(kinds, [1, 0]);
    until_state(&alpha, &service_of(&at_alpha), UP).await;
    until_state(&beta, &service_of(&at_beta), UP).await;

    let service_path = format!("/api/v1/services/{}", service_of(&at_alpha));
    let monitor_path = format!("{service_path}/monitors/{}", id(&service["monitors"][0]));
    for (status, refused) in [
        alpha.delete(&service_path).await,
        alpha.delete(&monitor_path).await,
        alpha.post(&format!("{monitor_path}/rotate-token"), &json!({})).await,
        alpha.post(&format!("{monitor_path}/adopt-token"), &json!({"token": "0".repeat(32)})).await,
    ] {
        assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("SERVICE_MANAGED")));
    }

    beta.kill();
    until_state(&alpha, &service_of(&at_alpha), DOWN).await;
    assert_eq!(alpha.alerts(&service_of(&at_alpha)).await.last(), Some(&(2, false)), "a missed heartbeat is told");
    wait_for("the error", || async { peers(&alpha).await[0]["lastError"].is_string().then_some(()) }).await;
}

#[tokio::test]
async fn one_instance_has_many_peers_under_their_own_names() {
    let (alpha, beta) = (instance("alpha").await, instance("twin").await);
    let gamma = instance("twin").await;
    pair(&alpha, "Alpha", &beta).await;
    pair(&alpha, "Alpha", &gamma).await;
    let peers = peers(&alpha).await;
    let mut names = Vec::new();
    for peer in &peers {
        until_state(&alpha, &service_of(peer), UP).await;
        let (_, service) = alpha.get(&format!("/api/v1/services/{}", service_of(peer))).await;
        names.push(service["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["Peer: twin", "Peer: twin (2)"]);
    gamma.kill();
    until_state(&alpha, &service_of(&peers[1]), DOWN).await;
    assert_eq!(alpha.state(&service_of(&peers[0])).await, UP, "the other one lives");
}

#[tokio::test]
async fn an_instance_that_cannot_notify_says_so_and_takes_it_back() {
    let broken = Receiver::start();
    broken.answer(500, &[("retry-after", "1")], "");
    let (alpha, beta) = (instance("alpha").await, instance("beta").await);
    let at_beta = pair(&alpha, "Alpha", &beta).await;
    let service_at_beta = service_of(&at_beta);
    until_state(&beta, &service_at_beta, UP).await;

    let (_, contact) = alpha.post("/api/v1/contacts", &json!({"name": "ops"})).await;
    let configuration = json!({"url": broken.url}).to_string();
    let path = format!("/api/v1/contacts/{}/channels", id(&contact));
    alpha.post(&path, &json!({"type": 2, "configuration": configuration})).await;
    let shop = alpha.service("shop", json!([{"type": 0, "intervalSeconds": 60}])).await;
    alpha.put(&format!("/api/v1/services/{}/contacts", id(&shop)), &json!({"contactIds": [id(&contact)]})).await;
    alpha.report(&format!("/webhook/{}/fail", token(&shop, 0))).await;

    until_state(&beta, &service_at_beta, DOWN).await;
    let (_, page) = beta.get(&format!("/api/v1/alerts?serviceId={service_at_beta}")).await;
    let message = page["items"][0]["message"].as_str().unwrap();
    assert!(message.contains("alpha runs but cannot notify: ops"), "{message}");
    let beats = || async { peers(&beta).await[0]["lastReceivedAt"].clone() };
    let before = beats().await;
    wait_for("a further heartbeat", || async { (beats().await != before).then_some(()) }).await;
    assert_eq!(beta.state(&service_at_beta).await, DOWN, "heartbeats do not hide the report");
    assert_eq!(peers(&alpha).await[0]["reportedBroken"], true);

    broken.answer(200, &[], "");
    until_state(&beta, &service_at_beta, UP).await;
    wait_for("the flag", || async { (peers(&alpha).await[0]["reportedBroken"] == false).then_some(()) }).await;
}

#[tokio::test]
async fn unpairing_cleans_both_sides_and_needs_the_token() {
    let (alpha, beta) = (instance("alpha").await, instance("beta").await);
    let at_beta = pair(&alpha, "Alpha", &beta).await;
    let beta_url = format!("{}/mkat", beta.url);
    let foreign = alpha.service("job", json!([{"type": 1, "intervalSeconds": 60}])).await;
    for body in [
        json!({"url": beta_url}),
        json!({"url": beta_url, "token": ""}),
        json!({"url": beta_url, "token": "0".repeat(32)}),
        json!({"url": beta_url, "token": token(&foreign, 0)}),
        json!({"url": "http://nobody"}),
    ] {
        let request = alpha.plain(Method::POST, "/mkat/api/v1/peers/pair/unpair").json(&body);
        let (status, refused) = answer(request).await;
        assert_eq!((status.as_u16(), &refused["code"]), (404, &json!("PEER_NOT_FOUND")), "{body}");
    }
    let bare = alpha.plain(Method::POST, "/api/v1/peers/pair/unpair").json(&json!({}));
    assert_eq!(answer(bare).await.1["code"], "VALIDATION_ERROR");
    assert_eq!(peers(&alpha).await.len(), 1);

    let path = format!("/mkat/api/v1/peers/{}", id(&at_beta));
    assert_eq!(beta.delete(&path).await.0, 204);
    assert_eq!(beta.delete(&path).await.1["code"], "PEER_NOT_FOUND");
    assert!(peers(&beta).await.is_empty());
    wait_for("the other side", || async { peers(&alpha).await.is_empty().then_some(()) }).await;
    let (_, services) = alpha.get("/api/v1/services").await;
    assert_eq!(services["totalCount"], 1, "only the one made by hand is left: {services}");
}

#[tokio::test]
async fn pairing_anew_replaces_the_old_peer_only_when_asked() {
    let (alpha, beta) = (instance("alpha").await, instance("beta").await);
    let first = pair(&alpha, "Alpha", &beta).await;
    let token = pairing_token(&alpha, "Alpha").await;
    let (status, refused) = beta.post("/mkat/api/v1/peers/pair/complete", &json!({ "token": token })).await;
    assert_eq!((status.as_u16(), &refused["code"]), (409, &json!("PEER_EXISTS")));
    let again = json!({"token": token, "replace": true});
    let (status, second) = beta.post("/mkat/api/v1/peers/pair/complete", &again).await;
    assert_eq!(status, 200, "{second}");
    assert_ne!(first["id"], second["id"]);
    let (at_alpha, at_beta) = (peers(&alpha).await, peers(&beta).await);
    assert_eq!((at_alpha.len(), at_beta.len()), (1, 1));
    until_state(&alpha, &service_of(&at_alpha[0]), UP).await;
    until_state(&beta, &service_of(&at_beta[0]), UP).await;
}

#[tokio::test]
async fn wrong_tokens_are_refused_with_their_code() {
    let mkat = instance("alpha").await;
    let made = |change: &dyn Fn(&mut Value)| {
        let mut token = json!({"url": "http://127.0.0.1:9", "name": "A", "secret": "a".repeat(64),
            "expiresAt": "2099-01-01T00:00:00Z"});
        change(&mut token);
        STANDARD.encode(token.to_string())
    };
    let own = pairing_token(&mkat, "Alpha").await;
    let table = [
        ("nonsense".to_owned(), "INVALID_TOKEN"),
        (STANDARD.encode("[]"), "INVALID_TOKEN"),
        (made(&|token| token["secret"] = json!("short")), "INVALID_TOKEN"),
        (made(&|token| token["url"] = json!("file:///etc/passwd")), "INVALID_TOKEN"),
        (made(&|token| token["url"] = json!("http://169.254.169.254")), "INVALID_TOKEN"),
        (own, "INVALID_TOKEN"),
        (made(&|token| token["expiresAt"] = json!("2020-01-01T00:00:00Z")), "TOKEN_EXPIRED"),
        (made(&|_| ()), "REMOTE_UNREACHABLE"),
        (String::new(), "VALIDATION_ERROR"),
        ("x".repeat(5000), "VALIDATION_ERROR"),
    ];
    for (token, code) in table {
        let (status, body) = mkat.post("/mkat/api/v1/peers/pair/complete", &json!({ "token": token })).await;
        assert_eq!((status.as_u16(), &body["code"]), (400, &json!(code)), "{body}");
    }
    let remote = Receiver::start();
    for (status, answer, code) in [
        (401, r#"{"code":"INVALID_SECRET"}"#, "REMOTE_REJECTED"),
        (200, "", "REMOTE_INVALID_RESPONSE"),
        (200, r#"{"heartbeatToken":"../x","webhookToken":"a"}"#, "REMOTE_INVALID_RESPONSE"),
    ] {
        remote.answer(status, &[], answer);
        let token = made(&|token| token["url"] = json!(remote.url));
        let (_, body) = mkat.post("/api/v1/peers/pair/complete", &json!({ "token": token })).await;
        assert_eq!(body["code"], code, "{body}");
    }
    assert!(peers(&mkat).await.is_empty(), "nothing of all this was stored");
}

#[tokio::test]
async fn a_secret_is_good_once_and_strangers_are_slowed_down() {
    let mkat = instance("alpha").await;
    let token = pairing_token(&mkat, "Alpha").await;
    let token: Value = serde_json::from_slice(&STANDARD.decode(token).unwrap()).unwrap();
    assert_eq!(token.as_object().unwrap().len(), 4, "{token}");
    let accept = |body: Value| answer(mkat.plain(Method::POST, "/api/v1/peers/pair/accept").json(&body));
    let mut body = json!({"secret": token["secret"], "url": "http://127.0.0.1:9/mkat", "name": "old"});
    // Validation comes before the secret and does not use it up.
    for (key, wrong) in [
        ("url", json!("no address")),
        ("url", json!("http://x/".to_owned() + &"y".repeat(600))),
        ("name", json!(" ")),
        ("heartbeatToken", json!("a/../b")),
        ("heartbeatIntervalSeconds", json!(0)),
    ] {
        let mut broken = body.clone();
        broken[key] = wrong;
        let (status, refused) = accept(broken).await;
        assert_eq!((status.as_u16(), &refused["code"]), (400, &json!("VALIDATION_ERROR")), "{key}");
    }
    // A completer that tells no tokens is paired one way.
    let (status, accepted) = accept(body.clone()).await;
    assert_eq!((status.as_u16(), accepted.get("twoWay")), (200, None), "{accepted}");
    assert_eq!(peers(&mkat).await[0]["twoWay"], false);
    let (status, used) = accept(body.clone()).await;
    assert_eq!((status.as_u16(), &used["code"]), (401, &json!("INVALID_SECRET")));
    // Its heartbeats count although we cannot send any; it unpairs by its address, as older programs do.
    let beat = format!("/heartbeat/{}", accepted["heartbeatToken"].as_str().unwrap());
    assert_eq!(mkat.report(&beat).await.0, 200);
    let unpair =
        mkat.plain(Method::POST, "/api/v1/peers/pair/unpair").json(&json!({"url": "HTTP://127.0.0.1:9/mkat/"}));
    assert_eq!(answer(unpair).await.0, 200);
    assert!(peers(&mkat).await.is_empty());
    body["secret"] = json!("f".repeat(64));
    let mut codes = Vec::new();
    for _ in 0..25 {
        codes.push(accept(body.clone()).await.1["code"].as_str().unwrap().to_owned());
    }
    assert_eq!((codes[0].as_str(), codes[24].as_str()), ("INVALID_SECRET", "RATE_LIMITED"));
}
