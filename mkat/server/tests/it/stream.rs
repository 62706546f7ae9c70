//! The live stream: who hears what, and who comes back hears what was missed.

use crate::support::{Folder, Mkat, PATIENCE, id, token};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// One frame: id, event, data.
#[derive(Debug, Clone)]
struct Frame {
    id: Option<String>,
    event: String,
    data: Value,
}

struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    fn new(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
        Self { response, text: String::new() }
    }

    async fn open(mkat: &Mkat, last: Option<&str>) -> Self {
        let mut request = mkat.request(Method::GET, "/api/v1/events/stream").timeout(4 * PATIENCE);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let mut stream = Self::new(request.send().await.unwrap());
        stream.block("retry: 3000").await;
        stream
    }

    /// The next block that contains `part`; what comes before it is skipped.
    async fn block(&mut self, part: &str) -> String {
        let search = async {
            loop {
                while let Some((block, rest)) = self.text.split_once("\n\n") {
                    let (block, rest) = (block.to_owned(), rest.to_owned());
                    self.text = rest;
                    if block.contains(part) {
                        return block;
                    }
                }
                let chunk = self.response.chunk().await.unwrap().expect("the stream goes on");
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("no frame with {part}"))
    }

    async fn frame(&mut self, event: &str) -> Frame {
        let block = self.block(&format!("event: {event}\n")).await;
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Frame {
            id: field("id: "),
            event: field("event: ").unwrap(),
            data: serde_json::from_str(&field("data: ").unwrap()).unwrap(),
        }
    }
}

async fn watched(mkat: &Mkat) -> (String, String) {
    let service = mkat.service("shop", json!([{"type": 0, "intervalSeconds": 60}])).await;
    (id(&service), token(&service, 0))
}

#[tokio::test]
async fn changes_and_alerts_are_told_as_they_happen() {
    let mkat = Mkat::start().await;
    let (service_id, token) = watched(&mkat).await;
    let mut stream = Stream::open(&mkat, None).await;
    mkat.report(&format!("/webhook/{token}/fail")).await;
    let change = stream.frame("state_change").await;
    assert_eq!((&change.data["from"], &change.data["to"]), (&json!("Unknown"), &json!("Down")));
    assert_eq!((&change.data["serviceId"], &change.data["serviceName"]), (&json!(service_id), &json!("shop")));
    let alert = stream.frame("alert_created").await;
    assert_eq!((&alert.data["severity"], &alert.data["type"]), (&json!("High"), &json!("Failure")));
    assert_eq!(alert.event, "alert_created");
    assert_ne!(change.id.unwrap(), alert.id.unwrap());
    stream.block(": keep-alive").await;
}

#[tokio::test]
async fn a_delivered_alert_is_told_with_its_names() {
    let receiver = crate::support::receiver::Receiver::start();
    let mkat = Mkat::start().await;
    let (_, contact) = mkat.post("/api/v1/contacts", &json!({"name": "ops"})).await;
    let configuration = json!({"url": receiver.url}).to_string();
    let path = format!("/api/v1/contacts/{}/channels", id(&contact));
    let (status, body) = mkat.post(&path, &json!({"type": 2, "configuration": configuration})).await;
    assert_eq!(status, 201, "{body}");
    let (service_id, token) = watched(&mkat).await;
    mkat.put(&format!("/api/v1/services/{service_id}/contacts"), &json!({"contactIds": [id(&contact)]})).await;
    let mut stream = Stream::open(&mkat, None).await;
    mkat.report(&format!("/webhook/{token}/fail")).await;
    let told = stream.frame("alert_dispatched").await;
    assert_eq!(told.data["serviceId"], json!(service_id));
    assert_eq!((&told.data["severity"], &told.data["type"]), (&json!("High"), &json!("Failure")));
    assert!(told.data["message"].as_str().unwrap().starts_with("shop failed"));
}

#[tokio::test]
async fn who_comes_back_hears_what_was_missed_and_after_a_restart_reads_again() {
    let mut mkat = Mkat::start().await;
    let (_, token) = watched(&mkat).await;
    let mut stream = Stream::open(&mkat, None).await;
    mkat.report(&format!("/webhook/{token}/fail")).await;
    let seen = stream.frame("alert_created").await.id.unwrap();
    drop(stream);
    mkat.report(&format!("/webhook/{token}/recover")).await;
    let mut again = Stream::open(&mkat, Some(&seen)).await;
    let missed = again.frame("state_change").await;
    assert_eq!(missed.data["to"], "Up");
    let missed = again.frame("alert_created").await;
    assert_eq!(missed.data["type"], "Recovery");
    // An open stream does not hold up an orderly stop.
    assert!(mkat.stop());
    let mkat = Mkat::start_with(mkat.folder.clone(), &[]).await;
    let mut after = Stream::open(&mkat, Some(&seen)).await;
    assert!(after.frame("reset").await.id.is_some());
}

#[tokio::test]
async fn only_the_operator_may_listen() {
    let mkat = Mkat::start_with(Folder::new(), &[]).await;
    let stranger = mkat.plain(Method::GET, "/api/v1/events/stream").send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    let body = json!({"username": crate::support::USER, "password": crate::support::PASSWORD});
    let session = mkat.plain(Method::POST, "/api/v1/session").json(&body).send().await.unwrap();
    assert!(session.status().is_success(), "{}", session.status());
    let cookie = session.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let request = mkat.plain(Method::GET, "/mkat/api/v1/events/stream").header("cookie", cookie);
    let mut stream = Stream::new(request.send().await.unwrap());
    stream.block("retry: 3000").await;
    let head = mkat.request(Method::HEAD, "/api/v1/events/stream").send().await.unwrap();
    assert_eq!(head.status(), 200);
}
