//! Measures a mkat binary: start, memory, durable heartbeats per second, list of many services. See mkat/bench/run.sh.
//!
//! Usage: bench <path of mkat> [seconds of load]. Prints one `name value unit` per line.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

const PORT: u16 = 18_790;
const MONITORS: usize = 1_000;
const SERVICES: usize = 5_000;
const CONNECTIONS: usize = 64;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let binary = arguments.get(1).expect("usage: bench <path of mkat> [seconds]").clone();
    let seconds = arguments.get(2).and_then(|text| text.parse().ok()).unwrap_or(10);
    let folder = std::env::temp_dir().join(format!("mkat-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    measure(&binary, &folder, seconds).await;
    let _ = std::fs::remove_dir_all(&folder);
}

async fn measure(binary: &str, folder: &Path, seconds: u64) {
    let (first, took) = start(binary, folder).await;
    print("first_start_to_health", took.as_secs_f64() * 1e3, "ms");
    print("rss_empty", rss(&first), "MB");
    let mut client = Connection::open().await;
    let tokens = create(&mut client, 0..MONITORS).await;
    drop(first);

    let (server, took) = start(binary, folder).await;
    print("start_with_1000_monitors", took.as_secs_f64() * 1e3, "ms");
    print("rss_1000_monitors", rss(&server), "MB");
    for connections in [1, CONNECTIONS] {
        let before = cpu_seconds(&server);
        let count = heartbeats(&tokens, connections, Duration::from_secs(seconds)).await;
        let used = (cpu_seconds(&server) - before) * 1e6 / count as f64;
        print(&format!("heartbeat_{connections}_connections_cpu"), used, "us");
    }
    print("rss_after_load", rss(&server), "MB");

    let mut client = Connection::open().await;
    create(&mut client, MONITORS..SERVICES).await;
    list(&mut client).await;
    print("rss_5000_services", rss(&server), "MB");
}

fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.2} {unit}");
}

/// Starts the binary and waits for /health; returns how long that took.
async fn start(binary: &str, folder: &Path) -> (Server, Duration) {
    let began = Instant::now();
    let child = Command::new(binary)
        .env("MKAT_DB", folder.join("mkat.db"))
        .env("MKAT_PORT", PORT.to_string())
        .env("MKAT_BIND", "127.0.0.1")
        .env("MKAT_PASSWORD", "bench")
        .env("MKAT_LOG_LEVEL", "warn")
        .stdout(Stdio::null())
        .spawn()
        .expect("mkat starts");
    let server = Server(child);
    while began.elapsed() < Duration::from_secs(30) {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", PORT)).await {
            let (status, _) = Connection::new(stream).call("GET", "/health", None).await;
            assert_eq!(status, 200);
            return (server, began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("mkat did not answer in 30 s");
}

/// Resident memory in MB.
fn rss(server: &Server) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Processor time that mkat has used; does not depend on what else runs here.
fn cpu_seconds(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.0.id())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Creates services with one heartbeat monitor each and returns the tokens.
async fn create(client: &mut Connection, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut tokens = Vec::new();
    for n in numbers {
        let monitor = json!({"type": 1, "intervalSeconds": 3600});
        let body =
            json!({"name": format!("service {n:05}"), "description": "made for measuring", "monitors": [monitor]});
        let (status, answer) = client.call("POST", "/api/v1/services", Some(&body.to_string())).await;
        assert_eq!(status, 201, "{answer}");
        let service: Value = serde_json::from_str(&answer).expect("JSON");
        tokens.push(service["monitors"][0]["token"].as_str().expect("a token").to_owned());
    }
    tokens
}

/// Every connection sends one heartbeat after the other; each answer means that it is on disk. Returns how many.
async fn heartbeats(tokens: &[String], connections: usize, duration: Duration) -> usize {
    let tokens: Arc<[String]> = tokens.into();
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let (tokens, next) = (tokens.clone(), next.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open().await;
                let mut times = Vec::new();
                while began.elapsed() < duration {
                    let token = &tokens[next.fetch_add(1, Ordering::Relaxed) % tokens.len()];
                    let sent = Instant::now();
                    let (status, answer) = connection.call("POST", &format!("/heartbeat/{token}"), None).await;
                    assert_eq!(status, 200, "{answer}");
                    times.push(sent.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("no error"));
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    print(&format!("heartbeats_{connections}_connections"), rate, "per s");
    let count = times.len();
    percentiles(&format!("heartbeat_{connections}_connections"), times);
    count
}

/// Pages of 20 and of 100 all through the list.
async fn list(client: &mut Connection) {
    for size in [20, 100] {
        let mut times = Vec::new();
        for page in 1..=SERVICES / size {
            let began = Instant::now();
            let path = format!("/api/v1/services?page={page}&pageSize={size}");
            let (status, _) = client.call("GET", &path, None).await;
            times.push(began.elapsed());
            assert_eq!(status, 200);
        }
        percentiles(&format!("list_page_of_{size}"), times);
    }
}

fn percentiles(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    for (label, share) in [("p50", 0.50), ("p99", 0.99)] {
        let at = ((times.len() - 1) as f64 * share) as usize;
        print(&format!("{name}_{label}"), times[at].as_secs_f64() * 1e3, "ms");
    }
}

/// One HTTP/1.1 connection, one request at a time; does no more than this needs, to leave the processor to mkat.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open() -> Self {
        Self::new(TcpStream::connect(("127.0.0.1", PORT)).await.expect("mkat listens"))
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP option");
        Self { stream, buffer: Vec::with_capacity(64 * 1024) }
    }

    /// Status and body.
    async fn call(&mut self, method: &str, path: &str, body: Option<&str>) -> (u16, String) {
        let body = body.unwrap_or_default();
        // admin:bench
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YWRtaW46YmVuY2g=\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("sent");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("an answer");
            assert!(read > 0, "mkat closed the connection");
            if let Some(answer) = complete(&self.buffer) {
                return answer;
            }
        }
    }
}

/// Status and body, once all of it is there.
fn complete(buffer: &[u8]) -> Option<(u16, String)> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&buffer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(|text| text.trim().to_owned()))
        .and_then(|text| text.parse::<usize>().ok())?;
    let body = buffer.get(end + 4..end + 4 + length)?;
    Some((status, String::from_utf8_lossy(body).into_owned()))
}
