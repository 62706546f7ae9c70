//! What each call of the admin API does and answers. Who may call was decided before.

use std::sync::Arc;

use actix_web::HttpResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mics_actors::node::unix_ms;
use mics_actors::publish::{self, Notice, Recipient};
use mics_actors::tenant::{Tenant, TenantChange};
use mics_domain::codes::{Refusal, cut};
use mics_domain::ids as rules;
use mics_domain::message::Ack;
use mics_domain::ports::{PeerAnswer, PeerCall, Route};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::overview::MOST_STREAMS;
use super::problem::{Code, Problem};
use super::routes::Ids;
use super::{Admin, Answer, cluster, view};

/// Tenants on a page, unless asked for otherwise, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;
/// Bytes of what is said about a body.
const LONGEST_REASON: usize = 300;
/// Devices of one user that are listed.
const MOST_DEVICES: usize = 1_000;

fn tenant_of(admin: &Admin, ids: &Ids) -> Result<Arc<Tenant>, Problem> {
    let unknown = || Problem::new(Code::UnknownTenant, format!("this node serves no tenant {}", ids.tenant));
    admin.node.tenants().get(&ids.tenant).ok_or_else(unknown)
}

/// An empty body counts as `{}`. Anything but an object is refused, and so is `null`, which may be a caller's mistake
/// and would mean "all devices".
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    // The reasons repeat names from the body, as long as their sender likes; they go to the audit log.
    let wrong = |why: String| Problem::new(Code::BadRequest, format!("the body: {}", cut(&why, LONGEST_REASON)));
    let body = if body.is_empty() { b"{}" } else { &body[..] };
    let value: Value = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let fields = value.as_object().ok_or_else(|| wrong("is not a JSON object".into()))?;
    if let Some((name, _)) = fields.iter().find(|(_, value)| value.is_null()) {
        return Err(wrong(format!("{name} is null")));
    }
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}

pub async fn nodes(admin: &Admin) -> Answer {
    let nodes = cluster::reports(&admin.node, Vec::new()).await;
    let rows: Vec<Value> = nodes.iter().map(|reported| view::node(reported, unix_ms())).collect();
    Answer::json(&json!({ "nodes": rows }))
}

pub async fn tenants(admin: &Admin, query: &str) -> Result<Answer, Problem> {
    let (mut limit, mut after) = (PAGE, String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "limit" => {
                let number = value.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
                let wrong = || Problem::new(Code::BadRequest, format!("limit is a number from 1 to {LARGEST_PAGE}"));
                limit = number.ok_or_else(wrong)?;
            }
            "after" => after = value.into_owned(),
            _ => return Err(Problem::new(Code::BadRequest, "the parameters are limit and after")),
        }
    }
    let all = admin.node.tenants().ids();
    let total = all.len();
    let mut page: Vec<Arc<str>> = all.into_iter().filter(|id| **id > *after).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let nodes = cluster::reports(&admin.node, page.clone()).await;
    let row = |id: &Arc<str>| view::tenant(&view::sum(id, &view::of_tenant(&nodes, id)));
    let rows: Vec<Value> = page.iter().map(row).collect();
    let next = page.last().filter(|_| more).map(|id| id.to_string());
    let body = json!({ "tenants": rows, "next": next, "total": total, "unreachable": unreachable(&nodes) });
    Ok(Answer::json(&body))
}

/// Ids of nodes whose figures are missing.
fn unreachable(nodes: &[cluster::Reported]) -> Vec<&str> {
    nodes.iter().filter(|node| node.report.is_err()).map(|node| &*node.peer.node).collect()
}

pub async fn tenant(admin: &Admin, ids: &Ids) -> Result<Answer, Problem> {
    let tenant = tenant_of(admin, ids)?;
    let nodes = cluster::reports(&admin.node, vec![tenant.id.clone()]).await;
    let parts = view::of_tenant(&nodes, &tenant.id);
    let all = view::sum(&tenant.id, &parts);
    let mut body = view::tenant(&all);
    let on_node = |(node, part): &(&str, &_)| {
        let mut row = view::tenant(part);
        row["node"] = (*node).into();
        row
    };
    body["limits"] = view::limits(&all);
    body["auth_url"] = tenant.settings().auth_url.as_str().into();
    body["nodes"] = parts.iter().map(on_node).collect();
    body["unreachable"] = unreachable(&nodes).into();
    Ok(Answer::json(&body))
}

pub async fn presence(admin: &Admin, ids: &Ids) -> Result<Answer, Problem> {
    let (node, tenant) = (&admin.node, tenant_of(admin, ids)?);
    let here = || tenant.sessions.of(&ids.user).iter().map(|session| session.route(node.members.me())).collect();
    let asked = node.directory.routes(&tenant.id, std::slice::from_ref(&ids.user)).await;
    let (mut routes, complete): (Vec<Route>, bool) = match asked {
        Ok(routes) => (routes.into_iter().next().unwrap_or_default(), true),
        Err(_) => (here(), false),
    };
    routes.retain(|route| !node.members.is_dead(&route.at));
    routes.sort_by(|a, b| a.device.cmp(&b.device));
    let online = routes.len();
    routes.truncate(MOST_DEVICES);
    let device = |route: &Route| {
        json!({
            "device": &*route.device, "node": &*route.at.node, "connection": format!("{:032x}", route.connection),
            "online_at_ms": route.online_at_ms,
        })
    };
    Ok(Answer::json(&json!({
        "tenant": &*tenant.id, "user": &*ids.user, "online": online > 0, "connections": online,
        "devices": routes.iter().map(device).collect::<Vec<_>>(),
        // False: Redis is away, and only this node's connections are known.
        "complete": complete,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KickBody {
    #[serde(default)]
    device: Option<String>,
}

pub async fn kick(admin: &Admin, ids: &Ids, body: &Bytes) -> Result<Answer, Problem> {
    let tenant = tenant_of(admin, ids)?;
    let device = read::<KickBody>(body)?.device;
    if let Some(device) = &device {
        check("device", device)?;
    }
    let device: Arc<str> = device.unwrap_or_default().into();
    let call = PeerCall::Kick { tenant: tenant.id.clone(), user: ids.user.clone(), device: device.clone() };
    let (mut rows, mut closed, mut complete) = (Vec::new(), 0, true);
    for answered in cluster::ask_all(&admin.node, &call).await {
        let node = &*answered.peer.node;
        rows.push(match answered.answer {
            Ok(PeerAnswer::Kicked(count)) => {
                closed += count;
                json!({ "node": node, "closed": count })
            }
            other => {
                complete = false;
                json!({ "node": node, "error": other.err().map_or("another answer".into(), |e| e.to_string()) })
            }
        });
    }
    let detail = format!("device={device:?} closed={closed} complete={complete}");
    let body = json!({
        "tenant": &*tenant.id, "user": &*ids.user, "closed": closed, "complete": complete, "nodes": rows,
    });
    Ok(Answer { detail, ..Answer::json(&body) })
}

fn check(what: &str, id: &str) -> Result<(), Problem> {
    rules::check_id(id).map_err(|error| Problem::new(Code::InvalidId, format!("{what} id {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageBody {
    to_user: Option<String>,
    group: Option<String>,
    text: Option<String>,
    body_base64: Option<String>,
    msg_id: Option<String>,
}

fn notice(body: MessageBody) -> Result<Notice, Problem> {
    let wrong = |why: &str| Err(Problem::new(Code::BadRequest, why));
    let to = match (body.to_user, body.group) {
        (Some(user), None) => {
            check("user", &user)?;
            Recipient::User(user)
        }
        (None, Some(group)) => {
            check("group", &group)?;
            Recipient::Group(group)
        }
        _ => return wrong("the body: give either to_user or group"),
    };
    let bytes = match (body.text, body.body_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => match STANDARD.decode(base64) {
            Ok(bytes) => bytes,
            Err(_) => return wrong("the body: body_base64 is not base64"),
        },
        _ => return wrong("the body: give either text or body_base64"),
    };
    if let Some(id) = &body.msg_id {
        check("message", id)?;
    }
    Ok(Notice { to, body: bytes.into(), msg_id: body.msg_id.unwrap_or_default() })
}

pub async fn publish(admin: &Admin, ids: &Ids, body: &Bytes) -> Result<Answer, Problem> {
    let tenant = tenant_of(admin, ids)?;
    let notice = notice(read(body)?)?;
    if admin.node.draining() {
        return Err(Problem::new(Code::Draining, "this node is leaving; ask another"));
    }
    let to = format!("{:?}", notice.to);
    let ack = publish::publish(&admin.node, &tenant, &admin.settings.system_user, notice).await;
    let detail = format!("to={to} msg_id={:?} sent={} reason={:?}", ack.msg_id, ack.sent, ack.reason);
    Ok(Answer { detail, ..Answer::json(&json!({ "ack": ack_json(&ack) })) })
}

fn ack_json(ack: &Ack) -> Value {
    let refusal = Refusal::ALL.into_iter().find(|refusal| refusal.reason() == ack.reason);
    let hooks = ["hook degraded", "hook queue rejected", "hook circuit open", "canceled"];
    let again = refusal.map_or(hooks.contains(&ack.reason.as_str()), Refusal::retryable);
    json!({
        "msg_id": ack.msg_id, "status": if ack.sent { "SENT" } else { "FAILED" }, "reason": ack.reason,
        "retryable": !ack.sent && again, "partial_delivery": ack.cut_short || ack.skipped > 0,
        "offline_notified": ack.notified, "offline_buffered": ack.buffered, "offline_skipped": ack.skipped,
    })
}

pub fn drain(admin: &Admin) -> Answer {
    let node = admin.node.clone();
    let before = node.draining();
    let connections = node.connections();
    let id = node.id.clone();
    node.control().spawn_fn(move || drop(actix_rt::spawn(async move { node.drain().await })));
    let body = json!({ "node": &*id, "state": "draining", "already": before, "connections": connections });
    Answer { response: HttpResponse::Accepted().json(body), detail: format!("already={before}") }
}

pub async fn reload(admin: &Admin) -> Result<Answer, Problem> {
    let reloaded = admin.reloader.reload("admin").await.map_err(|errors| {
        let detail = |error: &crate::config::ConfigError| {
            json!({ "name": error.name, "value": error.value_shown, "problem": error.problem })
        };
        let mistakes = if errors.0.len() == 1 { "mistake" } else { "mistakes" };
        let message = format!("{} {mistakes}; nothing was changed", errors.0.len());
        let details = errors.0.iter().map(detail).collect();
        Problem { details, ..Problem::new(Code::InvalidConfiguration, message) }
    })?;
    let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for change in &reloaded.changes {
        match change {
            TenantChange::Added(tenant) => added.push(tenant.as_str()),
            TenantChange::Removed(tenant) => removed.push(tenant.as_str()),
            TenantChange::Changed(tenant, fields) => changed.push(json!({ "tenant": tenant, "fields": fields })),
        }
    }
    let renewed = reloaded.certificate_renewed;
    let detail = format!("added={added:?} removed={removed:?} changed={} certificate={renewed}", changed.len());
    let body = json!({
        "node": &*admin.node.id, "added": added, "removed": removed, "changed": changed,
        "certificate_renewed": renewed, "warnings": reloaded.warnings, "restart_needed": reloaded.restart_needed,
    });
    Ok(Answer { detail, ..Answer::json(&body) })
}

pub fn overview_stream(admin: &Admin) -> Result<Answer, Problem> {
    let full = || Problem::new(Code::TooManyStreams, format!("{MOST_STREAMS} live streams are open already"));
    let stream = admin.overview.stream().ok_or_else(full)?;
    let response = HttpResponse::Ok().content_type("text/event-stream").streaming(stream);
    Ok(Answer { response, detail: String::new() })
}

pub async fn actors(admin: &Admin) -> Answer {
    Answer::json(&json!({ "node": &*admin.node.id, "actors": admin.node.observe().await }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_about_a_body_is_short_however_long_its_names_are() {
        let name = "\u{e9}".repeat(100_000);
        for body in [format!("{{\"{name}\":1}}"), format!("{{\"{name}\":null}}")] {
            let problem = read::<KickBody>(&body.into()).err().expect("no such field");
            assert_eq!(problem.code, Code::BadRequest);
            assert!(problem.message.len() < 400, "{}", problem.message.len());
        }
    }
}
