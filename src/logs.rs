//! Log lines as the contract wants them: one JSON object per line on stdout. It must not print what may hold a token: of the enclosing
//! spans only the four identities are taken (request spans carry whole URLs), and URL fields lose their query.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogFormat;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    #[error("log level: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    #[error("logging was set up before: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends all events of this process to stdout. `NodeId` is the speaking node: event field `node_id`, else span field `node` or `node_id`,
/// else `node_id`; an event field `node` is printed by its own name.
///
/// `level`: filter directives such as `info,mics::hooks=debug`. Once per process.
pub fn init(format: LogFormat, level: &str, node_id: &str) -> Result<(), LogsError> {
    let filter = EnvFilter::try_new(level)?;
    tracing_subscriber::registry().with(filter).with(LogLayer::new(format, node_id, std::io::stdout)).try_init()?;
    Ok(())
}

/// The layer behind [`init`]; writes one line per event to `writer`.
pub struct LogLayer<W> {
    format: LogFormat,
    node_id: String,
    writer: W,
}

impl<W> LogLayer<W> {
    pub fn new(format: LogFormat, node_id: &str, writer: W) -> Self {
        LogLayer { format, node_id: node_id.to_owned(), writer }
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut ids = Ids::default();
        attributes.record(&mut ids);
        span.extensions_mut().insert(ids);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(ids) = span.extensions_mut().get_mut::<Ids>() {
            values.record(ids);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(ids) = span.extensions().get::<Ids>() {
                line.ids.fill_from(ids);
            }
        }
        if line.ids.node.is_empty() {
            line.ids.node.clone_from(&self.node_id);
        }
        let (level, target) = (level_name(event.metadata().level()), event.metadata().target());
        // Events of crates that use `log` all have this target; theirs is a field.
        let category = if target == "log" { line.log_target.clone().unwrap_or_default() } else { target.to_owned() };
        let time = rfc3339_ms(SystemTime::now());
        let text = match self.format {
            LogFormat::Json => line.json(&time, level, &category),
            LogFormat::Text => line.text(&time, level, &category),
        };
        // One call per line, so that lines of several threads do not mix. A broken stdout must not stop the gateway.
        let _ = self.writer.make_writer().write_all(text.as_bytes());
    }
}

/// .NET's words.
fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "Error",
        Level::WARN => "Warning",
        Level::INFO => "Information",
        Level::DEBUG => "Debug",
        Level::TRACE => "Trace",
    }
}

/// Who a line is about; empty = unknown.
#[derive(Default)]
struct Ids {
    tenant: String,
    node: String,
    trace: String,
    msg: String,
}

impl Ids {
    fn slot(&mut self, name: &str) -> Option<&mut String> {
        Some(match name {
            "tenant" | "tenant_id" => &mut self.tenant,
            "node" | "node_id" => &mut self.node,
            "trace_id" => &mut self.trace,
            "msg_id" | "msg" => &mut self.msg,
            _ => return None,
        })
    }

    /// Inner spans come first: what is known stays.
    fn fill_from(&mut self, outer: &Ids) {
        let pairs = [
            (&mut self.tenant, &outer.tenant),
            (&mut self.node, &outer.node),
            (&mut self.trace, &outer.trace),
            (&mut self.msg, &outer.msg),
        ];
        for (own, outer) in pairs {
            if own.is_empty() {
                own.clone_from(outer);
            }
        }
    }
}

/// Calls `$take(self, field, Value)` for every kind of field.
macro_rules! visit_as_value {
    ($type:ty) => {
        impl Visit for $type {
            fn record_str(&mut self, field: &Field, value: &str) {
                self.take(field.name(), value.into());
            }
            fn record_bool(&mut self, field: &Field, value: bool) {
                self.take(field.name(), value.into());
            }
            fn record_i64(&mut self, field: &Field, value: i64) {
                self.take(field.name(), value.into());
            }
            fn record_u64(&mut self, field: &Field, value: u64) {
                self.take(field.name(), value.into());
            }
            fn record_f64(&mut self, field: &Field, value: f64) {
                self.take(field.name(), value.into());
            }
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                self.take(field.name(), format!("{value:?}").into());
            }
        }
    };
}

visit_as_value!(Ids);
visit_as_value!(Line);

impl Ids {
    fn take(&mut self, name: &str, value: Value) {
        if let Some(slot) = self.slot(name) {
            *slot = plain(&value);
        }
    }
}

/// One event, before it is written.
#[derive(Default)]
struct Line {
    content: String,
    ids: Ids,
    log_target: Option<String>,
    others: Vec<(&'static str, Value)>,
}

const TOP_LEVEL: [&str; 8] = ["Time", "Level", "Content", "Category", "TenantId", "NodeId", "TraceId", "MsgId"];
/// Fields whose value is never printed.
const HIDDEN: [&str; 6] = ["token", "secret", "password", "authorization", "sign", "api_key"];
/// Fields that lose their query string.
const URLS: [&str; 6] = ["url", "uri", "path", "endpoint", "http.target", "http.url"];

impl Line {
    fn take(&mut self, name: &'static str, value: Value) {
        match name {
            "message" => self.content = plain(&value),
            "log.target" => self.log_target = Some(plain(&value)),
            "log.module_path" | "log.file" | "log.line" => {}
            _ if HIDDEN.contains(&name) => self.others.push((name, "***".into())),
            _ if URLS.contains(&name) => self.others.push((name, redact_query(&plain(&value)).into())),
            // The node a line is about (a dead one, a peer), not always the one that speaks.
            "node" => self.others.push((name, value)),
            _ => match self.ids.slot(name) {
                Some(slot) => *slot = plain(&value),
                None => self.others.push((name, value)),
            },
        }
    }

    fn top_level<'a>(&'a self, time: &'a str, level: &'a str, category: &'a str) -> [(&'static str, &'a str); 8] {
        let ids = &self.ids;
        let values = [time, level, &self.content, category, &ids.tenant, &ids.node, &ids.trace, &ids.msg];
        std::array::from_fn(|index| (TOP_LEVEL[index], values[index]))
    }

    fn json(&self, time: &str, level: &str, category: &str) -> String {
        let mut text = String::with_capacity(256);
        for (name, value) in self.top_level(time, level, category) {
            text.push(if text.is_empty() { '{' } else { ',' });
            let _ = write!(text, "\"{name}\":{}", Value::from(value));
        }
        for (name, value) in self.others.iter().filter(|(name, _)| !TOP_LEVEL.contains(name)) {
            let _ = write!(text, ",{}:{value}", Value::from(*name));
        }
        text.push_str("}\n");
        text
    }

    fn text(&self, time: &str, level: &str, category: &str) -> String {
        let mut text = format!("{time} {level} {category}: {}", one_line(&self.content));
        for (name, value) in self.top_level(time, level, category)[4..].iter().filter(|(_, value)| !value.is_empty()) {
            let _ = write!(text, " {name}={}", one_line(value));
        }
        for (name, value) in &self.others {
            let _ = write!(text, " {name}={value}");
        }
        text.push('\n');
        text
    }
}

/// Text of a value, without the quotes of a JSON string.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Control characters escaped: a message must not be able to forge a line.
fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A URL or path without query and fragment, which may hold a token.
pub fn redact_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// RFC 3339, UTC, milliseconds: `2026-11-21T14:36:27.005Z`. Times before 1970 are shown as 1970.
pub(crate) fn rfc3339_ms(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Civil date from the day number, in eras of 400 years that start on 1 March (Howard Hinnant's algorithm).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, ms) = (second / 3600, second / 60 % 60, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{ms:03}Z", second % 60)
}

/// Lets at most one line per key and period through, so that a failing peer or a hostile client cannot flood the log.
///
/// Memory is bounded: at most `capacity` keys are told apart; while all are in use, other keys share one more.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    capacity: usize,
    state: Mutex<ThrottleState>,
}

#[derive(Debug, Default)]
struct ThrottleState {
    keys: HashMap<String, Window>,
    overflow: Option<Window>,
    swept: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    suppressed: u64,
}

impl Throttle {
    pub const PERIOD: Duration = Duration::from_secs(5);

    pub fn new(period: Duration, capacity: usize) -> Throttle {
        Throttle { period, capacity, state: Mutex::default() }
    }

    /// `Some(n)`: print, `n` lines of this key were suppressed since the last one. `None`: do not print.
    pub fn allow(&self, key: &str, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = state.keys.get_mut(key) {
            return window.allow(now, self.period);
        }
        state.make_room(now, self.period, self.capacity);
        let fresh = Window { since: now, suppressed: 0 };
        if state.keys.len() < self.capacity {
            state.keys.insert(key.to_owned(), fresh);
            return Some(0);
        }
        match &mut state.overflow {
            Some(window) => window.allow(now, self.period),
            none => {
                *none = Some(fresh);
                Some(0)
            }
        }
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle::new(Throttle::PERIOD, 1024)
    }
}

impl Window {
    fn allow(&mut self, now: Instant, period: Duration) -> Option<u64> {
        if now.saturating_duration_since(self.since) < period {
            self.suppressed += 1;
            return None;
        }
        self.since = now;
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl ThrottleState {
    /// Forgets windows that ended, when full and at most once per period: a sweep looks at every key.
    fn make_room(&mut self, now: Instant, period: Duration, capacity: usize) {
        let recently = self.swept.is_some_and(|at| now.saturating_duration_since(at) < period);
        if self.keys.len() < capacity || recently {
            return;
        }
        self.keys.retain(|_, window| now.saturating_duration_since(window.since) < period);
        self.swept = Some(now);
    }
}

#[cfg(test)]
mod tests;
