//! What all channel configurations share: field names in any case, masked secrets, complaints in sentences. Must not know
//! any one channel's fields.

use serde_json::{Map, Value};

use crate::config::SmtpTls;

/// Stands for a stored secret in answers; sent back in an update, it keeps the secret.
pub const MASK: &str = "********";

/// Longest configuration text, in characters.
pub const MAX_LENGTH: usize = 4000;

/// One field of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    /// Never shown; an object has its values masked.
    pub secret: bool,
}

pub const fn plain(name: &'static str) -> Field {
    Field { name, secret: false }
}

pub const fn secret(name: &'static str) -> Field {
    Field { name, secret: true }
}

/// Settings of the process that a channel's own configuration may leave out.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Base of the Bot API, without a trailing slash.
    pub telegram_api_url: String,
    /// Fields of an e-mail channel (`host`, `port`, `tls`, `username`, `password`, `from`) that apply when it has none.
    pub smtp: Map<String, Value>,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { telegram_api_url: "https://api.telegram.org".into(), smtp: Map::new() }
    }
}

impl Defaults {
    pub fn from_config(config: &crate::config::Config) -> Self {
        let mut fields = Map::new();
        if let Some(smtp) = &config.smtp {
            let tls = match smtp.tls {
                SmtpTls::StartTls => "starttls",
                SmtpTls::Tls => "tls",
                SmtpTls::None => "none",
            };
            fields.insert("host".into(), smtp.host.clone().into());
            fields.insert("port".into(), smtp.port.into());
            fields.insert("tls".into(), tls.into());
            fields.insert("from".into(), smtp.from.clone().into());
            if let Some((username, password)) = &smtp.credentials {
                fields.insert("username".into(), username.clone().into());
                fields.insert("password".into(), password.clone().into());
            }
        }
        Defaults { telegram_api_url: config.telegram.api_url.clone(), smtp: fields }
    }
}

pub type Fields = Map<String, Value>;

/// Reads `text` as an object whose names match `fields` whatever their case (`BotToken` is `botToken`).
pub fn object(text: &str, fields: &[Field]) -> Result<Fields, Vec<String>> {
    if text.chars().count() > MAX_LENGTH {
        return Err(vec![format!("configuration must not be longer than {MAX_LENGTH} characters")]);
    }
    let value: Value =
        serde_json::from_str(text).map_err(|_| vec!["configuration must be a JSON object, as text".to_owned()])?;
    let Value::Object(given) = value else {
        return Err(vec!["configuration must be a JSON object, as text".to_owned()]);
    };
    let mut known = Map::new();
    let mut problems = Vec::new();
    for (name, value) in given {
        match fields.iter().find(|field| field.name.eq_ignore_ascii_case(&name)) {
            Some(field) if known.contains_key(field.name) => problems.push(format!("{} is given twice", field.name)),
            Some(_) if value.is_null() => {}
            Some(field) => {
                known.insert(field.name.to_owned(), value);
            }
            None => problems.push(format!("{} is not a field of this channel", shorten(&name, 40))),
        }
    }
    if problems.is_empty() { Ok(known) } else { Err(problems) }
}

/// The configuration as it may be shown.
pub fn masked(text: &str, fields: &[Field]) -> String {
    // Unreadable text may hold a secret anywhere.
    let Ok(mut shown) = object(text, fields) else { return "{}".to_owned() };
    for field in fields.iter().filter(|field| field.secret) {
        match shown.get_mut(field.name) {
            Some(Value::Object(values)) => values.values_mut().for_each(|value| *value = MASK.into()),
            Some(value) => *value = MASK.into(),
            None => {}
        }
    }
    Value::Object(shown).to_string()
}

/// The submitted configuration in its stored form: names as documented, masks replaced by what `stored` holds.
pub fn unmasked(submitted: &str, stored: Option<&str>, fields: &[Field]) -> Result<String, Vec<String>> {
    let mut wanted = object(submitted, fields)?;
    let kept = stored.and_then(|text| object(text, fields).ok()).unwrap_or_default();
    let mut problems = Vec::new();
    for field in fields.iter().filter(|field| field.secret) {
        if let Some(value) = wanted.get_mut(field.name) {
            keep(value, kept.get(field.name), field.name, &mut problems);
        }
    }
    if problems.is_empty() { Ok(Value::Object(wanted).to_string()) } else { Err(problems) }
}

fn keep(value: &mut Value, stored: Option<&Value>, name: &str, problems: &mut Vec<String>) {
    match value {
        Value::String(text) if text == MASK => match stored {
            Some(secret) => *value = secret.clone(),
            None => problems.push(format!("{name} is masked, but no secret is stored")),
        },
        Value::Object(values) => {
            for (key, value) in values {
                keep(value, stored.and_then(|stored| stored.get(key)), &format!("{name}.{key}"), problems);
            }
        }
        _ => {}
    }
}

/// True when both texts say the same, in whatever order.
pub fn same(left: &str, right: &str) -> bool {
    serde_json::from_str::<Fields>(left)
        .is_ok_and(|left| serde_json::from_str::<Fields>(right).is_ok_and(|right| left == right))
}

/// The configuration with one field replaced.
pub fn with_text(text: &str, name: &str, value: &str) -> String {
    let mut fields: Fields = serde_json::from_str(text).unwrap_or_default();
    fields.insert(name.to_owned(), value.into());
    Value::Object(fields).to_string()
}

/// Takes typed fields out of a configuration and collects what is wrong with them.
#[derive(Debug)]
pub struct Reader {
    fields: Fields,
    problems: Vec<String>,
}

impl Reader {
    pub fn new(fields: Fields) -> Self {
        Reader { fields, problems: Vec::new() }
    }

    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Text without blanks around it; none when absent or empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let text = match self.fields.remove(name)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            _ => {
                self.problem(format!("{name} must be text"));
                return None;
            }
        };
        if text.chars().any(char::is_control) {
            self.problem(format!("{name} must not contain control characters"));
            return None;
        }
        (!text.is_empty()).then_some(text)
    }

    /// Text that may have line ends, such as a certificate.
    pub fn lines(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.problem(format!("{name} must be text"));
                None
            }
        }
    }

    pub fn required(&mut self, name: &str) -> String {
        let before = self.problems.len();
        let text = self.text(name);
        if text.is_none() && self.problems.len() == before {
            self.problem(format!("{name} is required"));
        }
        text.unwrap_or_default()
    }

    /// The field `apiBaseUrl` without a trailing slash; `default` when there is none.
    pub fn api_base(&mut self, default: &str) -> String {
        let base = self.text("apiBaseUrl").unwrap_or_else(|| default.to_owned());
        if let Err(problem) = super::http::target(&base) {
            self.problem(format!("apiBaseUrl {problem}"));
        }
        base.trim_end_matches('/').to_owned()
    }

    pub fn flag(&mut self, name: &str) -> bool {
        match self.fields.remove(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.problem(format!("{name} must be true or false"));
                false
            }
        }
    }

    pub fn integer(&mut self, name: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.fields.remove(name)?;
        let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
        if number.is_none_or(|number| !range.contains(&number)) {
            self.problem(format!("{name} must be an integer from {} to {}", range.start(), range.end()));
            return None;
        }
        number
    }

    /// A list of texts, or one text with commas.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let texts: Option<Vec<String>> = match self.fields.remove(name) {
            None => Some(Vec::new()),
            Some(Value::String(text)) => Some(text.split(',').map(str::to_owned).collect()),
            Some(Value::Array(items)) => items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        let Some(texts) = texts else {
            self.problem(format!("{name} must be a list of texts"));
            return Vec::new();
        };
        texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
    }

    pub fn object(&mut self, name: &str) -> Fields {
        match self.fields.remove(name) {
            None => Map::new(),
            Some(Value::Object(fields)) => fields,
            Some(_) => {
                self.problem(format!("{name} must be an object"));
                Map::new()
            }
        }
    }

    /// `channel` unless something was wrong. It is none only when a problem says why.
    pub fn finish<T>(self, channel: impl Into<Option<T>>) -> Result<T, Vec<String>> {
        match channel.into() {
            Some(channel) if self.problems.is_empty() => Ok(channel),
            _ => Err(self.problems),
        }
    }
}

/// At most `limit` characters, the last an ellipsis when something was cut.
pub fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(std::iter::once('\u{2026}')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[plain("chatId"), secret("botToken"), secret("headers")];

    #[test]
    fn names_match_in_any_case() {
        let fields = object(r#"{"BotToken":"1:a","CHATID":5}"#, FIELDS).unwrap();
        assert_eq!(fields["botToken"], "1:a");
        assert_eq!(fields["chatId"], 5);
    }

    #[test]
    fn unknown_repeated_and_shapeless_input_is_refused() {
        assert!(object(r#"{"botTokn":"1:a"}"#, FIELDS).unwrap_err()[0].contains("botTokn"));
        assert!(object(r#"{"botToken":"1:a","BotToken":"1:b"}"#, FIELDS).unwrap_err()[0].contains("twice"));
        for text in ["", "not json", "[]", "5", "null"] {
            assert!(object(text, FIELDS).is_err(), "{text}");
        }
        assert!(object(&format!(r#"{{"chatId":"{}"}}"#, "x".repeat(MAX_LENGTH)), FIELDS).is_err());
    }

    #[test]
    fn secrets_are_masked_and_a_mask_keeps_them() {
        let stored = r#"{"botToken":"1:a","chatId":"5","headers":{"Authorization":"Bearer x"}}"#;
        let shown = masked(stored, FIELDS);
        assert!(!shown.contains("1:a") && !shown.contains("Bearer"), "{shown}");
        assert_eq!(object(&unmasked(&shown, Some(stored), FIELDS).unwrap(), FIELDS), object(stored, FIELDS));
    }

    #[test]
    fn a_mask_without_a_stored_secret_is_refused() {
        let submitted = r#"{"botToken":"********"}"#;
        assert!(unmasked(submitted, None, FIELDS).is_err());
        assert!(unmasked(r#"{"headers":{"A":"********"}}"#, Some(r#"{"headers":{"B":"1"}}"#), FIELDS).is_err());
    }

    #[test]
    fn a_new_secret_replaces_the_stored_one() {
        let text = unmasked(r#"{"botToken":"2:b"}"#, Some(r#"{"botToken":"1:a"}"#), FIELDS).unwrap();
        assert_eq!(object(&text, FIELDS).unwrap()["botToken"], "2:b");
    }
}
