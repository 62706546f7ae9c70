//! A cluster whose nodes have an admin port, and a caller of its API that controls every header.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

use mics::admin::{Signed, signature, signed_text};
use mics_actors::node::unix_ms;
use serde_json::Value;

use super::PATIENCE;
use super::processes::{Cluster, Plan, port};

pub const TOKEN: &str = "a token of the operators";

/// A cluster and the admin port of each node.
pub struct Administered {
    pub cluster: Cluster,
    pub ports: Vec<u16>,
}

impl Administered {
    pub async fn start(n: usize, mut change: impl FnMut(&mut Plan)) -> Administered {
        let ports: Vec<u16> = (0..n).map(|_| port()).collect();
        let cluster = Cluster::with(n, |plan| {
            plan.set("ADMIN_PORT", ports[plan.number - 1]);
            plan.set("ADMIN_TOKEN", TOKEN);
            change(plan);
        })
        .await;
        Administered { cluster, ports }
    }

    /// As the operator, at the first node.
    pub fn get(&self, path: &str) -> Answer {
        call(self.ports[0], "GET", path, &[operator()], "")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        call(self.ports[0], "POST", path, &[operator()], body)
    }

    /// `mics admin` with these words, at a node; with the token, and without anything else of this process.
    pub fn command(&self, node: usize, words: &[&str]) -> Output {
        let mut command = admin_command(words);
        command.env("ADMIN_PORT", self.ports[node].to_string()).env("ADMIN_TOKEN", TOKEN);
        command.output().expect("it runs")
    }
}

pub fn admin_command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mics"));
    command.arg("admin").args(words).env_remove("ADMIN_TOKEN").env_remove("ADMIN_PORT").stdin(Stdio::null());
    command
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Answer {
    /// Status and code of a no.
    pub fn problem(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or("no code"))
    }
}

pub fn operator() -> (&'static str, String) {
    ("authorization", format!("Bearer {TOKEN}"))
}

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the admin port is open");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request. Headers that are not given: host, length, and for a body its type.
pub fn call(port: u16, method: &str, path: &str, headers: &[(&str, String)], body: &str) -> Answer {
    let given = |name: &str| headers.iter().any(|(header, _)| *header == name);
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !given("content-length") {
        head += &format!("content-length: {}\r\n", body.len());
    }
    if !given("host") {
        head += &format!("host: 127.0.0.1:{port}\r\n");
    }
    if !body.is_empty() && !given("content-type") {
        head += "content-type: application/json\r\n";
    }
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    let mut stream = connect(port);
    // A server that has said no already need not read the rest.
    let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: serde_json::from_str(body).unwrap_or_default() }
}

/// Headers of a request that a tenant signed.
pub fn signed(
    method: &str,
    path: &str,
    body: &str,
    tenant: &str,
    secret: &str,
    age_ms: i64,
) -> Vec<(&'static str, String)> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NONCES: AtomicU64 = AtomicU64::new(0);
    let at = unix_ms() - age_ms;
    let nonce = format!("nonce-{:08}-{at}", NONCES.fetch_add(1, Ordering::Relaxed));
    let request = Signed { method, target: path, body: body.as_bytes() };
    let sign = signature(secret.as_bytes(), &signed_text(&request, tenant, at, &nonce));
    vec![
        ("x-mics-tenant", tenant.to_owned()),
        ("x-mics-timestamp", at.to_string()),
        ("x-mics-nonce", nonce),
        ("x-mics-signature", sign),
    ]
}
