//! `mics admin`: the admin API from a command line. It knows the API only as it is documented, never the node itself.

mod options;
mod text;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use awc::http::Method;
use base64::Engine as _;
use mics_actors::node::unix_ms;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::config::{AdminClientConfig, Source};
use options::{Command, Options, Parsed, USAGE};

/// Longer than any call takes: a group message may wait for many hook calls.
const PATIENCE: Duration = Duration::from_secs(60);
const LARGEST_ANSWER: usize = 64 << 20;
/// Between two looks at a node that is leaving.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'&').add(b'+').add(b'%');

/// Wrong configuration or usage.
const BAD_USAGE: u8 = 2;

/// Runs the command with the words after `mics admin`.
pub fn run(arguments: Vec<String>) -> ExitCode {
    let (options, overrides) = match options::parse(&arguments) {
        Ok(Parsed::Run(options, overrides)) => (options, overrides),
        Ok(Parsed::Help) => {
            let _ = writeln!(std::io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => return usage(&format!("{problem}\n\n{USAGE}")),
    };
    let client = match Client::new(&options, overrides) {
        Ok(client) => client,
        Err(problem) => return usage(&problem),
    };
    actix_rt::System::new().block_on(async {
        match carry_out(&client, &options).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(problem) => {
                eprintln!("{problem}");
                ExitCode::FAILURE
            }
        }
    })
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(BAD_USAGE)
}

/// Where the API is, and what opens it.
struct Client {
    url: String,
    token: Option<String>,
}

impl Client {
    fn new(options: &Options, overrides: Vec<(String, String)>) -> Result<Client, String> {
        let source = Source::from_env().with_overrides(overrides);
        let (config, _) = AdminClientConfig::load(&source).map_err(|errors| errors.to_string())?;
        let url = match (&options.url, config.address) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Some(address)) => format!("http://{address}"),
            (None, None) => return Err("where is the admin API? Set ADMIN_PORT or give --url".to_owned()),
        };
        let token = match &options.token_file {
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| format!("--token-file {file}: {error}"))?;
                Some(text.trim().to_owned())
            }
            None => config.token.map(|token| token.expose().to_owned()),
        };
        Ok(Client { url, token })
    }

    /// The answer, or the API's no in words.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let url = format!("{}{path}", self.url);
        let mut request = awc::Client::new().request(method, &url).timeout(PATIENCE);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let sent = match body {
            Some(body) => request.send_json(body),
            None => request.send(),
        };
        let mut response = sent.await.map_err(|error| format!("{}: {error}", self.url))?;
        let bytes = response.body().limit(LARGEST_ANSWER).await.map_err(|error| format!("{}: {error}", self.url))?;
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if response.status().is_success() {
            return Ok(answer);
        }
        Err(text::problem(response.status().as_u16(), &answer))
    }
}

fn segment(id: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(id, SEGMENT)
}

/// True when all of it was done.
async fn carry_out(client: &Client, options: &Options) -> Result<bool, String> {
    let (method, path, body) = request(&options.command)?;
    let answer = client.ask(method, &path, body.as_ref()).await?;
    let shown = if options.json {
        format!("{answer}\n")
    } else {
        text::show(&options.command, &answer, unix_ms().unsigned_abs())
    };
    let _ = std::io::stdout().write_all(shown.as_bytes());
    match options.command {
        Command::Kick { .. } => Ok(answer["complete"] == true),
        Command::Publish { .. } => Ok(answer["ack"]["status"] == "SENT"),
        Command::Drain { wait: true } => wait_until_drained(client).await.map(|()| true),
        _ => Ok(true),
    }
}

fn request(command: &Command) -> Result<(Method, String, Option<Value>), String> {
    let get = |path: String| Ok((Method::GET, path, None));
    match command {
        Command::Nodes => get("/admin/v1/nodes".into()),
        Command::Tenants { limit, after } => {
            let parameters = [("limit", limit), ("after", after)];
            let given = parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
            let query = given.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)));
            get(format!("/admin/v1/tenants?{}", query.collect::<Vec<_>>().join("&")))
        }
        Command::Tenant(tenant) => get(format!("/admin/v1/tenants/{}", segment(tenant))),
        Command::Presence { tenant, user } => {
            get(format!("/admin/v1/tenants/{}/users/{}", segment(tenant), segment(user)))
        }
        Command::Kick { tenant, user, device } => {
            let path = format!("/admin/v1/tenants/{}/users/{}/kick", segment(tenant), segment(user));
            Ok((Method::POST, path, device.as_ref().map(|device| serde_json::json!({ "device": device }))))
        }
        Command::Publish { tenant, body, stdin } => {
            let mut body = body.clone();
            if *stdin {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).map_err(|error| format!("stdin: {error}"))?;
                body["body_base64"] = base64::engine::general_purpose::STANDARD.encode(bytes).into();
            }
            Ok((Method::POST, format!("/admin/v1/tenants/{}/messages", segment(tenant)), Some(body)))
        }
        Command::Drain { .. } => Ok((Method::POST, "/admin/v1/drain".into(), None)),
        Command::Reload => Ok((Method::POST, "/admin/v1/reload".into(), None)),
        Command::Overview => get("/admin/v1/overview".into()),
        Command::Actors => get("/admin/v1/actors".into()),
    }
}

/// Until the node that is asked says that it has left. Its own time limit ends this.
async fn wait_until_drained(client: &Client) -> Result<(), String> {
    loop {
        let answer = client.ask(Method::GET, "/admin/v1/nodes", None).await?;
        let nodes = answer["nodes"].as_array().cloned().unwrap_or_default();
        if nodes.iter().any(|node| node["here"] == true && node["state"] == "drained") {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
