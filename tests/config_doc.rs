//! The configuration as operators see it: the page equals the table, and values, aliases, clamps, mistakes and masking behave as it says.

use std::time::Duration;

use mics::config::{ConfigErrors, DedupMode, GatewayConfig, HookMockConfig, LogFormat, Mode, Source, VARS};

const MINIMUM: &[(&str, &str)] =
    &[("TENANT_AUTH_MAP", r#"{"t1":"http://auth.test/"}"#), ("REDIS__CONNECTION", "redis.test:6379")];

fn source(pairs: &[(&str, &str)]) -> Source {
    Source::from_pairs(MINIMUM.iter().chain(pairs).copied()).with_host_name("host-1\n")
}

fn load(pairs: &[(&str, &str)]) -> Result<(GatewayConfig, Vec<String>), ConfigErrors> {
    // Later pairs stand in for the minimum.
    let base = source(&[]).with_overrides(pairs.iter().copied());
    GatewayConfig::load(&base, Mode::Gateway)
}

fn config(pairs: &[(&str, &str)]) -> GatewayConfig {
    load(pairs).unwrap_or_else(|errors| panic!("{pairs:?}: {errors}")).0
}

fn mistakes(pairs: &[(&str, &str)]) -> Vec<String> {
    load(pairs).expect_err("mistakes expected").0.iter().map(ToString::to_string).collect()
}

#[test]
fn page_equals_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page == mics::config::markdown(), "docs/config.md is out of date: write the output of `mics config` to it");
}

#[test]
fn defaults_are_those_of_the_contract() {
    let c = config(&[]);
    assert_eq!((c.port, c.grpc_port, c.admin_port, c.bind_address.to_string().as_str()), (8080, 0, 0, "::"));
    assert_eq!((c.node_id.as_str(), c.public_endpoint.as_str()), ("host-1", "http://localhost:8080"));
    assert_eq!((c.hook_max_concurrency, c.hook_queue_timeout), (32, Duration::from_millis(10)));
    assert_eq!((c.max_message_bytes, c.group_members_max_users), (1_048_576, 200_000));
    assert_eq!((c.dedup_mode, c.log_format, c.log_level.as_str()), (DedupMode::Memory, LogFormat::Json, "info"));
    assert_eq!((c.kafka_bootstrap_servers, c.drain_timeout), (None, Duration::from_secs(10)));
    assert_eq!(c.tenants["t1"].auth_url, "http://auth.test");
    assert!(!c.hook_sign_required && c.tenants["t1"].secret.is_none());
}

#[test]
fn every_number_is_read_from_the_table() {
    // A text that is no number must be reported for each of them: a variable that nobody reads would be missing.
    use mics::config::Kind;
    let numbers: Vec<&str> = VARS
        .iter()
        .filter(|v| matches!(v.kind, Kind::Int { .. } | Kind::Port | Kind::PositiveOrDefault | Kind::Bool))
        .map(|v| v.name)
        .collect();
    let pairs: Vec<(&str, &str)> = numbers.iter().map(|name| (*name, "many")).collect();
    let errors = load(&pairs).unwrap_err();
    for name in &numbers {
        assert!(errors.0.iter().any(|e| e.name == *name && e.value_shown == "many"), "{name} is not read");
    }
    assert_eq!(errors.0.len(), numbers.len());
}

#[test]
fn defaults_lie_in_their_ranges() {
    for var in VARS {
        if let mics::config::Kind::Int { min, max } = var.kind {
            let default: i64 = var.default.parse().unwrap();
            assert!((min..=max).contains(&default), "{}", var.name);
        }
    }
    assert!(load(&[("PUBLIC_ENDPOINT", "http://n1:8080")]).unwrap().1.is_empty());
}

#[test]
fn other_spellings_are_found() {
    type Check = fn(&GatewayConfig) -> bool;
    let kafka: Check = |c| c.kafka_bootstrap_servers.as_deref() == Some("k1:9092,k2:9092");
    let cases: &[(&str, &str, Check)] = &[
        ("port", "9000", |c| c.port == 9000),
        ("KAFKA__BOOTSTRAP_SERVERS", "k1:9092,k2:9092", kafka),
        ("KAFKA__BOOTSTRAPSERVERS", "k1:9092,k2:9092", kafka),
        ("Kafka:BootstrapServers", "k1:9092,k2:9092", kafka),
        ("Redis:Connection", "r2:1", |c| c.redis_connection.as_ref().unwrap().expose() == "r2:1"),
        ("Tenants__HookSecrets__t1", "s", |c| c.tenants["t1"].secret.as_ref().unwrap().expose() == "s"),
        ("TENANTS__HOOKMAXCONCURRENCY__t1", "7", |c| c.tenants["t1"].hook_max_concurrency == Some(7)),
        ("Logging__LogLevel__Default", "Warning", |c| c.log_level == "warn"),
        ("LOG_LEVEL", "Information, mics::hooks=Trace", |c| c.log_level == "info,mics::hooks=trace"),
        ("DEDUP_MODE", " Redis ", |c| c.dedup_mode == DedupMode::Redis),
        ("LOG_FORMAT", "TEXT", |c| c.log_format == LogFormat::Text),
        ("HOOK_DENY_WHEN_DEGRADED", r#"{"t1":true}"#, |c| c.tenants["t1"].deny_when_degraded),
        ("HOOK_URL_ALLOW_LIST", "*.Example.com, hooks.test", |c| {
            c.hook_url_allow_list == ["*.example.com", "hooks.test"]
        }),
        ("GRPC_PORT", "8090", |c| c.public_endpoint == "http://localhost:8090"),
        ("BIND_ADDRESS", "127.0.0.1", |c| c.bind_address.is_loopback()),
        ("PORT", "", |c| c.port == 8080),
    ];
    for (name, value, holds) in cases {
        assert!(holds(&config(&[(name, value)])), "{name}={value}");
    }
    let signed = [("Hook:SignRequired", "True"), ("Tenants__HookSecrets__t1", "s")];
    assert!(config(&signed).hook_sign_required);
    let section =
        Source::from_pairs([("Tenants__AuthMap__A.b", "https://a.test:8443/base"), ("REDIS__CONNECTION", "r")]);
    let (c, _) = GatewayConfig::load(&section, Mode::Gateway).unwrap();
    assert_eq!(c.tenants["A.b"].auth_url, "https://a.test:8443/base");
}

#[test]
fn json_replaces_the_section() {
    let c = config(&[("Tenants__AuthMap__t9", "http://nine.test")]);
    assert_eq!(c.tenants.keys().collect::<Vec<_>>(), ["t1"]);
}

#[test]
fn out_of_range_is_clamped_with_a_warning() {
    type Read = fn(&GatewayConfig) -> u128;
    let cases: &[(&str, &str, u128, Read)] = &[
        ("HOOK_QUEUE_TIMEOUT_MS", "-1", 0, |c| c.hook_queue_timeout.as_millis()),
        ("HOOK_QUEUE_TIMEOUT_MS", "10001", 10_000, |c| c.hook_queue_timeout.as_millis()),
        ("HOOK_MAX_CONCURRENCY", "0", 32, |c| c.hook_max_concurrency as u128),
        ("HOOK_MAX_CONCURRENCY", "9999999999", i32::MAX as u128, |c| c.hook_max_concurrency as u128),
        ("KAFKA_MAX_ATTEMPTS", "0", 1, |c| c.kafka_max_attempts.into()),
        ("LOCAL_ROUTE_CACHE_SIZE_BYTES", "-5", 0, |c| c.local_route_cache_size_bytes as u128),
        ("LOCAL_ROUTE_CACHE_SIZE_BYTES", "99999999999", 1 << 30, |c| c.local_route_cache_size_bytes as u128),
        ("SESSION_OUTBOX_MAX_BYTES", "1", 65_536, |c| c.session_outbox_max_bytes as u128),
        ("SESSION_PIPELINE_WINDOW", "300", 256, |c| c.session_pipeline_window as u128),
        ("DRAIN_TIMEOUT_SECONDS", "601", 600, |c| c.drain_timeout.as_secs().into()),
    ];
    for (name, value, expected, read) in cases {
        let (config, warnings) = load(&[(name, value)]).unwrap();
        assert_eq!(read(&config), *expected, "{name}={value}");
        assert!(warnings.iter().any(|w| w.starts_with(name) && w.contains(value)), "{name}={value}: {warnings:?}");
    }
}

#[test]
fn doubtful_values_give_a_warning() {
    for (name, value) in [
        ("DEDUP_MODE", "disk"),
        ("TENANT_HOOK_SECRETS", r#"{"t2":"s"}"#),
        ("HOOK_DENY_WHEN_DEGRADED", r#"{"t2":true}"#),
        ("TENANT_HOOK_MAX_CONCURRENCY", r#"{"t1":0}"#),
    ] {
        let (config, warnings) = load(&[(name, value)]).unwrap();
        assert!(warnings.iter().any(|w| w.starts_with(name)), "{name}: {warnings:?}");
        assert_eq!(config.tenants["t1"].hook_max_concurrency, None);
        assert_eq!(config.dedup_mode, DedupMode::Memory);
    }
}

#[test]
fn every_mistake_names_its_variable() {
    let long = format!(r#"{{"{}":"http://a"}}"#, "t".repeat(65));
    for (name, value, problem) in [
        ("PORT", "70000", "not a port"),
        ("PORT", "80a", "not a whole number"),
        ("HOOK_SIGN_REQUIRED", "perhaps", "not true or false"),
        ("HOOK_SIGN_REQUIRED", "true", "tenant \"t1\""),
        ("LOG_FORMAT", "xml", "json, text"),
        ("LOG_LEVEL", "loud", "not a level"),
        ("BIND_ADDRESS", "here", "not an IP address"),
        ("NODE_ID", "a|b", "must not contain |"),
        ("NODE_ID", "live", "reserved"),
        ("PUBLIC_ENDPOINT", "http://a|b", "must not contain |"),
        ("PUBLIC_ENDPOINT", "node1:8080", "not an absolute"),
        ("GRPC_PORT", "8080", "is also PORT"),
        ("HOOK_URL_ALLOW_LIST", "a b", "host pattern"),
        ("TENANT_AUTH_MAP", "{", "is not JSON"),
        ("TENANT_AUTH_MAP", "[]", "not a JSON object"),
        ("TENANT_AUTH_MAP", r#"{"t 1":"http://a"}"#, "not a tenant id"),
        ("TENANT_AUTH_MAP", &long, "not a tenant id"),
        ("TENANT_AUTH_MAP", r#"{"t1":5}"#, "\"t1\" is not a URL"),
        ("TENANT_AUTH_MAP", r#"{"t1":"ftp://a"}"#, "\"t1\" is not an absolute"),
        ("TENANT_AUTH_MAP", r#"{"t1":"http://"}"#, "has no host"),
        ("TENANT_AUTH_MAP", r#"{"t1":"http://a:x/"}"#, "has a port"),
        ("TENANT_AUTH_MAP", r#"{"t1":"http://[::1]:0"}"#, "has a port"),
        ("TENANT_AUTH_MAP", r#"{"t1":"http://a/?q=1"}"#, "query"),
        ("TENANT_AUTH_MAP", "", "is required"),
        ("TENANT_HOOK_MAX_CONCURRENCY", r#"{"t1":"x"}"#, "\"t1\" is not a whole number"),
        ("MICS_CONFIG_FILE", "/nowhere/mics.toml", "cannot be read"),
    ] {
        let found = mistakes(&[(name, value)]);
        assert!(found.iter().any(|m| m.starts_with(name) && m.contains(problem)), "{name}={value}: {found:?}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once_one_line_each() {
    let pairs = [
        ("PORT", "x"),
        ("LOG_FORMAT", "xml"),
        ("TENANT_AUTH_MAP", ""),
        ("MAX_MESSAGE_BYTES", "1 MiB"),
        ("NODE_ID", "a|\n"),
    ];
    let errors = load(&pairs).unwrap_err();
    let text = errors.to_string();
    assert_eq!(text.lines().count(), pairs.len(), "{text}");
    for (name, _) in pairs {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing in {text}");
    }
}

#[test]
fn secrets_are_never_shown() {
    for (name, value) in [
        ("TENANT_HOOK_SECRETS", r#"{"t1":{"k":"hidden"}}"#),
        ("TENANT_HOOK_SECRETS", r#"{"t1":"hidden"#),
        ("TENANT_HOOK_SECRETS", r#"["hidden"]"#),
        ("TENANT_AUTH_MAP", r#"{"t1":"http://user:hidden@host"}"#),
        ("PUBLIC_ENDPOINT", "http://user:hidden@host"),
    ] {
        let errors = load(&[(name, value)]).unwrap_err();
        assert!(errors.to_string().contains("***"), "{errors}");
        assert!(!format!("{errors} {errors:?}").contains("hidden"), "{errors}");
    }
    let file = source(&[]).with_file_text("PORT = 1\nTENANT_HOOK_SECRETS = { t1 = \"hidden }");
    let errors = GatewayConfig::load(&file, Mode::Gateway).unwrap_err();
    assert!(errors.to_string().contains("line 2") && !format!("{errors:?}").contains("hidden"), "{errors}");
    let set = [
        ("TENANT_HOOK_SECRETS", r#"{"t1":"hidden"}"#),
        ("REDIS__CONNECTION", "r:1,password=hidden"),
        ("CLUSTER_GRPC_TOKEN", "hidden"),
    ];
    let (config, warnings) = load(&set).unwrap();
    assert_eq!(config.cluster_grpc_token.as_ref().unwrap().expose(), "hidden");
    assert!(!format!("{config:?} {warnings:?} {}", config.cluster_grpc_token.as_ref().unwrap()).contains("hidden"));
}

#[test]
fn dev_needs_nothing() {
    let empty = Source::from_pairs([] as [(&str, &str); 0]);
    let (config, warnings) = GatewayConfig::load(&empty, Mode::Dev).unwrap();
    assert!(config.tenants.is_empty() && config.redis_connection.is_none() && warnings.is_empty());
    let missing: Vec<String> =
        GatewayConfig::load(&empty, Mode::Gateway).unwrap_err().0.into_iter().map(|error| error.name).collect();
    assert_eq!(missing, ["TENANT_AUTH_MAP"]);
}

#[test]
fn file_gives_values_and_the_environment_wins() {
    let text = r#"
port = 9001
MAX_MESSAGE_BYTES = 2048
KAFKA__BOOTSTRAP_SERVERS = ["k1:1", "k2:2"]
HOOK_SIGN_REQUIRED = false
PORTT = 1

[TENANT_AUTH_MAP]
t1 = "http://file-1.test"
t2 = "http://file-2.test"

[Tenants.HookSecrets]
t1 = "from file"
t2 = "from file"
"#;
    let env =
        Source::from_pairs([("PORT", "9002"), ("REDIS__CONNECTION", "r:1"), ("Tenants__HookSecrets__t2", "from env")]);
    let (c, warnings) = GatewayConfig::load(&env.clone().with_file_text(text), Mode::Gateway).unwrap();
    assert_eq!((c.port, c.max_message_bytes), (9002, 2048));
    assert_eq!(c.kafka_bootstrap_servers.as_deref(), Some("k1:1,k2:2"));
    assert_eq!(c.tenants["t2"].auth_url, "http://file-2.test");
    assert_eq!(c.tenants["t1"].secret.as_ref().unwrap().expose(), "from file");
    assert_eq!(c.tenants["t2"].secret.as_ref().unwrap().expose(), "from env");
    assert!(warnings.iter().any(|w| w.starts_with("PORTT")), "{warnings:?}");

    let over =
        env.with_overrides([("TENANT_AUTH_MAP", r#"{"t3":"http://env.test"}"#), ("KAFKA__BOOTSTRAP_SERVERS", "")]);
    let (c, _) = GatewayConfig::load(&over.with_file_text(text), Mode::Gateway).unwrap();
    assert_eq!(c.tenants.keys().collect::<Vec<_>>(), ["t3"]);
    assert_eq!(c.kafka_bootstrap_servers, None, "an empty value hides the file's");
}

#[test]
fn file_is_read_from_its_path() {
    let path = std::env::temp_dir().join(format!("mics-config-{}.toml", std::process::id()));
    std::fs::write(&path, "PORT = 9003\n").unwrap();
    let c = config(&[("MICS_CONFIG_FILE", path.to_str().unwrap())]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!((c.port, c.config_file), (9003, Some(path)));
}

#[test]
fn hook_mock_has_its_own_defaults() {
    let (c, warnings) = HookMockConfig::load(&Source::from_pairs([("HOSTNAME", "h")])).unwrap();
    assert_eq!((c.port, c.hook_base_url.as_str()), (8081, "http://localhost:8081"));
    assert_eq!(c.hook_tenant_secrets["t1"].expose(), "dev-secret-t1");
    assert_eq!(c.hook_group_members["group-1"], ["u1", "u2", "u3"]);
    assert!(!c.offline_use_hook_pull && c.hook_tenant_policies.is_empty() && warnings.is_empty());
    assert_eq!(c.policy_of("t1"), Default::default());
}

#[test]
fn hook_mock_policies_fall_back_to_the_global_values() {
    let pairs = [
        ("HOOK_TENANT_SECRETS", "{}"),
        (
            "HOOK_TENANT_POLICIES",
            r#"{"t1":{"hookMaxConcurrency":4,"hookSignRequired":false,"hookBreakerOpenMs":-1,"x":1,"groupPageSize":500}}"#,
        ),
        ("HOOK_MAX_CONCURRENCY", "8"),
        ("HOOK_QUEUE_TIMEOUT_MS", "0"),
        ("HOOK_BREAKER_FAILURE_THRESHOLD", "0"),
        ("HOOK_SIGN_REQUIRED", "true"),
        ("OFFLINE_USE_HOOK_PULL", "true"),
    ];
    let (c, warnings) = HookMockConfig::load(&Source::from_pairs(pairs)).unwrap();
    assert!(c.hook_tenant_secrets.is_empty() && c.offline_use_hook_pull);
    let (own, other) = (c.policy_of("t1"), c.policy_of("t2"));
    assert_eq!((own.hook_max_concurrency, other.hook_max_concurrency), (Some(4), Some(8)));
    assert_eq!((own.hook_sign_required, other.hook_sign_required), (Some(false), Some(true)));
    assert_eq!(
        (own.hook_queue_timeout_ms, own.hook_breaker_failure_threshold, own.hook_breaker_open_ms),
        (Some(0), None, None)
    );
    assert_eq!((own.group_page_size, other.group_page_size, own.group_cache_ttl_seconds), (Some(500), None, None));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let errors = HookMockConfig::load(&Source::from_pairs([
        ("HOOK_GROUP_MEMBERS", r#"{"g":[1]}"#),
        ("HOOK_BASE_URL", "x"),
        ("HOOK_TENANT_SECRETS", r#"{"t":7777}"#),
        ("HOOK_TENANT_POLICIES", r#"{"t":{"hookMaxConcurrency":"many"}}"#),
    ]))
    .unwrap_err();
    assert_eq!(errors.0.len(), 4, "{errors}");
    assert!(!errors.to_string().contains("7777"), "{errors}");
}

#[test]
fn settings_of_the_kafka_client_have_its_names_and_stay_secret() {
    let file = "KAFKA_PROP_SASL_PASSWORD = \"from-file\"\nKAFKA_PROP_LINGER_MS = 7\n";
    let pairs =
        [("KAFKA_PROP_SASL_PASSWORD", "hunter2"), ("kafka_prop_Security_Protocol", " SASL_SSL "), ("KAFKA_PROP_", "x")];
    let base = source(&[]).with_overrides(pairs).with_file_text(file);
    let (config, warnings) = GatewayConfig::load(&base, Mode::Gateway).unwrap();
    let read: Vec<(&str, &str)> =
        config.kafka_properties.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(read, [("linger.ms", "7"), ("sasl.password", "hunter2"), ("security.protocol", "SASL_SSL")]);
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!warnings.iter().any(|warning| warning.contains("KAFKA_PROP")), "{warnings:?}");
}

/// A file that is gone when this is dropped.
struct Temporary(std::path::PathBuf);

impl Temporary {
    fn new(name: &str, text: &str) -> Temporary {
        let path = std::env::temp_dir().join(format!("mics-config-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Temporary(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_tenants_file_is_the_only_source_of_tenants() {
    let toml = "[TENANT_AUTH_MAP]\na = \"http://a.test/\"\nb = \"http://b.test\"\n[TENANT_HOOK_SECRETS]\na = \"s\"\n\
                [TENANT_HOOK_MAX_CONCURRENCY]\na = 7\n[HOOK_DENY_WHEN_DEGRADED]\nb = true\n";
    let json = r#" {"TENANT_AUTH_MAP": {"a": "http://a.test", "b": "http://b.test/"}, "tenant_hook_secrets": {"a": "s"},
        "TENANT_HOOK_MAX_CONCURRENCY": {"a": 7}, "HOOK_DENY_WHEN_DEGRADED": {"b": true}}"#;
    let files = [Temporary::new("tenants.toml", toml), Temporary::new("tenants.json", json)];
    let loaded = files.each_ref().map(|file| load(&[("TENANTS_FILE", file.path())]).unwrap());
    for (config, warnings) in &loaded {
        assert_eq!(config.tenants.keys().collect::<Vec<_>>(), ["a", "b"]);
        let (a, b) = (&config.tenants["a"], &config.tenants["b"]);
        assert_eq!(
            (a.auth_url.as_str(), a.hook_max_concurrency, a.deny_when_degraded),
            ("http://a.test", Some(7), false)
        );
        assert_eq!(a.secret.as_ref().map(|secret| secret.expose()), Some("s"));
        assert!(b.deny_when_degraded && b.secret.is_none());
        let ignored = warnings.iter().any(|w| w.starts_with("TENANT_AUTH_MAP") && w.contains("TENANTS_FILE is set"));
        assert!(ignored, "the environment's map is ignored, and that is said: {warnings:?}");
    }
    assert_eq!(loaded[0].0.tenants, loaded[1].0.tenants);
}

#[test]
fn mistakes_in_a_tenants_file_are_all_named_and_show_no_secret() {
    let of = |name: &str, text: &str| {
        let file = Temporary::new(name, text);
        mistakes(&[("TENANTS_FILE", file.path())])
    };
    let found = of(
        "wrong.toml",
        "PORT = 1\n[TENANT_AUTH_MAP]\na = \"ftp://a\"\n\"b c\" = \"http://b\"\n[TENANT_HOOK_SECRETS]\na = [\"hush\"]\n[TENANT_HOOK_SECRET]\na = \"hush\"\n",
    );
    for part in ["\"PORT\" is not one of", "TENANT_HOOK_SECRET__a", "ftp://a", "b c", "TENANT_HOOK_SECRETS=***"] {
        assert!(found.iter().any(|mistake| mistake.contains(part)), "{part} is not in {found:#?}");
    }
    assert!(!found.iter().any(|mistake| mistake.contains("hush")), "{found:#?}");
    let found = of("broken.toml", "[TENANT_AUTH_MAP]\na = \"http://a\n[TENANT_HOOK_SECRETS]\na = \"hush\n");
    assert!(matches!(&found[..], [one] if one.contains("line 2 is not TOML") && !one.contains("hush")), "{found:#?}");
    let found = of("broken.json", "{\"TENANT_HOOK_SECRETS\": {\"a\": \"hush\" ");
    assert!(matches!(&found[..], [one] if one.contains("is not JSON") && !one.contains("hush")), "{found:#?}");
    assert!(matches!(&of("empty", "")[..], [one] if one.starts_with("TENANT_AUTH_MAP: is required")));
    assert!(matches!(&mistakes(&[("TENANTS_FILE", "/nowhere")])[..], [one] if one.contains("cannot be read")));
}

#[test]
fn the_admin_port_is_closed_to_strangers() {
    let open = [("ADMIN_PORT", "9090"), ("ADMIN_BIND_ADDRESS", "0.0.0.0")];
    assert!(mistakes(&open)[0].contains("needs ADMIN_TOKEN"));
    let (config, warnings) = load(&[open[0], open[1], ("ADMIN_TOKEN", "short")]).unwrap();
    assert!(config.admin_bind_address.is_unspecified() && warnings.iter().any(|w| w.contains("can be guessed")));
    assert_eq!(config.admin_system_user, "system");
    let here = load(&[("ADMIN_PORT", "9090"), ("ADMIN_BIND_ADDRESS", "::1")]).unwrap().0;
    assert!(here.admin_bind_address.is_loopback() && here.admin_token.is_none());
    assert!(mistakes(&[("ADMIN_SYSTEM_USER", "a\u{7}")])[0].starts_with("ADMIN_SYSTEM_USER"));
}
