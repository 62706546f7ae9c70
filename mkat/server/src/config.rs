//! Settings from the environment. The only file that reads it; everything wrong is reported at once.

use ipnet::IpNet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

/// One variable: name, default (empty: none), secret, meaning. `<NAME>_FILE` may name a file that holds the value.
struct Setting {
    name: &'static str,
    default: &'static str,
    secret: bool,
    about: &'static str,
}

const fn setting(name: &'static str, default: &'static str, about: &'static str) -> Setting {
    Setting { name, default, secret: false, about }
}

const fn secret(name: &'static str, about: &'static str) -> Setting {
    Setting { name, default: "", secret: true, about }
}

const SETTINGS: &[Setting] = &[
    setting("MKAT_PORT", "8090", "port to listen on; 0 takes a free one"),
    setting("MKAT_BIND", "0.0.0.0", "address to listen on"),
    setting("MKAT_DB", "mkat.db", "path of the database file (MKAT_DATABASE_PATH is read too)"),
    setting("MKAT_USERNAME", "admin", "name to sign in with"),
    secret("MKAT_PASSWORD", "password to sign in with; without it one is made at the first start and printed once"),
    setting("MKAT_PUBLIC_URL", "", "how others reach this instance, e.g. https://watch.example.org (no path)"),
    setting("MKAT_BASE_PATH", "/mkat", "path under which everything is served besides the root"),
    setting("MKAT_TRUSTED_PROXIES", "", "addresses or networks whose X-Forwarded-* headers are believed, by comma"),
    setting("MKAT_INSTANCE_NAME", "", "name shown to peers; default: the host name"),
    setting(
        "MKAT_PEER_INTERVAL_SECONDS",
        "30",
        "how often peers are asked to send a heartbeat; missed after three times that",
    ),
    setting("MKAT_LOG_LEVEL", "info", "error, warn, info, debug, trace, or a filter such as mkat=debug"),
    setting("MKAT_SESSION_HOURS", "168", "how long a browser stays signed in"),
    setting("MKAT_WORKERS", "2", "threads that serve HTTP"),
    setting("MKAT_MIN_INTERVAL_SECONDS", "30", "shortest interval that a monitor may have"),
    setting("MKAT_MIN_GRACE_SECONDS", "60", "shortest grace period that a monitor may have"),
    secret("MKAT_METRICS_TOKEN", "bearer token for /metrics; without it /metrics asks for the sign-in"),
    secret("MKAT_TELEGRAM_BOT_TOKEN", "bot of the default contact"),
    setting("MKAT_TELEGRAM_CHAT_ID", "", "chat of the default contact"),
    setting("MKAT_TELEGRAM_API_URL", "https://api.telegram.org", "base of the Bot API"),
    setting("MKAT_SMTP_HOST", "", "mail server; without it e-mail channels are refused"),
    setting("MKAT_SMTP_PORT", "", "default 587, 465 with tls, 25 with none"),
    setting("MKAT_SMTP_TLS", "starttls", "starttls, tls or none"),
    setting("MKAT_SMTP_USERNAME", "", "name to sign in to the mail server with"),
    secret("MKAT_SMTP_PASSWORD", "password to sign in to the mail server with"),
    setting("MKAT_SMTP_FROM", "", "sender address of mails; needed with MKAT_SMTP_HOST"),
];

#[derive(Debug, Clone)]
pub struct Config {
    pub port: u16,
    pub bind: IpAddr,
    pub database: PathBuf,
    pub username: String,
    /// None: a generated one is used (see `run`).
    pub password: Option<String>,
    /// Scheme, host and port, without path and without trailing slash.
    pub public_url: Option<String>,
    /// Begins with a slash, ends without one; empty when only the root is served.
    pub base_path: String,
    pub trusted_proxies: Vec<IpNet>,
    pub instance_name: String,
    /// How often a peer is to send us a heartbeat.
    pub peer_interval: i64,
    pub log_level: String,
    pub session_hours: u32,
    pub http_workers: usize,
    pub limits: Limits,
    pub metrics_token: Option<String>,
    pub telegram: Telegram,
    pub smtp: Option<Smtp>,
}

/// Lower bounds of what monitors may be set to, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub min_interval: i64,
    pub min_grace: i64,
}

#[derive(Debug, Clone)]
pub struct Telegram {
    /// Bot token and chat of the managed channel of the default contact.
    pub default_channel: Option<(String, String)>,
    /// Base of the Bot API without trailing slash, unless a channel names its own.
    pub api_url: String,
}

#[derive(Debug, Clone)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    pub credentials: Option<(String, String)>,
    pub from: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    StartTls,
    Tls,
    None,
}

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, Vec<String>> {
        Self::read(environment)
    }

    /// Reads settings by name. All mistakes are collected, none hides another.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let mut reader = Reader { lookup: &lookup, mistakes: Vec::new() };
        let config = reader.config();
        if reader.mistakes.is_empty() { Ok(config) } else { Err(reader.mistakes) }
    }
}

#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        Config {
            port: self.parsed("MKAT_PORT"),
            bind: self.parsed("MKAT_BIND"),
            database: self.database(),
            username: self.text("MKAT_USERNAME"),
            password: self.optional("MKAT_PASSWORD"),
            public_url: self.url("MKAT_PUBLIC_URL"),
            base_path: self.base_path(),
            trusted_proxies: self.proxies(),
            instance_name: self.optional("MKAT_INSTANCE_NAME").unwrap_or_else(host_name),
            peer_interval: self.in_range("MKAT_PEER_INTERVAL_SECONDS", 1, 3600),
            log_level: self.log_level(),
            session_hours: self.in_range("MKAT_SESSION_HOURS", 1, 8760),
            http_workers: self.in_range("MKAT_WORKERS", 1, 64),
            limits: Limits {
                min_interval: self.in_range("MKAT_MIN_INTERVAL_SECONDS", 1, 3600),
                min_grace: self.in_range("MKAT_MIN_GRACE_SECONDS", 0, 3600),
            },
            metrics_token: self.optional("MKAT_METRICS_TOKEN"),
            telegram: self.telegram(),
            smtp: self.smtp(),
        }
    }

    /// The value, else that of the file named by `<NAME>_FILE`, else None. Blank counts as absent.
    fn optional(&mut self, name: &str) -> Option<String> {
        let given = (self.lookup)(name).filter(|value| !value.trim().is_empty());
        if given.is_some() {
            return given;
        }
        let path = (self.lookup)(&format!("{name}_FILE")).filter(|path| !path.trim().is_empty())?;
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty()),
            Err(error) => {
                self.mistakes.push(format!("{name}_FILE: cannot read {path}: {error}"));
                None
            }
        }
    }

    fn text(&mut self, name: &str) -> String {
        let default = SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
        self.optional(name).unwrap_or_else(|| default.to_owned())
    }

    fn wrong<T>(&mut self, name: &str, value: &str, expected: &str, fallback: T) -> T {
        self.mistakes.push(format!("{name}={value:?}: {expected}"));
        fallback
    }

    fn parsed<T: std::str::FromStr + Fallback>(&mut self, name: &str) -> T {
        let value = self.text(name);
        value.trim().parse().unwrap_or_else(|_| self.wrong(name, &value, T::EXPECTED, T::fallback()))
    }

    fn in_range<T: std::str::FromStr + PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        name: &str,
        low: T,
        high: T,
    ) -> T {
        let value = self.text(name);
        match value.trim().parse::<T>() {
            Ok(number) if number >= low && number <= high => number,
            _ => self.wrong(name, &value, &format!("must be a number from {low} to {high}"), low),
        }
    }

    fn database(&mut self) -> PathBuf {
        match (self.lookup)("MKAT_DB").or_else(|| (self.lookup)("MKAT_DATABASE_PATH")) {
            Some(path) if !path.trim().is_empty() => path.into(),
            _ => self.text("MKAT_DB").into(),
        }
    }

    /// Scheme and host only.
    fn url(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name)?;
        match url::Url::parse(value.trim()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none() => {
                Some(url.origin().ascii_serialization())
            }
            _ => self.wrong(name, &value, "must be http(s)://host[:port] without a path", None),
        }
    }

    fn base_path(&mut self) -> String {
        let value = self.text("MKAT_BASE_PATH");
        let path = value.trim().trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/".contains(c);
        let reserved = ["api", "webhook", "heartbeat", "metric", "ping", "alertmanager", "health", "metrics"];
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_ascii_lowercase();
        if path.is_empty()
            || path.starts_with('/') && path.chars().all(plain) && !path.contains("//") && !path.contains("/.")
        {
            if reserved.contains(&first.as_str()) {
                return self.wrong("MKAT_BASE_PATH", &value, "must not begin with a path of mkat's own", String::new());
            }
            return path.to_owned();
        }
        self.wrong(
            "MKAT_BASE_PATH",
            &value,
            "must be a plain path such as /mkat, or / for the root only",
            String::new(),
        )
    }

    fn proxies(&mut self) -> Vec<IpNet> {
        let value = self.text("MKAT_TRUSTED_PROXIES");
        let parts = value.split(',').map(str::trim).filter(|part| !part.is_empty());
        let mut networks = Vec::new();
        for part in parts {
            match part.parse::<IpNet>().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from)) {
                Some(network) => networks.push(network),
                None => {
                    self.wrong("MKAT_TRUSTED_PROXIES", part, "must be addresses or networks (10.0.0.0/8), by comma", ())
                }
            }
        }
        networks
    }

    fn log_level(&mut self) -> String {
        let value = self.text("MKAT_LOG_LEVEL");
        // The names of the reference's documentation are understood too.
        let level = match value.trim().to_ascii_lowercase().as_str() {
            "information" => "info".to_owned(),
            "warning" => "warn".to_owned(),
            "fatal" | "critical" => "error".to_owned(),
            "verbose" => "trace".to_owned(),
            _ => value.trim().to_owned(),
        };
        match level.parse::<tracing_subscriber::filter::Targets>() {
            Ok(_) => level,
            Err(_) => {
                self.wrong("MKAT_LOG_LEVEL", &value, "must be error, warn, info, debug, trace or a filter", level)
            }
        }
    }

    fn telegram(&mut self) -> Telegram {
        let token = self.optional("MKAT_TELEGRAM_BOT_TOKEN");
        let chat = self.optional("MKAT_TELEGRAM_CHAT_ID");
        let value = self.text("MKAT_TELEGRAM_API_URL");
        let api_url = value.trim().trim_end_matches('/').to_owned();
        if !url::Url::parse(&api_url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            self.wrong("MKAT_TELEGRAM_API_URL", &value, "must be an http(s) address", ());
        }
        Telegram { default_channel: token.zip(chat), api_url }
    }

    fn smtp(&mut self) -> Option<Smtp> {
        let host = self.optional("MKAT_SMTP_HOST")?;
        let (tls, default_port) = match self.text("MKAT_SMTP_TLS").trim() {
            "starttls" => (SmtpTls::StartTls, 587),
            "tls" => (SmtpTls::Tls, 465),
            "none" => (SmtpTls::None, 25),
            other => self.wrong("MKAT_SMTP_TLS", other, "must be starttls, tls or none", (SmtpTls::StartTls, 587)),
        };
        let port = match self.optional("MKAT_SMTP_PORT") {
            None => default_port,
            Some(text) => text.trim().parse().unwrap_or_else(|_| self.wrong("MKAT_SMTP_PORT", &text, u16::EXPECTED, 0)),
        };
        let credentials = self.optional("MKAT_SMTP_USERNAME").zip(self.optional("MKAT_SMTP_PASSWORD"));
        let from = self.optional("MKAT_SMTP_FROM").unwrap_or_default();
        if from.parse::<lettre::message::Mailbox>().is_err() {
            self.wrong("MKAT_SMTP_FROM", &from, "must be a mail address when MKAT_SMTP_HOST is set", ());
        }
        Some(Smtp { host, port, tls, credentials, from })
    }
}

/// What is used in place of a value that cannot be read, until the mistakes are reported.
trait Fallback {
    const EXPECTED: &'static str;
    fn fallback() -> Self;
}

impl Fallback for u16 {
    const EXPECTED: &'static str = "must be a number from 0 to 65535";
    fn fallback() -> Self {
        0
    }
}

impl Fallback for IpAddr {
    const EXPECTED: &'static str = "must be an IP address";
    fn fallback() -> Self {
        Self::from([0, 0, 0, 0])
    }
}

fn host_name() -> String {
    hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_else(|| "mkat".into())
}

/// The settings as a table: name, default, meaning.
pub fn help() -> String {
    let mut text = String::from("Environment (each also as NAME_FILE, naming a file that holds the value):\n");
    for Setting { name, default, about, .. } in SETTINGS {
        let default = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        let _ = writeln!(text, "  {name:<24} {about}{default}");
    }
    text
}

/// The settings in force, one a line; secrets are not shown.
pub fn in_force() -> String {
    let mut text = String::new();
    for Setting { name, default, secret, about } in SETTINGS {
        let given = environment(name).filter(|value| !value.is_empty());
        let shown = match (given, environment(&format!("{name}_FILE"))) {
            (Some(_), _) if *secret => "(set)".to_owned(),
            (Some(value), _) => value,
            (None, Some(path)) => format!("(from {path})"),
            (None, None) => (*default).to_owned(),
        };
        let _ = writeln!(text, "{name}={shown}\n    # {about}");
    }
    text
}

/// Variables that look like settings and are none: misspelled, most likely. No mistake, because Kubernetes sets some by itself
/// (`MKAT_SERVICE_HOST`) beside a service called mkat.
pub fn unknown() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("MKAT_") && !is_setting(name)).collect()
}

fn is_setting(name: &str) -> bool {
    let plain = name.strip_suffix("_FILE").unwrap_or(name);
    plain == "MKAT_DATABASE_PATH" || SETTINGS.iter().any(|setting| setting.name == plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        Config::read(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned()))
    }

    #[test]
    fn nothing_set_is_fine() {
        let config = read(&[]).unwrap();
        assert_eq!((config.port, config.base_path.as_str(), config.username.as_str()), (8090, "/mkat", "admin"));
        assert!(config.password.is_none() && config.smtp.is_none() && config.telegram.default_channel.is_none());
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let mistakes = read(&[
            ("MKAT_PORT", "eighty"),
            ("MKAT_BIND", "here"),
            ("MKAT_PUBLIC_URL", "https://x/with/path"),
            ("MKAT_BASE_PATH", "mkat"),
            ("MKAT_TRUSTED_PROXIES", "10.0.0.0/8, nobody"),
            ("MKAT_LOG_LEVEL", "mkat=loud"),
            ("MKAT_SESSION_HOURS", "0"),
            ("MKAT_TELEGRAM_API_URL", "telegram"),
            ("MKAT_SMTP_HOST", "mail"),
            ("MKAT_SMTP_TLS", "maybe"),
            ("MKAT_SMTP_PORT", "70000"),
            ("MKAT_PASSWORD_FILE", "/does/not/exist"),
        ])
        .unwrap_err();
        for name in [
            "MKAT_PORT",
            "MKAT_BIND",
            "MKAT_PUBLIC_URL",
            "MKAT_BASE_PATH",
            "MKAT_TRUSTED_PROXIES",
            "MKAT_LOG_LEVEL",
            "MKAT_SESSION_HOURS",
            "MKAT_TELEGRAM_API_URL",
            "MKAT_SMTP_TLS",
            "MKAT_SMTP_PORT",
            "MKAT_SMTP_FROM",
            "MKAT_PASSWORD_FILE",
        ] {
            assert_eq!(mistakes.iter().filter(|text| text.starts_with(name)).count(), 1, "{name}: {mistakes:?}");
        }
        assert_eq!(mistakes.len(), 12);
    }

    #[test]
    fn base_path_may_be_the_root_but_not_one_of_our_own() {
        assert_eq!(read(&[("MKAT_BASE_PATH", "/")]).unwrap().base_path, "");
        assert_eq!(read(&[("MKAT_BASE_PATH", "/a/b/")]).unwrap().base_path, "/a/b");
        assert!(read(&[("MKAT_BASE_PATH", "/api/x")]).is_err());
        assert!(read(&[("MKAT_BASE_PATH", "/a/../b")]).is_err());
    }
}
