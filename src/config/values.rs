//! Single texts and JSON values: numbers, booleans, levels, URLs, and what of a value may be shown. It must not know variables or sources.

use serde_json::Value;

/// Text, number or boolean of a JSON value as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// JSON string, trimmed.
pub(super) fn as_text(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.trim().to_owned())
}

/// JSON whole number, or its text (entries of a section are texts), within 32 bits.
pub(super) fn as_i32(value: &Value) -> Option<i32> {
    whole_number(scalar(value)?.trim()).and_then(|n| i32::try_from(n).ok())
}

/// JSON boolean, or its text.
pub(super) fn as_bool(value: &Value) -> Option<bool> {
    parse_bool(scalar(value)?.trim())
}

/// .NET and Rust level names.
pub(super) fn level_word(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" | "information" => "info",
        "warn" | "warning" => "warn",
        "error" | "critical" => "error",
        "off" | "none" => "off",
        _ => return None,
    })
}

/// Is this an absolute http(s) URL? `Err` is the problem, to follow the value.
pub(super) fn check_url(url: &str) -> Result<(), &'static str> {
    let lower = url.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("http://").or_else(|| lower.strip_prefix("https://")) else {
        return Err("is not an absolute http or https URL");
    };
    if rest.contains(|c: char| c.is_whitespace() || c.is_control() || "\\\"<>".contains(c)) {
        return Err("contains characters that a URL may not have");
    }
    if rest.contains(['?', '#']) {
        return Err("must not have a query or a fragment");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("must not contain a user name or password");
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':').or(Some("").filter(|_| port.is_empty()))),
        None => authority.split_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port))),
    };
    match port {
        _ if host.is_empty() => Err("has no host"),
        Some("") if !authority.ends_with(':') => Ok(()),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port != 0) => Ok(()),
        _ => Err("has a port that is not a number from 1 to 65535"),
    }
}

pub(super) fn whole_number(text: &str) -> Option<i64> {
    text.parse().ok()
}

pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// At most 120 characters, control characters escaped, and without the `user:password@` of a URL.
pub(super) fn shown(value: &str) -> String {
    let mut text = value.to_owned();
    while let Some((start, end)) = user_info(&text) {
        text.replace_range(start..end, "***");
    }
    let short: String = text
        .chars()
        .take(120)
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect();
    if text.chars().count() > 120 { short + "..." } else { short }
}

/// Byte range of the first `user:password` between `://` and `@` that is not masked yet.
fn user_info(text: &str) -> Option<(usize, usize)> {
    text.match_indices("://").find_map(|(at, _)| {
        let start = at + 3;
        let length = text[start..].find(['/', '"', ',', ' ']).unwrap_or(text.len() - start);
        let end = start + text[start..start + length].rfind('@')?;
        (&text[start..end] != "***").then_some((start, end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        for (value, expected) in [
            ("http://a:b@host/x", "http://***@host/x"),
            (r#"{"t":"http://u:p@h","s":"https://q:r@i"}"#, r#"{"t":"http://***@h","s":"https://***@i"}"#),
            ("http://host/a@b", "http://host/a@b"),
            ("plain\ntext", "plain\\ntext"),
        ] {
            assert_eq!(shown(value), expected);
        }
    }
}
