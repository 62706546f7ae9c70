//! Starts the real binary on a free port with a database of its own, and talks to it.

pub mod bot_api;
pub mod receiver;
pub mod smtp;
mod telegram_html;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

pub const USER: &str = "admin";
pub const PASSWORD: &str = "correct horse: battery";

/// Longest that any condition is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Arc<Self> {
        let path = std::env::temp_dir().join(format!("mkat-test-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).unwrap();
        Arc::new(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Killed when dropped, also by a failing test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running instance. Dropping it kills the process.
pub struct Mkat {
    child: Process,
    pub url: String,
    pub folder: Arc<Folder>,
    pub http: Client,
    log: Arc<Mutex<Vec<String>>>,
}

impl Mkat {
    /// With an empty database and no special settings.
    pub async fn start() -> Self {
        Self::start_with(Folder::new(), &[]).await
    }

    /// On the database in `folder`, with further environment variables.
    pub async fn start_with(folder: Arc<Folder>, settings: &[(&str, &str)]) -> Self {
        Self::start_logging_to(folder, settings, Path::new("/dev/null")).await
    }

    /// Like [`Mkat::start_with`], with standard error in a file.
    pub async fn start_logging_to(folder: Arc<Folder>, settings: &[(&str, &str)], errors: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkat"));
        command
            .env_clear()
            .env("MKAT_PORT", "0")
            .env("MKAT_BIND", "127.0.0.1")
            .env("MKAT_DB", folder.path().join("mkat.db"))
            .env("MKAT_PASSWORD", PASSWORD)
            .env("MKAT_LOG_LEVEL", "debug")
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(errors).unwrap());
        let mut child = Process(command.spawn().unwrap());
        let log = Arc::new(Mutex::new(Vec::new()));
        let port = follow_log(&mut child.0, &log).await;
        let http = mkat::http_client::build().unwrap();
        Self { child, url: format!("http://127.0.0.1:{port}"), folder, http, log }
    }

    /// kill -9.
    pub fn kill(mut self) -> Arc<Folder> {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
        self.folder.clone()
    }

    /// SIGTERM; waits for the end and returns whether the exit status was 0.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        self.child.0.wait().unwrap().success()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let process = self.child.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &process]).status().unwrap();
        assert!(status.success());
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// A request without credentials.
    pub fn plain(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// A request as the operator.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.plain(method, path).basic_auth(USER, Some(PASSWORD))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        answer(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> (StatusCode, Value) {
        answer(self.request(Method::DELETE, path)).await
    }

    /// POST without credentials, as a monitored service does it.
    pub async fn report(&self, path: &str) -> (StatusCode, Value) {
        answer(self.plain(Method::POST, path)).await
    }

    /// 0 Unknown, 1 Up, 2 Down, 3 Paused.
    pub async fn state(&self, service_id: &str) -> i64 {
        self.get(&format!("/api/v1/services/{service_id}")).await.1["state"].as_i64().unwrap()
    }

    /// Types of a service's alerts, oldest first, with whether each was muted.
    pub async fn alerts(&self, service_id: &str) -> Vec<(i64, bool)> {
        let (_, page) = self.get(&format!("/api/v1/alerts?serviceId={service_id}&pageSize=100")).await;
        let items = page["items"].as_array().unwrap().iter().rev();
        items.map(|alert| (alert["type"].as_i64().unwrap(), alert["muted"].as_bool().unwrap())).collect()
    }

    /// A service with the given monitors, as the API returns it.
    pub async fn service(&self, name: &str, monitors: Value) -> Value {
        let body = serde_json::json!({"name": name, "severity": 2, "monitors": monitors});
        let (status, service) = self.post("/api/v1/services", &body).await;
        assert_eq!(status, 201, "{service}");
        service
    }
}

/// Settings that allow heartbeats of a second.
pub const FAST: &[(&str, &str)] = &[("MKAT_MIN_INTERVAL_SECONDS", "1"), ("MKAT_MIN_GRACE_SECONDS", "0")];

/// Token of a service's n-th monitor.
pub fn token(service: &Value, n: usize) -> String {
    service["monitors"][n]["token"].as_str().unwrap().to_owned()
}

pub fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// Status and JSON body; a body that is not JSON is its text, no body is null.
pub async fn answer(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    if text.is_empty() {
        return (status, Value::Null);
    }
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Asks until `condition` gives something, at most [`PATIENCE`].
pub async fn wait_for<T, F: Future<Output = Option<T>>>(what: &str, condition: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited too long for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Collects the log in the background and returns the port once it is told.
async fn follow_log(child: &mut Child, log: &Arc<Mutex<Vec<String>>>) -> u16 {
    let lines = BufReader::new(child.stdout.take().unwrap());
    let (found, port) = tokio::sync::oneshot::channel();
    let log = log.clone();
    std::thread::spawn(move || {
        let mut found = Some(found);
        for line in lines.lines().map_while(Result::ok) {
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            if entry["message"] == "listening"
                && let Some(found) = found.take()
            {
                let port = entry["address"].as_str().and_then(|text| text.rsplit(':').next()?.parse().ok());
                let _ = found.send(port.unwrap_or(0));
            }
            log.lock().unwrap().push(line);
        }
    });
    tokio::time::timeout(PATIENCE, port).await.unwrap().expect("the process ended before it listened")
}
