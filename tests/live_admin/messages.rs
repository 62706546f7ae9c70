//! Messages of a tenant itself: they go the way of every message.

use serde_json::json;

use super::api::{Administered, call, signed, text};
use super::client::Client;
use super::processes::SECRET;
use super::redis_support::redis_is_missing;
use super::users::User;

const MESSAGES: &str = "/admin/v1/tenants/t1/messages";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenants_own_message_reaches_those_who_are_there_and_waits_for_the_others() {
    if redis_is_missing("a_tenants_own_message_reaches_those_who_are_there_and_waits_for_the_others") {
        return;
    }
    let admin = Administered::start(2, |_| {}).await;
    let query = "tenantId=t1&token=valid%3Abob&deviceId=d1";
    let mut bob = Client::open(admin.cluster.nodes[1].address(), query);
    bob.welcome();

    // There, on the other node.
    let ack = admin.post(MESSAGES, r#"{"to_user":"bob","text":"hello","msg_id":"n-1"}"#);
    assert_eq!((ack.status, &ack.body["ack"]["status"]), (200, &json!("SENT")), "{ack:?}");
    assert_eq!((&ack.body["ack"]["msg_id"], &ack.body["ack"]["reason"]), (&json!("n-1"), &json!("")));
    let got = bob.delivery();
    assert_eq!((&*got.user_id, &*got.device_id, &*got.msg_id), ("system", "admin", "n-1"));
    assert_eq!((&*got.tenant_id, &got.msg_body[..]), ("t1", &b"hello"[..]));
    // A repetition is known by its id.
    let again = admin.post(MESSAGES, r#"{"to_user":"bob","text":"hello","msg_id":"n-1"}"#).body;
    assert_eq!((&again["ack"]["status"], &again["ack"]["reason"]), (&json!("SENT"), &json!("duplicate")));

    // Not there: kept, and handed over on whichever node.
    let ack = admin.command(0, &["publish", "t1", "--to", "dave", "--text", "later", "--id", "n-2"]);
    assert_eq!((ack.status.code(), text(&ack).as_str()), (Some(0), "n-2 SENT\n"));
    let dave = User::at(&admin.cluster.nodes[1], "dave").await;
    dave.got(&["n-2".into()]).await;

    // A group of the mock: u1, u2, u3.
    let u1 = User::at(&admin.cluster.nodes[0], "u1").await;
    let u2 = User::at(&admin.cluster.nodes[1], "u2").await;
    let ack = admin.post(MESSAGES, r#"{"group":"group-1","body_base64":"AP8=","msg_id":"n-3"}"#).body;
    assert_eq!((&ack["ack"]["status"], &ack["ack"]["offline_buffered"]), (&json!("SENT"), &json!(1)));
    u1.got(&["n-3".into()]).await;
    u2.got(&["n-3".into()]).await;
    User::at(&admin.cluster.nodes[0], "u3").await.got(&["n-3".into()]).await;

    // The tenant's hook has the last word, and a no is an ack as well.
    let denied = admin.post(MESSAGES, r#"{"to_user":"bob","text":""}"#).body;
    assert_eq!(denied["ack"]["status"], "FAILED");
    assert_eq!(denied["ack"]["reason"], "empty or too large message body");
    assert_eq!(denied["ack"]["retryable"], false, "the tenant's own reason");
    let denied = admin.command(0, &["publish", "t1", "--group", "nobody's", "--text", "x"]);
    assert_eq!(denied.status.code(), Some(1));
    assert!(text(&denied).contains("FAILED: group members empty"), "{}", text(&denied));

    // The tenant itself may ask.
    let body = r#"{"to_user":"bob","text":"signed","msg_id":"n-4"}"#;
    let headers = signed("POST", MESSAGES, body, "t1", SECRET, 0);
    let ack = call(admin.ports[1], "POST", MESSAGES, &headers, body);
    assert_eq!((ack.status, &ack.body["ack"]["status"]), (200, &json!("SENT")), "{ack:?}");
    assert_eq!(bob.delivery().msg_id, "n-4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_published_one_after_the_other_arrive_in_this_order() {
    if redis_is_missing("messages_published_one_after_the_other_arrive_in_this_order") {
        return;
    }
    let admin = Administered::start(2, |plan| plan.set("ADMIN_SYSTEM_USER", "the house")).await;
    let bob = User::at(&admin.cluster.nodes[1], "bob").await;
    let ids: Vec<String> = (0..100).map(|n| format!("n-{n}")).collect();
    for id in &ids {
        let body = json!({ "to_user": "bob", "text": "x", "msg_id": id }).to_string();
        assert_eq!(admin.post(MESSAGES, &body).body["ack"]["status"], "SENT");
    }
    bob.got(&ids).await;
    assert_eq!(bob.seen(), ids);
}
