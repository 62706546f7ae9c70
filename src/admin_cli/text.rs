//! Answers of the admin API as text for people. Pure. Ids are shown with their control characters escaped.

use std::fmt::Write as _;

use serde_json::Value;

use super::options::Command;

/// `now_ms`: Unix time.
pub fn show(command: &Command, answer: &Value, now_ms: u64) -> String {
    match command {
        Command::Nodes => nodes(answer),
        Command::Tenants { .. } => tenants(answer),
        Command::Tenant(_) => tenant(answer),
        Command::Presence { .. } => presence(answer, now_ms),
        Command::Kick { .. } => kick(answer),
        Command::Publish { .. } => publish(answer),
        Command::Drain { .. } => {
            format!("{} is leaving; {} connections are asked to go\n", cell(&answer["node"]), answer["connections"])
        }
        Command::Reload => reload(answer),
        Command::Overview => format!("{}\n{}", nodes(answer), tenants(answer)),
        Command::Actors => actors(answer),
    }
}

/// The API's error form, or what came instead.
pub fn problem(status: u16, answer: &Value) -> String {
    let error = &answer["error"];
    let Some(code) = error["code"].as_str() else { return format!("HTTP {status}: not an answer of the admin API") };
    let mut text = format!("{code} ({status}): {}", cell(&error["message"]));
    for detail in rows(&error["details"]) {
        let value = cell(&detail["value"]);
        let shown = if value.is_empty() { String::new() } else { format!("={value}") };
        let _ = write!(text, "\n  {}{shown}: {}", cell(&detail["name"]), cell(&detail["problem"]));
    }
    text
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `-` for nothing.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => {
            text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
        }
        other => other.to_string(),
    }
}

/// Columns as wide as their widest cell.
fn table(heads: &[&str], lines: Vec<Vec<String>>) -> String {
    let mut all = vec![heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>()];
    all.extend(lines);
    let width = |column: usize| all.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::new();
    for line in &all {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let _ = writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn age(ms: &Value) -> String {
    let seconds = ms.as_u64().unwrap_or(0) / 1000;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn nodes(answer: &Value) -> String {
    let line = |node: &Value| {
        let here = if node["here"] == true { " *" } else { "" };
        vec![
            cell(&node["node"]) + here,
            cell(&node["state"]),
            age(&node["age_ms"]),
            cell(&node["connections"]),
            cell(&node["version"]),
            cell(&node["endpoint"]),
        ]
    };
    let lines = rows(&answer["nodes"]).map(line).collect();
    table(&["NODE", "STATE", "AGE", "CONNECTIONS", "VERSION", "ENDPOINT"], lines)
}

fn tenants(answer: &Value) -> String {
    let line = |tenant: &Value| {
        vec![
            cell(&tenant["tenant"]),
            cell(&tenant["connections"]),
            cell(&tenant["users"]),
            cell(&tenant["messages_in"]),
            cell(&tenant["breaker"]),
            cell(&tenant["hooks"][1]["latency_ms"]["p95"]),
            cell(&tenant["buffer"]["messages"]),
            cell(&tenant["events"]["waiting"]),
        ]
    };
    let heads = ["TENANT", "CONNECTIONS", "USERS", "MESSAGES", "BREAKER", "CHECK P95 MS", "BUFFERED", "EVENTS WAITING"];
    let mut text = table(&heads, rows(&answer["tenants"]).map(line).collect());
    if let Some(next) = answer["next"].as_str() {
        let _ = writeln!(text, "more: --after {next}");
    }
    text
}

fn tenant(answer: &Value) -> String {
    let (limits, hooks) = (&answer["limits"]["tenant"], &answer["limits"]["hooks"]);
    let mut text = tenants(&serde_json::json!({ "tenants": [answer] }));
    let _ = writeln!(text, "\nauth url: {}", cell(&answer["auth_url"]));
    for (title, values) in [("limits of the tenant", limits), ("limits of its hooks", hooks)] {
        let _ =
            writeln!(text, "{title}:{}", if values.is_null() { " not known yet (no client was let in)" } else { "" });
        for (name, value) in values.as_object().into_iter().flatten() {
            let _ = writeln!(text, "  {name:<26} {}", cell(value));
        }
    }
    let hook = |hook: &Value| {
        let latency = &hook["latency_ms"];
        let mut line: Vec<String> = ["op", "breaker", "openings", "in_flight", "calls"].map(|n| cell(&hook[n])).into();
        line.extend(["mean", "p50", "p95", "p99"].map(|name| cell(&latency[name])));
        line
    };
    let heads = ["HOOK", "BREAKER", "OPENINGS", "IN FLIGHT", "CALLS", "MEAN MS", "P50", "P95", "P99"];
    let _ = write!(text, "\n{}", table(&heads, rows(&answer["hooks"]).map(hook).collect()));
    let node = |node: &Value| {
        ["node", "connections", "users", "messages_in", "breaker"].map(|name| cell(&node[name])).to_vec()
    };
    let heads = ["NODE", "CONNECTIONS", "USERS", "MESSAGES", "BREAKER"];
    let _ = write!(text, "\n{}", table(&heads, rows(&answer["nodes"]).map(node).collect()));
    text
}

fn presence(answer: &Value, now_ms: u64) -> String {
    let line = |device: &Value| {
        let online = device["online_at_ms"].as_u64().map(|since| now_ms.saturating_sub(since));
        vec![cell(&device["device"]), cell(&device["node"]), age(&online.into()), cell(&device["connection"])]
    };
    let mut text = match answer["online"] == true {
        true => table(&["DEVICE", "NODE", "ONLINE FOR", "CONNECTION"], rows(&answer["devices"]).map(line).collect()),
        false => "offline\n".to_owned(),
    };
    if answer["complete"] != true {
        text.push_str("Redis is away: only the connections of the node asked are known\n");
    }
    text
}

fn kick(answer: &Value) -> String {
    let mut text = format!("{} connections closed\n", answer["closed"]);
    for node in rows(&answer["nodes"]).filter(|node| !node["error"].is_null()) {
        let _ = writeln!(text, "{} was not reached: {}", cell(&node["node"]), cell(&node["error"]));
    }
    text
}

fn publish(answer: &Value) -> String {
    let ack = &answer["ack"];
    let reason = ack["reason"].as_str().filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
    format!("{} {}{}\n", cell(&ack["msg_id"]), cell(&ack["status"]), reason.unwrap_or_default())
}

fn actors(answer: &Value) -> String {
    let names = ["kind", "tenant", "depth", "capacity", "handled", "refused", "restarts"];
    let line = |actor: &Value| names.map(|name| cell(&actor[name])).to_vec();
    let heads = ["ACTOR", "TENANT", "WAITING", "CAPACITY", "HANDLED", "REFUSED", "RESTARTS"];
    table(&heads, rows(&answer["actors"]).map(line).collect())
}

fn reload(answer: &Value) -> String {
    let mut text = String::new();
    for name in ["added", "removed"] {
        for tenant in rows(&answer[name]) {
            let _ = writeln!(text, "{name} {}", cell(tenant));
        }
    }
    for changed in rows(&answer["changed"]) {
        let fields: Vec<String> = rows(&changed["fields"]).map(cell).collect();
        let _ = writeln!(text, "changed {}: {}", cell(&changed["tenant"]), fields.join(", "));
    }
    if answer["certificate_renewed"] == true {
        text.push_str("certificate renewed\n");
    }
    if text.is_empty() {
        text.push_str("nothing has changed\n");
    }
    for warning in rows(&answer["warnings"]) {
        let _ = writeln!(text, "warning: {}", cell(warning));
    }
    if answer["restart_needed"] == true {
        text.push_str("other settings than tenants and the certificate differ: they need a restart\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_line_up_and_hostile_names_can_not_paint_the_screen() {
        let answer = json!({ "nodes": [
            { "node": "a\u{1b}[2J", "state": "serving", "age_ms": 61_000, "connections": 12, "here": true,
              "version": "1", "endpoint": "http://a" },
            { "node": "b", "state": "unreachable", "age_ms": 7_200_000, "endpoint": "http://b" },
        ] });
        let text = show(&Command::Nodes, &answer, 0);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("a\\u{1b}[2J *"), "{text}");
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["b", "unreachable", "2h", "-", "-", "http://b"]);
        assert_eq!(lines[0].find("STATE"), lines[1].find("serving"));
    }

    #[test]
    fn a_device_is_online_for_a_time_that_people_can_read() {
        let devices = json!([{ "device": "phone", "node": "node-1", "online_at_ms": 1_000, "connection": "c" }]);
        let answer = json!({ "online": true, "complete": true, "devices": devices });
        let command = Command::Presence { tenant: "t1".into(), user: "u1".into() };
        let text = show(&command, &answer, 181_000);
        assert_eq!(text.lines().nth(1), Some("phone   node-1  3m          c"), "{text}");
    }

    #[test]
    fn every_mistake_of_a_reload_is_named() {
        let answer = json!({ "error": { "code": "invalid_configuration", "message": "2 mistakes", "details": [
            { "name": "TENANT_AUTH_MAP", "value": "ftp://x", "problem": "is not an absolute http or https URL" },
            { "name": "TENANTS_FILE", "value": "", "problem": "x" },
        ] } });
        let text = problem(422, &answer);
        assert!(
            text.contains("\n  TENANT_AUTH_MAP=ftp://x: is not") && text.ends_with("\n  TENANTS_FILE: x"),
            "{text}"
        );
        assert!(problem(502, &Value::Null).contains("502"));
    }
}
