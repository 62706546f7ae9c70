//! Generic webhooks and the robots of DingTalk and WeCom.

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::*;
use crate::support::receiver::{Received, Receiver};

fn hmac(secret: &str, text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

async fn received(receiver: &Receiver, count: usize) -> Vec<Received> {
    wait_for(&format!("{count} requests"), || async {
        let received = receiver.received();
        (received.len() >= count).then_some(received)
    })
    .await
}

/// A failed service that is told to one channel only.
async fn failed(mkat: &Mkat, name: &str, kind: i64, configuration: Value) -> (Watched, String) {
    let (contact, channel) = contact(mkat, name, kind, configuration).await;
    let service = watched(mkat, name).await;
    assign(mkat, &service, &[&contact]).await;
    service.fail(mkat).await;
    (service, channel)
}

#[tokio::test]
async fn a_webhook_gets_a_signed_document_and_a_repeat_has_the_same_delivery() {
    let receiver = Receiver::start();
    receiver.answer(503, &[("retry-after", "1")], "");
    let mkat = Mkat::start_with(Folder::new(), &[("MKAT_INSTANCE_NAME", "alpha")]).await;
    let configuration =
        json!({"url": format!("{}/hook?x=1", receiver.url), "secret": "s3cret", "headers": {"X-Key": "k"}});
    let (service, _) = failed(&mkat, "api", 2, configuration).await;
    received(&receiver, 1).await;
    receiver.answer(204, &[], "");
    let requests = received(&receiver, 2).await;
    for request in &requests {
        let timestamp = request.header("x-mkat-timestamp").unwrap();
        let signed = [timestamp.as_bytes(), b".", &request.raw].concat();
        let expected: String = hmac("s3cret", &signed).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(request.header("x-mkat-signature"), Some(format!("v1={expected}").as_str()));
        assert_eq!(
            (request.path.as_str(), request.query("x"), request.header("x-key")),
            ("/hook", Some("1"), Some("k"))
        );
        assert_eq!((&request.body["event"], &request.body["instance"]), (&"failure".into(), &"alpha".into()));
        assert_eq!(request.body["alert"]["serviceName"], "api");
    }
    assert_eq!(requests[0].header("x-mkat-delivery"), requests[1].header("x-mkat-delivery"));
    assert!(requests[1].at.duration_since(requests[0].at).unwrap().as_millis() >= 990, "retry-after is obeyed");
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    assert_eq!(rows[0]["attempts"], 2);
}

#[tokio::test]
async fn a_webhook_that_refuses_one_document_stays_open_and_one_that_is_gone_is_closed() {
    let receiver = Receiver::start();
    receiver.answer(422, &[], "");
    let mkat = Mkat::start().await;
    let (service, channel) = failed(&mkat, "api", 2, json!({"url": receiver.url})).await;
    settled(&mkat, &service.alerts(&mkat).await[0], &["dead"]).await;
    assert_eq!(channel_state(&mkat, &channel).await["isEnabled"], true);
    assert!(receiver.received()[0].header("x-mkat-signature").is_none(), "nothing to sign with");

    receiver.answer(410, &[], "");
    let (gone, channel) = failed(&mkat, "gone", 2, json!({"url": format!("{}/gone", receiver.url)})).await;
    settled(&mkat, &gone.alerts(&mkat).await[0], &["dead"]).await;
    let state = channel_state(&mkat, &channel).await;
    assert!(state["isEnabled"] == false && state["disabledReason"].as_str().unwrap().contains("410"), "{state}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (receiver, other) = (Receiver::start(), Receiver::start());
    let target: &'static str = Box::leak(other.url.clone().into_boxed_str());
    receiver.answer(302, &[("location", target)], "");
    let mkat = Mkat::start().await;
    let (service, _) = failed(&mkat, "api", 2, json!({"url": receiver.url})).await;
    let alert = service.alerts(&mkat).await[0].clone();
    let row = wait_for("a noted failure", || async {
        deliveries(&mkat, &alert).await.into_iter().find(|row| !row["lastError"].is_null())
    })
    .await;
    assert!(row["lastError"].as_str().unwrap().contains("redirects"), "{row}");
    assert!(other.received().is_empty());
}

#[tokio::test]
async fn a_dingtalk_robot_gets_a_signed_text_with_its_keyword() {
    let receiver = Receiver::start();
    receiver.answer(200, &[], r#"{"errcode":0,"errmsg":"ok"}"#);
    let mkat = Mkat::start().await;
    let configuration = json!({"accessToken": "tok", "secret": "SECabc", "keyword": "watch", "atMobiles": ["130"],
        "apiBaseUrl": receiver.url});
    let (service, channel) = failed(&mkat, "api", 3, configuration).await;
    let request = received(&receiver, 1).await[0].clone();
    let timestamp = request.query("timestamp").unwrap();
    let expected = hmac("SECabc", format!("{timestamp}\nSECabc").as_bytes());
    let expected = base64::engine::general_purpose::STANDARD.encode(expected);
    assert_eq!((request.path.as_str(), request.query("access_token")), ("/robot/send", Some("tok")));
    assert_eq!(request.query("sign"), Some(expected.as_str()));
    let text = request.body["text"]["content"].as_str().unwrap();
    assert!(text.starts_with("[watch] ") && text.contains("DOWN: api"), "{text}");
    assert_eq!(request.body["at"]["atMobiles"], json!(["130"]));
    settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;

    receiver.answer(200, &[], r#"{"errcode":310000,"errmsg":"sign not match"}"#);
    service.recover(&mkat).await;
    let alerts = service.alerts(&mkat).await;
    settled(&mkat, &alerts[1], &["dead"]).await;
    let state = channel_state(&mkat, &channel).await;
    assert!(state["isEnabled"] == false && state["disabledReason"].as_str().unwrap().contains("310000"), "{state}");
}

#[tokio::test]
async fn a_wecom_robot_gets_a_text_and_its_verdict_counts_not_the_http_status() {
    let receiver = Receiver::start();
    receiver.answer(200, &[], r#"{"errcode":-1,"errmsg":"system busy"}"#);
    let mkat = Mkat::start().await;
    let configuration = json!({"key": "k-1", "mentionedList": "@all", "apiBaseUrl": receiver.url});
    let (service, channel) = failed(&mkat, "api", 4, configuration).await;
    received(&receiver, 1).await;
    receiver.answer(200, &[], r#"{"errcode":0,"errmsg":"ok"}"#);
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    assert_eq!(rows[0]["attempts"], 2);
    let request = receiver.received()[1].clone();
    assert_eq!((request.path.as_str(), request.query("key")), ("/cgi-bin/webhook/send", Some("k-1")));
    assert_eq!(request.body["text"]["mentioned_list"], json!(["@all"]));

    receiver.answer(200, &[], r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#);
    service.recover(&mkat).await;
    let alerts = service.alerts(&mkat).await;
    settled(&mkat, &alerts[1], &["dead"]).await;
    assert_eq!(channel_state(&mkat, &channel).await["isEnabled"], false);
}
