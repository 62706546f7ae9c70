//! The optional TOML file, turned into the same flat names as the environment. It must not know what any variable means.

use serde_json::Value;

use super::vars::{Kind, Var};

/// Pairs of `table`: nested tables become `outer__inner`, a table at the name of a map variable becomes that map's JSON.
pub(super) fn flatten(
    table: toml::Table,
    known: &[&[Var]],
    pairs: &mut Vec<(String, String)>,
    warnings: &mut Vec<String>,
) {
    visit("", table, known, pairs);
    for (name, _) in pairs.iter() {
        if !known.iter().any(|vars| vars.iter().any(|var| var.is_named(name))) {
            warnings.push(format!("{name}: no such variable; this line of the configuration file has no effect"));
        }
    }
}

fn visit(prefix: &str, table: toml::Table, known: &[&[Var]], pairs: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        let is_map = known
            .iter()
            .flat_map(|vars| vars.iter())
            .any(|var| matches!(var.kind, Kind::Map { .. }) && var.is_named(&name));
        match value {
            toml::Value::Table(inner) if is_map => pairs.push((name, json(toml::Value::Table(inner)).to_string())),
            toml::Value::Table(inner) => visit(&format!("{name}__"), inner, known, pairs),
            toml::Value::Array(parts) => pairs.push((name, parts.into_iter().map(text).collect::<Vec<_>>().join(","))),
            other => pairs.push((name, text(other))),
        }
    }
}

fn text(value: toml::Value) -> String {
    match json(value) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(k, v)| (k, json(v))).collect()),
    }
}
