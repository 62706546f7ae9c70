//! Contacts and channels over the API: forms, refusals, secrets.

use super::*;
use crate::support::bot_api::ChatMode;

fn configuration(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn contacts_are_created_listed_renamed_and_deleted() {
    let mkat = Mkat::start().await;
    let (status, contact) = mkat.post("/api/v1/contacts", &json!({"name": "Zoe", "isDefault": true})).await;
    assert_eq!((status.as_u16(), &contact["isDefault"], &contact["serviceCount"]), (201, &false.into(), &0.into()));
    assert_eq!(contact["channels"], json!([]));
    let path = format!("/api/v1/contacts/{}", contact["id"].as_str().unwrap());
    let response =
        mkat.request(Method::POST, "/mkat/api/v1/contacts").json(&json!({"name": "Amy"})).send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("/api/v1/contacts/"), "{location}");
    let (_, all) = mkat.get("/api/v1/contacts").await;
    let names: Vec<_> = all.as_array().unwrap().iter().map(|contact| contact["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Amy", "Default", "Zoe"]);
    assert_eq!(mkat.put(&path, &json!({"name": "Zora"})).await.1["name"], "Zora");
    assert_eq!(mkat.get(&path).await.1["name"], "Zora");
    assert_eq!(mkat.delete(&path).await.0, 204);
    for (status, body) in
        [mkat.get(&path).await, mkat.delete(&path).await, mkat.put(&path, &json!({"name": "x"})).await]
    {
        assert_eq!((status.as_u16(), &body["code"]), (404, &"CONTACT_NOT_FOUND".into()));
    }
}

#[tokio::test]
async fn bad_contacts_are_refused_in_the_one_error_form() {
    let mkat = Mkat::start().await;
    for body in
        [json!({}), json!({"name": "  "}), json!({"name": "x".repeat(201)}), json!({"name": 5}), json!({"name": null})]
    {
        let (status, answer) = mkat.post("/api/v1/contacts", &body).await;
        assert_eq!((status.as_u16(), &answer["code"]), (400, &"VALIDATION_ERROR".into()), "{body}");
        assert!(answer["details"]["Name"].is_array() && answer["errors"].is_array(), "{answer}");
    }
    let (_, all) = mkat.get("/api/v1/contacts").await;
    assert_eq!(all.as_array().unwrap().len(), 1, "only the default contact");
    for path in ["/api/v1/contacts", "/api/v1/channels", "/API/v1/channels", "/mkat/api/v1/contacts"] {
        assert_eq!(answer(mkat.plain(Method::GET, path)).await.0.as_u16() / 100, 4, "{path} needs the sign-in");
    }
}

#[tokio::test]
async fn no_service_is_left_without_a_contact() {
    let mkat = Mkat::start().await;
    let (_, all) = mkat.get("/api/v1/contacts").await;
    let default = all[0]["id"].as_str().unwrap();
    let (status, body) = mkat.delete(&format!("/api/v1/contacts/{default}")).await;
    assert_eq!((status.as_u16(), &body["code"]), (400, &"DEFAULT_CONTACT".into()));

    let (_, only) = mkat.post("/api/v1/contacts", &json!({"name": "only"})).await;
    let only = only["id"].as_str().unwrap();
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[only]).await;
    let (status, body) = mkat.delete(&format!("/api/v1/contacts/{only}")).await;
    assert_eq!((status.as_u16(), &body["code"]), (400, &"ONLY_CONTACT".into()));
    assert_eq!(mkat.get(&format!("/api/v1/contacts/{only}")).await.1["serviceCount"], 1);

    let path = format!("/api/v1/services/{}/contacts", service.id);
    for (ids, status) in [
        (json!([]), 400),
        (json!(["00000000-0000-0000-0000-000000000000"]), 404),
        (json!([only, "nonsense"]), 404),
        (json!("x"), 400),
        (json!([1]), 400),
        (Value::Null, 400),
    ] {
        assert_eq!(mkat.put(&path, &json!({"contactIds": ids})).await.0, status, "{ids}");
    }
    assert_eq!(mkat.get(&path).await.1.as_array().unwrap().len(), 1, "a refused change changes nothing");
    let (_, body) = mkat.put(&path, &json!({"contactIds": [default, default, only]})).await;
    assert_eq!(body["assigned"], 2);
    assert_eq!(mkat.delete(&format!("/api/v1/contacts/{only}")).await.0, 204);
    assert_eq!(mkat.get(&path).await.1[0]["id"], default);
    let (status, body) = mkat.get("/api/v1/services/nobody/contacts").await;
    assert_eq!((status.as_u16(), &body["code"]), (404, &"SERVICE_NOT_FOUND".into()));
}

#[tokio::test]
async fn secrets_are_masked_and_the_mask_keeps_them() {
    let api = FakeBotApi::start(&["1", "2"]);
    let mkat = Mkat::start().await;
    let (contact, channel) =
        contact(&mkat, "ops", 0, json!({"BotToken": TOKEN, "ChatId": "1", "apiBaseUrl": api.url})).await;
    let state = channel_state(&mkat, &channel).await;
    let shown = configuration(&state["configuration"]);
    assert_eq!((&shown["botToken"], &shown["chatId"]), (&"********".into(), &"1".into()));
    for path in ["/api/v1/channels".to_owned(), "/api/v1/contacts".into(), format!("/api/v1/contacts/{contact}")] {
        assert!(!mkat.get(&path).await.1.to_string().contains("TEST-token"), "{path}");
    }

    let mut changed = shown.clone();
    changed["chatId"] = "2".into();
    let path = format!("/api/v1/contacts/{contact}/channels/{channel}");
    let (status, body) = mkat.put(&path, &json!({"configuration": changed.to_string()})).await;
    assert_eq!((status.as_u16(), &body["isEnabled"]), (200, &true.into()), "{body}");
    let (_, result) = mkat.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(result["success"], true, "{result}");
    assert_eq!(api.shown("2").len(), 1, "the stored token was used");

    let body = json!({"type": 0, "configuration": changed.to_string()});
    let (status, body) = mkat.post(&format!("/api/v1/contacts/{contact}/channels"), &body).await;
    assert_eq!(status, 400, "a mask cannot become a secret: {body}");
    assert!(!mkat.log().iter().any(|line| line.contains("TEST-token")), "no secret in the log");
}

#[tokio::test]
async fn a_channel_that_could_not_send_is_refused() {
    let mkat = Mkat::start().await;
    let (_, all) = mkat.get("/api/v1/contacts").await;
    let path = format!("/api/v1/contacts/{}/channels", all[0]["id"].as_str().unwrap());
    let good = json!({"botToken": TOKEN, "chatId": "1"}).to_string();
    for body in [
        json!({}),
        json!({"type": 0}),
        json!({"configuration": good}),
        json!({"type": 5, "configuration": good}),
        json!({"type": -1, "configuration": good}),
        json!({"type": "0", "configuration": good}),
        json!({"type": "Telegram", "configuration": good}),
        json!({"type": 0, "configuration": "not json"}),
        json!({"type": 0, "configuration": "  "}),
        json!({"type": 0, "configuration": "[]"}),
        json!({"type": 0, "configuration": "{\"botToken\":\"1:a\"}"}),
        json!({"type": 0, "configuration": "{\"botToken\":\"1:a\",\"chatId\":\"1\",\"extra\":1}"}),
        json!({"type": 0, "configuration": format!("{{\"botToken\":\"1:{}\",\"chatId\":\"1\"}}", "a".repeat(4000))}),
        json!({"type": 1, "configuration": "{\"to\":\"a@example.com\"}"}),
        json!({"type": 2, "configuration": "{\"url\":\"http://169.254.169.254/\"}"}),
        json!({"type": 3, "configuration": "{}"}),
        json!({"type": 4, "configuration": "{}"}),
    ] {
        let (status, answer) = mkat.post(&path, &body).await;
        assert_eq!((status.as_u16(), &answer["code"]), (400, &"VALIDATION_ERROR".into()), "{body} {answer}");
        assert!(!answer["details"].as_object().unwrap().is_empty());
    }
    assert_eq!(mkat.get("/api/v1/channels").await.1, json!([]), "nothing was stored");
    for kind in 0..5 {
        let configuration = match kind {
            0 => json!({"botToken": TOKEN, "chatId": "1"}),
            1 => json!({"to": "a@example.com", "from": "m@example.com", "host": "mail.example.com"}),
            2 => json!({"url": "https://example.com/hook"}),
            3 => json!({"accessToken": "t"}),
            _ => json!({"key": "k"}),
        };
        channel(&mkat, all[0]["id"].as_str().unwrap(), kind, configuration).await;
    }
}

#[tokio::test]
async fn a_test_message_is_really_sent_and_the_truth_reported() {
    let api = FakeBotApi::start(&["1"]);
    let mkat = Mkat::start().await;
    let (contact, channel) =
        contact(&mkat, "ops", 0, json!({"botToken": TOKEN, "chatId": "1", "apiBaseUrl": api.url})).await;
    let flat = format!("/api/v1/channels/{channel}/test");
    let (status, result) = mkat.post(&flat, &json!({})).await;
    assert_eq!((status.as_u16(), &result["success"]), (200, &true.into()), "{result}");
    assert_eq!(api.shown("1").len(), 1);
    api.set("1", ChatMode::Blocked);
    let (status, result) = mkat.post(&flat, &json!({})).await;
    assert_eq!((status.as_u16(), &result["success"]), (200, &false.into()));
    assert!(result["message"].as_str().unwrap().contains("blocked"), "{result}");
    api.remove_bot(TOKEN);
    let nested = format!("/api/v1/contacts/{contact}/channels/{channel}/test");
    let (_, result) = mkat.post(&nested, &json!({})).await;
    assert!(result["message"].as_str().unwrap().contains("Unauthorized"), "{result}");
    for path in ["/api/v1/channels/nobody/test".to_owned(), format!("/api/v1/contacts/{contact}/channels/nobody/test")]
    {
        let (status, body) = mkat.post(&path, &json!({})).await;
        assert_eq!((status.as_u16(), &body["code"]), (404, &"CHANNEL_NOT_FOUND".into()));
    }
}

#[tokio::test]
async fn a_channel_belongs_to_its_contact_and_has_a_ledger() {
    let api = FakeBotApi::start(&["1"]);
    let mkat = Mkat::start().await;
    let (owner, channel) =
        contact(&mkat, "owner", 0, json!({"botToken": TOKEN, "chatId": "1", "apiBaseUrl": api.url})).await;
    let (_, other) = mkat.post("/api/v1/contacts", &json!({"name": "other"})).await;
    let foreign = format!("/api/v1/contacts/{}/channels/{channel}", other["id"].as_str().unwrap());
    assert_eq!(mkat.delete(&foreign).await.0, 404);
    let service = watched(&mkat, "api").await;
    assign(&mkat, &service, &[&owner]).await;
    service.fail(&mkat).await;
    service.recover(&mkat).await;
    let page = wait_for("both deliveries", || async {
        let (_, page) = mkat.get(&format!("/api/v1/channels/{channel}/deliveries?pageSize=1")).await;
        (page["totalCount"] == 2 && page["items"][0]["status"] == "sent").then_some(page)
    })
    .await;
    assert_eq!((&page["hasNextPage"], page["items"].as_array().unwrap().len()), (&true.into(), 1));
    assert_eq!(page["items"][0]["contactName"], "owner");
    assert!(page["items"][0]["latencyMs"].as_u64().is_some());
    assert_eq!(mkat.get(&format!("/api/v1/channels/{channel}/deliveries?page=x")).await.0, 400);
    assert_eq!(mkat.get("/api/v1/channels/nobody/deliveries").await.0, 404);
    assert_eq!(mkat.get("/api/v1/alerts/nobody/deliveries").await.0, 404);
}
