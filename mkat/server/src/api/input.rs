//! Reading JSON bodies and queries by the contract: names in any case, unknown names ignored, numbers may be quoted,
//! enums may not, and every wrong field is reported under its PascalCase key.

use crate::domain::Timestamp;
use crate::error::{Code, Details, Error, Result};
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest};
use bytes::BytesMut;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Largest body that is read, in bytes.
pub const BODY_MAX: usize = 256 * 1024;

/// The raw body, at most [`BODY_MAX`].
pub struct Body(pub bytes::Bytes);

impl FromRequest for Body {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self>>;

    fn from_request(_: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        Box::pin(async move { read_body(payload, BODY_MAX).await.map(Self) })
    }
}

/// Reads a body of at most `max` bytes. More: BODY_TOO_LARGE.
pub async fn read_body(mut payload: Payload, max: usize) -> Result<bytes::Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Error::refused(Code::Validation, format!("body: {error}")))?;
        if body.len() + chunk.len() > max {
            return Err(Error::refused(Code::BodyTooLarge, format!("a body may have {max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// A JSON object that must be there. Other content types or no body: 415; not an object: 400.
pub struct JsonObject(pub Map<String, Value>);

impl FromRequest for JsonObject {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let json = is_json(request);
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            let Body(bytes) = body.await?;
            if !json {
                return Err(Error::refused(Code::UnsupportedMediaType, "the body must be application/json"));
            }
            parse_object(&bytes).map(Self)
        })
    }
}

/// A JSON object that may be missing: no body is an empty object.
pub struct OptionalJson(pub Map<String, Value>);

impl FromRequest for OptionalJson {
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let json = is_json(request);
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            let Body(bytes) = body.await?;
            if bytes.is_empty() {
                return Ok(Self(Map::new()));
            }
            if !json {
                return Err(Error::refused(Code::UnsupportedMediaType, "the body must be application/json"));
            }
            parse_object(&bytes).map(Self)
        })
    }
}

pub fn is_json(request: &HttpRequest) -> bool {
    media_type(request).is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"))
}

/// The content type without parameters, in lower case.
pub fn media_type(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::invalid_field("", "the body must be a JSON object")),
        Err(error) => Err(Error::invalid_field("", format!("the body is not JSON: {error}"))),
    }
}

/// The query as a reader of fields.
pub fn query(request: &HttpRequest) -> Fields {
    let pairs = form_urlencoded::parse(request.query_string().as_bytes());
    Fields::new(pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect())
}

/// Typed access to the fields of one object. Mistakes are collected; [`Fields::finish`] reports them together.
pub struct Fields {
    values: HashMap<String, Value>,
    prefix: String,
    mistakes: Details,
}

impl Fields {
    pub fn new(object: Map<String, Value>) -> Self {
        Self::nested(object, String::new())
    }

    /// Keys of mistakes begin with `prefix`, e.g. `Monitors[0].`.
    pub fn nested(object: Map<String, Value>, prefix: String) -> Self {
        let values = object.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        Self { values, prefix, mistakes: Details::new() }
    }

    /// Reports a mistake in field `key` (PascalCase; "" for a rule across fields).
    pub fn wrong(&mut self, key: &str, message: impl Into<String>) {
        let key =
            if key.is_empty() { self.prefix.trim_end_matches('.').to_owned() } else { format!("{}{key}", self.prefix) };
        self.mistakes.entry(key).or_default().push(message.into());
    }

    /// Takes over the mistakes of a nested reader.
    pub fn absorb(&mut self, nested: Self) {
        for (key, messages) in nested.mistakes {
            self.mistakes.entry(key).or_default().extend(messages);
        }
    }

    /// Null counts as absent.
    pub fn raw(&self, key: &str) -> Option<&Value> {
        self.values.get(&key.to_lowercase()).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.raw(key)? {
            Value::String(text) => Some(text.clone()),
            _ => self.mistyped(key, "must be a text"),
        }
    }

    /// Present, not blank, at most `max` characters.
    pub fn required_text(&mut self, key: &str, max: usize) -> String {
        let known = self.mistakes.len();
        let text = self.text(key).unwrap_or_default();
        if self.mistakes.len() > known {
            return text;
        }
        if text.trim().is_empty() {
            self.wrong(key, "must not be blank");
        } else if text.chars().count() > max {
            self.wrong(key, format!("must have at most {max} characters"));
        }
        text
    }

    /// Absent or at most `max` characters.
    pub fn optional_text(&mut self, key: &str, max: usize) -> Option<String> {
        let text = self.text(key)?;
        if text.chars().count() > max {
            self.wrong(key, format!("must have at most {max} characters"));
        }
        Some(text)
    }

    /// A whole number, also quoted.
    pub fn integer(&mut self, key: &str) -> Option<i64> {
        let found = match self.raw(key)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        found.or_else(|| self.mistyped(key, "must be a whole number"))
    }

    /// A whole number within bounds, both included.
    pub fn integer_in(&mut self, key: &str, low: i64, high: i64) -> Option<i64> {
        let number = self.integer(key)?;
        if !(low..=high).contains(&number) {
            self.wrong(key, format!("must be from {low} to {high}"));
        }
        Some(number)
    }

    /// A finite number, also quoted.
    pub fn number(&mut self, key: &str) -> Option<f64> {
        let found = match self.raw(key)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        found.filter(|number: &f64| number.is_finite()).or_else(|| self.mistyped(key, "must be a finite number"))
    }

    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        match self.raw(key)? {
            Value::Bool(value) => Some(*value),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => self.mistyped(key, "must be true or false"),
        }
    }

    pub fn instant(&mut self, key: &str) -> Option<Timestamp> {
        let found = match self.raw(key)? {
            Value::String(text) => Timestamp::parse(text),
            _ => None,
        };
        found.or_else(|| self.mistyped(key, "must be an ISO-8601 date and time"))
    }

    /// A number of an enum; names are refused. `parse` is e.g. `Severity::from_number`. In a query, digits are text.
    pub fn enumeration<T>(&mut self, key: &str, parse: impl Fn(i64) -> Option<T>) -> Option<T> {
        let found = match self.raw(key)? {
            Value::Number(number) => number.as_i64().and_then(parse),
            _ => None,
        };
        found.or_else(|| self.mistyped(key, "must be one of the numbers of the contract"))
    }

    /// Like [`Fields::enumeration`] for a query, where everything is text.
    pub fn query_enumeration<T>(&mut self, key: &str, parse: impl Fn(i64) -> Option<T>) -> Option<T> {
        let found = self.integer(key)?;
        parse(found).or_else(|| self.mistyped(key, "must be one of the numbers of the contract"))
    }

    /// A list of objects, each to be read with its own prefix `Key[i].`.
    pub fn objects(&mut self, key: &str) -> Vec<Fields> {
        let items = match self.raw(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(_) => {
                self.wrong(key, "must be a list");
                return Vec::new();
            }
        };
        let mut readers = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::Object(object) => readers.push(Self::nested(object, format!("{}{key}[{index}].", self.prefix))),
                _ => self.wrong(&format!("{key}[{index}]"), "must be an object"),
            }
        }
        readers
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let Value::Array(items) = self.raw(key)? else { return self.mistyped(key, "must be a list") };
        let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        texts.or_else(|| self.mistyped(key, "must be a list of texts"))
    }

    fn mistyped<T>(&mut self, key: &str, message: &str) -> Option<T> {
        self.wrong(key, message);
        None
    }

    pub fn is_fine(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// VALIDATION_ERROR with all mistakes, if there are any.
    pub fn finish(self) -> Result<()> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(Error::invalid(self.mistakes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        let Value::Object(object) = value else { panic!("an object") };
        Fields::new(object)
    }

    #[test]
    fn names_in_any_case_and_quoted_numbers_are_read() {
        let mut fields =
            fields(json!({"INTERVALseconds": "45", "value": 1.5, "big": "1e3", "flag": "TRUE", "x": null}));
        assert_eq!(fields.integer("IntervalSeconds"), Some(45));
        assert_eq!((fields.number("Value"), fields.number("Big")), (Some(1.5), Some(1000.0)));
        assert_eq!((fields.boolean("Flag"), fields.text("X")), (Some(true), None));
        assert!(fields.finish().is_ok());
    }

    #[test]
    fn every_wrong_field_is_reported_under_its_key() {
        let mut outer = fields(json!({"a": "x", "b": 1.5, "c": "NaN", "d": 7, "list": [{"e": ""}, 3]}));
        assert_eq!((outer.integer("A"), outer.integer("B"), outer.number("C")), (None, None, None));
        assert_eq!(outer.text("D"), None);
        for mut item in outer.objects("List") {
            item.required_text("E", 5);
            item.wrong("", "a rule across fields");
            outer.absorb(item);
        }
        let Err(Error::Refused { details: Some(details), .. }) = outer.finish() else { panic!("refused") };
        let keys: Vec<_> = details.keys().map(String::as_str).collect();
        assert_eq!(keys, ["A", "B", "C", "D", "List[0]", "List[0].E", "List[1]"]);
    }
}
