//! Settings of `mics hookmock`, the test double for a tenant's back end. It must not share defaults with the gateway: names are the same,
//! meanings are not.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parse::Reader;
use super::source::{ConfigErrors, Secret, Source};
use super::values;
use super::vars::{HOOK_MOCK_VARS, VARS};

/// Settings of the hook mock, one field per variable of [`HOOK_MOCK_VARS`]; the global policy fields are in `policy`.
#[derive(Debug, Clone)]
pub struct HookMockConfig {
    pub port: u16,
    /// Tenants that the mock knows, with the key of their signatures.
    pub hook_tenant_secrets: BTreeMap<String, Secret>,
    /// Without a trailing slash.
    pub hook_base_url: String,
    /// Group -> user ids.
    pub hook_group_members: BTreeMap<String, Vec<String>>,
    pub offline_use_hook_pull: bool,
    pub hook_tenant_policies: BTreeMap<String, HookPolicy>,
    /// For what a tenant's own policy leaves open.
    pub policy: HookPolicy,
}

/// Optional fields of the tenant config that /auth answers. Concurrency, threshold, page size and cache time (s) are
/// positive, times (ms) not negative.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookPolicy {
    pub hook_max_concurrency: Option<i32>,
    pub hook_queue_timeout_ms: Option<i32>,
    pub hook_breaker_failure_threshold: Option<i32>,
    pub hook_breaker_open_ms: Option<i32>,
    pub hook_sign_required: Option<bool>,
    /// Only in a tenant's own policy.
    pub group_page_size: Option<i32>,
    /// Only in a tenant's own policy.
    pub group_cache_ttl_seconds: Option<i32>,
}

impl HookMockConfig {
    /// Reads and checks everything; the same result shape as `GatewayConfig::load`.
    pub fn load(source: &Source) -> Result<(HookMockConfig, Vec<String>), ConfigErrors> {
        let mut r = Reader::new(source, HOOK_MOCK_VARS, &[HOOK_MOCK_VARS, VARS]);
        let port = r.port("PORT");
        let config = HookMockConfig {
            port,
            hook_tenant_secrets: secrets(&mut r),
            hook_base_url: base_url(&mut r, port),
            hook_group_members: group_members(&mut r),
            offline_use_hook_pull: r.bool("OFFLINE_USE_HOOK_PULL"),
            hook_tenant_policies: policies(&mut r),
            policy: HookPolicy {
                hook_max_concurrency: r.opt_number("HOOK_MAX_CONCURRENCY"),
                hook_queue_timeout_ms: r.opt_number("HOOK_QUEUE_TIMEOUT_MS"),
                hook_breaker_failure_threshold: r.opt_number("HOOK_BREAKER_FAILURE_THRESHOLD"),
                hook_breaker_open_ms: r.opt_number("HOOK_BREAKER_OPEN_MS"),
                hook_sign_required: r.opt_bool("HOOK_SIGN_REQUIRED"),
                ..HookPolicy::default()
            },
        };
        r.finish(config)
    }

    /// The policy answered for `tenant`: its own fields, then the global ones.
    pub fn policy_of(&self, tenant: &str) -> HookPolicy {
        let own = self.hook_tenant_policies.get(tenant).cloned().unwrap_or_default();
        let all = &self.policy;
        HookPolicy {
            hook_max_concurrency: own.hook_max_concurrency.or(all.hook_max_concurrency),
            hook_queue_timeout_ms: own.hook_queue_timeout_ms.or(all.hook_queue_timeout_ms),
            hook_breaker_failure_threshold: own.hook_breaker_failure_threshold.or(all.hook_breaker_failure_threshold),
            hook_breaker_open_ms: own.hook_breaker_open_ms.or(all.hook_breaker_open_ms),
            hook_sign_required: own.hook_sign_required.or(all.hook_sign_required),
            group_page_size: own.group_page_size,
            group_cache_ttl_seconds: own.group_cache_ttl_seconds,
        }
    }
}

fn secrets(r: &mut Reader) -> BTreeMap<String, Secret> {
    let mut secrets = BTreeMap::new();
    for (tenant, value) in r.map("HOOK_TENANT_SECRETS") {
        if let Some(text) = r.entry("HOOK_TENANT_SECRETS", &tenant, &value, "a text", values::as_text) {
            secrets.insert(tenant, Secret::new(text));
        }
    }
    secrets
}

fn base_url(r: &mut Reader, port: u16) -> String {
    let Some(url) = r.explicit("HOOK_BASE_URL") else { return format!("http://localhost:{port}") };
    if let Err(problem) = values::check_url(&url) {
        r.error("HOOK_BASE_URL", &url, problem);
    }
    url.trim_end_matches('/').to_owned()
}

fn group_members(r: &mut Reader) -> BTreeMap<String, Vec<String>> {
    let read =
        |value: &Value| value.as_array()?.iter().map(|id| id.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    let mut groups = BTreeMap::new();
    for (group, value) in r.map("HOOK_GROUP_MEMBERS") {
        if let Some(users) = r.entry("HOOK_GROUP_MEMBERS", &group, &value, "an array of texts", read) {
            groups.insert(group, users);
        }
    }
    groups
}

fn policies(r: &mut Reader) -> BTreeMap<String, HookPolicy> {
    const NAME: &str = "HOOK_TENANT_POLICIES";
    let mut policies = BTreeMap::new();
    for (tenant, value) in r.map(NAME) {
        let Some(fields) = r.entry(NAME, &tenant, &value, "an object", |v| v.as_object().cloned()) else { continue };
        let mut policy = HookPolicy::default();
        for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let place = format!("{tenant}.{field}");
            let mut int = |min: i32| {
                let number = r.entry(NAME, &place, value, "a whole number of 32 bits", values::as_i32)?;
                if number < min {
                    r.warn(NAME, format_args!("the value of \"{place}\" is less than {min}; ignored"));
                }
                Some(number).filter(|number| *number >= min)
            };
            match field.to_ascii_lowercase().as_str() {
                "hookmaxconcurrency" => policy.hook_max_concurrency = int(1),
                "hookqueuetimeoutms" => policy.hook_queue_timeout_ms = int(0),
                "hookbreakerfailurethreshold" => policy.hook_breaker_failure_threshold = int(1),
                "hookbreakeropenms" => policy.hook_breaker_open_ms = int(0),
                "grouppagesize" => policy.group_page_size = int(1),
                "groupcachettlseconds" => policy.group_cache_ttl_seconds = int(1),
                "hooksignrequired" => {
                    policy.hook_sign_required = r.entry(NAME, &place, value, "true or false", values::as_bool)
                }
                _ => r.warn(NAME, format_args!("{place:?} is not a field of a policy; ignored")),
            }
        }
        policies.insert(tenant, policy);
    }
    policies
}
