//! From a failing webhook to the first byte at the Bot API: one failure at a time, and 1,000 at once. The real binary, a real
//! SQLite file, a strict fake of the Bot API on the loopback.
//!
//! `cargo bench -p mkat --bench alert_latency`; prints one JSON line per measurement, and fails when a 99th percentile is
//! above the bar (100 ms). "request": the clock starts before the webhook's request is written, so that the client's own work
//! and the queue before mkat count too; "answer": it starts when the webhook was answered, that is when the failure was on disk.
//! The 1,000 have a connection each, open before the clock starts; a plain socket, because 1,000 requests of a full HTTP client
//! take more processor time than mkat needs for them.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../server/tests/it/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::{Value, json};
use support::bot_api::{FakeBotApi, TOKEN};
use support::{Folder, Mkat, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CHAT: &str = "4711";
const ROUNDS: usize = 300;
const AT_ONCE: usize = 1000;
const BAR: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() {
    let api = FakeBotApi::start(&[CHAT]);
    let settings = [
        ("MKAT_TELEGRAM_BOT_TOKEN", TOKEN),
        ("MKAT_TELEGRAM_CHAT_ID", CHAT),
        ("MKAT_TELEGRAM_API_URL", api.url.as_str()),
        ("MKAT_LOG_LEVEL", "warn,mkat::run=info"),
    ];
    let mkat = Mkat::start_with(Folder::new(), &settings).await;
    let mut tokens = HashMap::new();
    for number in 0..AT_ONCE {
        let name = format!("service-{number:04}");
        let service = mkat.service(&name, json!([{"type": 0, "intervalSeconds": 300}])).await;
        tokens.insert(name, service["monitors"][0]["token"].as_str().unwrap().to_owned());
    }
    let single = one_at_a_time(&mkat, &api, &tokens["service-0000"]).await;
    let mut good = report("single, from the request", single);
    let (from_request, from_answer) = all_at_once(&mkat, &api, &tokens).await;
    good &= report("1000 at once, from the request", from_request);
    good &= report("1000 at once, from the answer", from_answer);
    if !good {
        std::process::exit(1);
    }
}

/// Returns when it was answered.
async fn signal(mkat: &Mkat, token: &str, what: &str) -> SystemTime {
    let answer = mkat.http.post(format!("{}/webhook/{token}/{what}", mkat.url)).send().await.unwrap();
    assert!(answer.status().is_success());
    SystemTime::now()
}

/// Failures with nothing else going on; the recoveries in between are not measured.
async fn one_at_a_time(mkat: &Mkat, api: &FakeBotApi, token: &str) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for round in 0..ROUNDS {
        let began = SystemTime::now();
        signal(mkat, token, "fail").await;
        latencies.push(message(api, 2 * round).await.duration_since(began).unwrap());
        signal(mkat, token, "recover").await;
        message(api, 2 * round + 1).await;
    }
    latencies
}

/// When the message with this number arrived.
async fn message(api: &FakeBotApi, number: usize) -> SystemTime {
    wait_for("a message", || async { api.shown(CHAT).get(number).map(|shown| shown.at) }).await
}

/// Latencies from the requests and from their answers.
async fn all_at_once(
    mkat: &Mkat,
    api: &FakeBotApi,
    tokens: &HashMap<String, String>,
) -> (Vec<Duration>, Vec<Duration>) {
    let before = api.shown(CHAT).len();
    let address = mkat.url.trim_start_matches("http://");
    let mut connections = Vec::new();
    for _ in tokens {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    let signals = join_all(tokens.iter().zip(connections).map(|((name, token), connection)| async move {
        let began = SystemTime::now();
        (name, began, fail(connection, token).await)
    }))
    .await;
    let arrived = wait_for("all alerts", || async {
        let mut arrived: HashMap<String, SystemTime> = HashMap::new();
        for shown in &api.shown(CHAT)[before..] {
            for word in shown.text.split_whitespace().filter(|word| tokens.contains_key(*word)) {
                arrived.entry(word.to_owned()).or_insert(shown.at);
            }
        }
        (arrived.len() == tokens.len()).then_some(arrived)
    })
    .await;
    // A message may be quicker than the answer to its webhook.
    let since = |name: &String, began: SystemTime| arrived[name].duration_since(began).unwrap_or_default();
    let from_request = signals.iter().map(|(name, began, _)| since(name, *began)).collect();
    (from_request, signals.iter().map(|(name, _, answered)| since(name, *answered)).collect())
}

/// Reports a failure and returns when it was answered.
async fn fail(mut connection: TcpStream, token: &str) -> SystemTime {
    let request = format!("POST /webhook/{token}/fail HTTP/1.1\r\nHost: mkat\r\nContent-Length: 0\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 2048];
    let length = connection.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..length]));
    SystemTime::now()
}

fn report(what: &str, mut latencies: Vec<Duration>) -> bool {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share).round() as usize];
    let ms = |latency: Duration| (latency.as_secs_f64() * 1e5).round() / 100.0;
    let good = at(0.99) <= BAR;
    let line: Value = json!({
        "what": what, "count": latencies.len(), "p50_ms": ms(at(0.5)), "p90_ms": ms(at(0.9)), "p99_ms": ms(at(0.99)),
        "max_ms": ms(at(1.0)), "bar_p99_ms": ms(BAR), "good": good,
    });
    println!("{line}");
    good
}
