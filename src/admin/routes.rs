//! What the admin API offers: method, path, and who may. Ids in a path are percent-encoded UTF-8 and may hold anything
//! that an id may, slashes included. `openapi.json` says the same, by test.

use std::sync::Arc;

use mics_domain::ids;
use percent_encoding::percent_decode_str;

use super::problem::{Code, Problem};

/// Everything that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    OpenApi,
    Nodes,
    Tenants,
    Tenant,
    Presence,
    Kick,
    Publish,
    Drain,
    Reload,
    Overview,
    OverviewStream,
    Actors,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Anyone,
    Operator,
    /// The operator, and the tenant that the path names.
    Tenant,
}

#[derive(Debug)]
pub struct Endpoint {
    pub method: &'static str,
    pub path: &'static str,
    pub who: Who,
    pub op: Op,
    /// Name in the audit log, of those that change something.
    pub audit: Option<&'static str>,
}

const fn get(path: &'static str, who: Who, op: Op) -> Endpoint {
    Endpoint { method: "GET", path, who, op, audit: None }
}

const fn post(path: &'static str, who: Who, op: Op, audit: &'static str) -> Endpoint {
    Endpoint { method: "POST", path, who, op, audit: Some(audit) }
}

pub const ENDPOINTS: &[Endpoint] = &[
    get("/admin/v1/openapi.json", Who::Anyone, Op::OpenApi),
    get("/admin/v1/nodes", Who::Operator, Op::Nodes),
    get("/admin/v1/tenants", Who::Operator, Op::Tenants),
    get("/admin/v1/tenants/{tenant}", Who::Tenant, Op::Tenant),
    get("/admin/v1/tenants/{tenant}/users/{user}", Who::Tenant, Op::Presence),
    post("/admin/v1/tenants/{tenant}/users/{user}/kick", Who::Tenant, Op::Kick, "kick"),
    post("/admin/v1/tenants/{tenant}/messages", Who::Tenant, Op::Publish, "publish"),
    post("/admin/v1/drain", Who::Operator, Op::Drain, "drain"),
    post("/admin/v1/reload", Who::Operator, Op::Reload, "reload"),
    get("/admin/v1/overview", Who::Operator, Op::Overview),
    get("/admin/v1/overview/stream", Who::Operator, Op::OverviewStream),
    get("/admin/v1/actors", Who::Operator, Op::Actors),
];

/// Ids in the path; empty = the path has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    pub tenant: String,
    pub user: Arc<str>,
}

/// The endpoint of a request line. `path` as it was sent.
pub fn find(method: &str, path: &str) -> Result<(&'static Endpoint, Ids), Problem> {
    let matching = || ENDPOINTS.iter().filter(|endpoint| matches(endpoint.path, path));
    match matching().find(|endpoint| endpoint.method == method) {
        Some(endpoint) => Ok((endpoint, ids_of(endpoint.path, path)?)),
        None => Err(match matching().next() {
            Some(other) => {
                let allow = Some(other.method);
                Problem { allow, ..Problem::new(Code::MethodNotAllowed, format!("use {}", other.method)) }
            }
            None => Problem::new(Code::NotFound, "no such path; see /admin/v1/openapi.json"),
        }),
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || (wanted.starts_with('{') && !given.is_empty()) => {}
            _ => return false,
        }
    }
}

fn ids_of(pattern: &str, path: &str) -> Result<Ids, Problem> {
    let mut ids = Ids::default();
    for (wanted, given) in pattern.split('/').zip(path.split('/')) {
        let problem = |name: &str, why: String| Problem::new(Code::InvalidId, format!("{name} id {why}"));
        match wanted {
            "{tenant}" => {
                let tenant = decode(given).ok_or_else(|| problem("tenant", "is not percent-encoded UTF-8".into()))?;
                ids::check_tenant(&tenant).map_err(|error| problem("tenant", error.to_string()))?;
                ids.tenant = tenant;
            }
            "{user}" => {
                let user = decode(given).ok_or_else(|| problem("user", "is not percent-encoded UTF-8".into()))?;
                ids::check_id(&user).map_err(|error| problem("user", error.to_string()))?;
                ids.user = user.into();
            }
            _ => {}
        }
    }
    Ok(ids)
}

/// `None`: a stray `%`, or bytes that are no UTF-8.
fn decode(segment: &str) -> Option<String> {
    let bytes = segment.as_bytes();
    let whole = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    let stray = (0..bytes.len()).any(|at| bytes[at] == b'%' && !whole(at));
    if stray {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> Result<(Op, String, String), Code> {
        find(method, path)
            .map(|(endpoint, ids)| (endpoint.op, ids.tenant, ids.user.to_string()))
            .map_err(|problem| problem.code)
    }

    #[test]
    fn paths_lead_to_their_endpoint_with_decoded_ids() {
        let users = "/admin/v1/tenants/t1/users";
        let long = format!("{users}/{}", "a".repeat(257));
        let cases = [
            ("GET", "/admin/v1/nodes".to_owned(), Ok((Op::Nodes, "", ""))),
            ("GET", "/admin/v1/tenants/t.1".into(), Ok((Op::Tenant, "t.1", ""))),
            ("GET", format!("{users}/a%2Fb%20%25"), Ok((Op::Presence, "t1", "a/b %"))),
            ("GET", format!("{users}/%E5%BC%A0%E4%B8%89"), Ok((Op::Presence, "t1", "张三"))),
            ("POST", format!("{users}/..%2F..%2Fdrain/kick"), Ok((Op::Kick, "t1", "../../drain"))),
            ("GET", format!("{users}/u1/kick"), Err(Code::MethodNotAllowed)),
            ("GET", "/admin/v1/tenants/t1/users/../../nodes".into(), Err(Code::NotFound)),
            ("GET", "/admin/v1/nodes/".into(), Err(Code::NotFound)),
            ("GET", "/admin/v1/tenants//users/u".into(), Err(Code::NotFound)),
            ("GET", "/admin/v1/tenants/t%2F1".into(), Err(Code::InvalidId)),
            ("GET", format!("{users}/%00"), Err(Code::InvalidId)),
            ("GET", format!("{users}/a%0Ab"), Err(Code::InvalidId)),
            ("GET", format!("{users}/%20"), Err(Code::InvalidId)),
            ("GET", format!("{users}/%FF"), Err(Code::InvalidId)),
            ("GET", format!("{users}/100%"), Err(Code::InvalidId)),
            ("GET", format!("{users}/%+1"), Err(Code::InvalidId)),
            ("GET", long, Err(Code::InvalidId)),
        ];
        for (method, path, expected) in cases {
            let expected = expected.map(|(op, tenant, user): (Op, &str, &str)| (op, tenant.into(), user.into()));
            assert_eq!(found(method, &path), expected, "{method} {path:.80}");
        }
    }

    #[test]
    fn the_document_names_the_same_endpoints() {
        let document: serde_json::Value = serde_json::from_str(super::super::OPENAPI).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let mut documented: Vec<(String, String)> = Vec::new();
        for (path, methods) in paths {
            let methods = methods.as_object().unwrap().keys().filter(|key| *key != "parameters");
            documented.extend(methods.map(|method| (path.clone(), method.to_uppercase())));
        }
        let mut offered: Vec<(String, String)> =
            ENDPOINTS.iter().map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_owned())).collect();
        documented.sort();
        offered.sort();
        assert_eq!(documented, offered);
    }
}
