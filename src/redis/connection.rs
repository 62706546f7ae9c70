//! The operator's connection string. Opens nothing.

use std::fmt;

/// What kind of Redis the endpoints are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    Single,
    Cluster,
    /// The endpoints are sentinels watching a master of this name.
    Sentinel(String),
}

/// A parsed connection string.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// (host, port), at least one.
    pub endpoints: Vec<(String, u16)>,
    pub layout: Layout,
    pub user: Option<String>,
    pub password: Option<String>,
    pub ssl: bool,
    pub database: i64,
    /// Names of options that are accepted and have no effect here.
    pub ignored: Vec<String>,
}

/// Every mistake of a connection string. Never repeats a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct RedisMistakes(pub Vec<String>);

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("endpoints", &self.endpoints)
            .field("layout", &self.layout)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("ssl", &self.ssl)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// Options as read, before it is known what they mean together.
#[derive(Default)]
struct Options {
    endpoints: Vec<String>,
    user: Option<String>,
    password: Option<String>,
    ssl: bool,
    database: i64,
    service: Option<String>,
    cluster: Option<bool>,
    ignored: Vec<String>,
    mistakes: Vec<String>,
}

impl Options {
    fn read(text: &str) -> Self {
        let mut options = Options::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                None => options.endpoints.push(part.to_owned()),
                Some((name, value)) => options.set(name.trim(), value.trim()),
            }
        }
        options
    }

    fn set(&mut self, name: &str, value: &str) {
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "user" => self.user = text(),
            "password" => self.password = text(),
            "servicename" => self.service = text(),
            "ssl" => self.ssl = self.flag("ssl", value).unwrap_or(false),
            "cluster" => self.cluster = self.flag("cluster", value),
            "defaultdatabase" => match value.parse() {
                Ok(database @ 0..) => self.database = database,
                _ => self.mistakes.push(format!("defaultDatabase: '{value}' is not a number of 0 or more")),
            },
            _ => self.ignored.push(name.to_owned()),
        }
    }

    fn flag(&mut self, name: &str, value: &str) -> Option<bool> {
        match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "on" => Some(true),
            "false" | "no" | "0" | "off" => Some(false),
            _ => {
                self.mistakes.push(format!("{name}: '{value}' is neither true nor false"));
                None
            }
        }
    }
}

fn endpoint(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let mistake = || format!("endpoint '{text}' is not host or host:port");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(mistake)?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(mistake());
    }
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port > 0).ok_or_else(mistake)?,
        None if port.is_empty() => default_port,
        None => return Err(mistake()),
    };
    Ok((host.to_owned(), port))
}

impl RedisConfig {
    /// Reads `host:port,host:port,name=value,..`: names in any case, unknown ones ignored. Several endpoints without
    /// `serviceName` are a cluster; `cluster=true` says so for one endpoint, `cluster=false` is then a contradiction.
    pub fn parse(text: &str) -> Result<Self, RedisMistakes> {
        let Options { endpoints, user, password, ssl, database, service, cluster, ignored, mut mistakes } =
            Options::read(text);
        let default_port = match (&service, ssl) {
            (Some(_), _) => 26379,
            (None, true) => 6380,
            (None, false) => 6379,
        };
        let several = endpoints.len() > 1;
        let endpoints: Vec<_> = endpoints
            .iter()
            .filter_map(|text| endpoint(text, default_port).map_err(|mistake| mistakes.push(mistake)).ok())
            .collect();
        if endpoints.is_empty() && mistakes.is_empty() {
            mistakes.push("no endpoint given".to_owned());
        }
        let layout = match (service, cluster) {
            (Some(name), Some(true)) => {
                mistakes.push("cluster and serviceName exclude each other".to_owned());
                Layout::Sentinel(name)
            }
            (Some(name), _) => Layout::Sentinel(name),
            (None, Some(true)) => Layout::Cluster,
            (None, Some(false)) if several => {
                mistakes.push("several endpoints need serviceName when cluster is false".to_owned());
                Layout::Cluster
            }
            (None, None) if several => Layout::Cluster,
            (None, _) => Layout::Single,
        };
        if layout == Layout::Cluster && database != 0 {
            mistakes.push("defaultDatabase: a cluster has database 0 only".to_owned());
        }
        if mistakes.is_empty() {
            Ok(RedisConfig { endpoints, layout, user, password, ssl, database, ignored })
        } else {
            Err(RedisMistakes(mistakes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        RedisConfig::parse(text).expect_err(text).0
    }

    #[test]
    fn endpoints_and_options_in_any_order_and_case() {
        let config = RedisConfig::parse(" redis-1:6390 ,PASSWORD=a=b==,user=mics,defaultdatabase=3,abortConnect=false")
            .expect("valid");
        assert_eq!(config.endpoints, [("redis-1".to_owned(), 6390)]);
        assert_eq!(config.layout, Layout::Single);
        assert_eq!((config.user.as_deref(), config.password.as_deref()), (Some("mics"), Some("a=b==")));
        assert_eq!((config.database, config.ssl), (3, false));
        assert_eq!(config.ignored, ["abortConnect"]);
        assert!(!format!("{config:?}").contains("a=b"), "a password must not show");
    }

    #[test]
    fn layout_follows_from_endpoints_and_options() {
        let layout = |text| RedisConfig::parse(text).expect(text).layout;
        assert_eq!(layout("a"), Layout::Single);
        assert_eq!(layout("a,cluster=true"), Layout::Cluster);
        assert_eq!(layout("a,cluster=false"), Layout::Single);
        assert_eq!(layout("a,b:1"), Layout::Cluster);
        assert_eq!(layout("a,b,serviceName=mymaster"), Layout::Sentinel("mymaster".to_owned()));
    }

    #[test]
    fn default_ports_and_ipv6() {
        let endpoints = |text| RedisConfig::parse(text).expect(text).endpoints;
        assert_eq!(endpoints("a"), [("a".to_owned(), 6379)]);
        assert_eq!(endpoints("a,ssl=true"), [("a".to_owned(), 6380)]);
        assert_eq!(endpoints("a,serviceName=m"), [("a".to_owned(), 26379)]);
        assert_eq!(endpoints("[::1]:7000,[fe80::2]"), [("::1".to_owned(), 7000), ("fe80::2".to_owned(), 6379)]);
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        assert_eq!(mistakes(""), ["no endpoint given"]);
        assert_eq!(
            mistakes("a:x,b:0,[::1,ssl=maybe,defaultDatabase=-1"),
            [
                "ssl: 'maybe' is neither true nor false",
                "defaultDatabase: '-1' is not a number of 0 or more",
                "endpoint 'a:x' is not host or host:port",
                "endpoint 'b:0' is not host or host:port",
                "endpoint '[::1' is not host or host:port",
            ]
        );
        assert_eq!(mistakes("a,cluster=true,serviceName=m"), ["cluster and serviceName exclude each other"]);
        assert_eq!(mistakes("a,b,cluster=false"), ["several endpoints need serviceName when cluster is false"]);
        assert_eq!(mistakes("a,b,defaultDatabase=1"), ["defaultDatabase: a cluster has database 0 only"]);
    }
}
