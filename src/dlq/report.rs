//! What `mics dlq` prints, for people and as JSON. Bodies and signatures are never shown.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use mics_proto::hook::MqEvent;
use serde_json::{Value, json};

use super::options::TYPES;
use crate::kafka::Letter;
use crate::logs::rfc3339_ms;

/// Dead letters of one tenant.
pub struct Summary {
    tenant: String,
    records: u64,
    replayed: u64,
    unreadable: u64,
    bytes: u64,
    /// Unix ms of the oldest and of the newest event.
    span: Option<(i64, i64)>,
    types: BTreeMap<String, u64>,
    shown: Vec<Value>,
    most_shown: usize,
}

/// Name of an event type; a number for those of the tenant's own systems.
fn type_name(number: i32) -> String {
    let known = usize::try_from(number).ok().and_then(|at| TYPES.get(at));
    known.map_or_else(|| number.to_string(), |name| (*name).to_owned())
}

fn date(ms: i64) -> String {
    rfc3339_ms(UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

impl Summary {
    pub fn new(tenant: &str, most_shown: usize) -> Summary {
        let (types, shown) = (BTreeMap::new(), Vec::new());
        let tenant = tenant.to_owned();
        Summary { tenant, records: 0, replayed: 0, unreadable: 0, bytes: 0, span: None, types, shown, most_shown }
    }

    pub fn add(&mut self, letter: &Letter, event: Option<&MqEvent>) {
        self.records += 1;
        self.replayed += u64::from(letter.done);
        self.bytes += letter.value.len() as u64;
        if let Some(event) = event {
            *self.types.entry(type_name(event.event_type)).or_default() += 1;
            let (oldest, newest) = self.span.unwrap_or((event.timestamp, event.timestamp));
            self.span = Some((oldest.min(event.timestamp), newest.max(event.timestamp)));
        } else {
            self.unreadable += 1;
        }
        if self.shown.len() < self.most_shown {
            self.shown.push(record(letter, event));
        }
    }

    fn json(&self) -> Value {
        json!({
            "tenant": self.tenant,
            "records": self.records,
            "replayed": self.replayed,
            "unreadable": self.unreadable,
            "bytes": self.bytes,
            "oldest": self.span.map(|(oldest, _)| date(oldest)),
            "newest": self.span.map(|(_, newest)| date(newest)),
            "types": self.types,
            "letters": self.shown,
        })
    }

    fn text(&self, now_ms: i64) -> String {
        let mut text = format!("{}: {} dead letters, {} bytes", self.tenant, self.records, self.bytes);
        let _ = writeln!(text, ", {} replayed, {} unreadable", self.replayed, self.unreadable);
        if let Some((oldest, newest)) = self.span {
            let (oldest_age, newest_age) = (age(now_ms - oldest), age(now_ms - newest));
            let _ = writeln!(
                text,
                "  oldest {} ({oldest_age} ago), newest {} ({newest_age} ago)",
                date(oldest),
                date(newest)
            );
        }
        for (name, count) in &self.types {
            let _ = writeln!(text, "  {name}: {count}");
        }
        for letter in &self.shown {
            let _ = writeln!(text, "  {letter}");
        }
        text
    }
}

fn record(letter: &Letter, event: Option<&MqEvent>) -> Value {
    let place = json!({
        "partition": letter.partition,
        "offset": letter.offset,
        "replayed": letter.done,
        "bytes": letter.value.len(),
    });
    let Some(event) = event else { return place };
    let decoded = json!({
        "type": type_name(event.event_type),
        "time": date(event.timestamp),
        "user_id": event.user_id,
        "device_id": event.device_id,
        "to_user_id": event.to_user_id,
        "group_id": event.group_id,
        "msg_id": event.msg_id,
        "node_id": event.node_id,
        "trace_id": event.trace_id,
        "signed": !event.sign.is_empty(),
    });
    match (place, decoded) {
        (Value::Object(mut place), Value::Object(decoded)) => {
            place.extend(decoded);
            Value::Object(place)
        }
        (place, _) => place,
    }
}

/// `3 h`; the largest unit of which there is at least one.
fn age(ms: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min")];
    let unit = units.iter().find(|(size, _)| ms >= *size);
    unit.map_or_else(|| format!("{} s", ms.max(0) / 1_000), |(size, name)| format!("{} {name}", ms / size))
}

pub fn list_json(summaries: &[Summary]) -> String {
    format!("{}\n", json!({ "tenants": summaries.iter().map(Summary::json).collect::<Vec<_>>() }))
}

pub fn list_text(summaries: &[Summary], now_ms: i64) -> String {
    let shown = summaries.iter().map(|summary| summary.text(now_ms)).collect::<String>();
    if shown.is_empty() { "no dead-letter topic\n".to_owned() } else { shown }
}

/// What became of one tenant's dead letters. `read` is the sum of all others but those whose outcome an error took away.
#[derive(Default)]
pub struct Fates {
    tenant: String,
    pub dry_run: bool,
    pub read: u64,
    pub replayed: u64,
    pub would_replay: u64,
    pub already: u64,
    pub not_asked_for: u64,
    pub unreadable: u64,
    pub failed: u64,
}

impl Fates {
    pub fn new(tenant: &str, dry_run: bool) -> Fates {
        Fates { tenant: tenant.to_owned(), dry_run, ..Fates::default() }
    }

    fn unknown(&self) -> u64 {
        let known = [self.replayed, self.would_replay, self.already, self.not_asked_for, self.unreadable, self.failed];
        self.read - known.iter().sum::<u64>()
    }

    pub fn line(&self) -> String {
        let (name, sent) =
            if self.dry_run { ("would be replayed", self.would_replay) } else { ("replayed", self.replayed) };
        format!("{}: {} read, {sent} {name}, {} failed", self.tenant, self.read, self.failed)
    }

    fn json(&self) -> Value {
        json!({
            "tenant": self.tenant,
            "dry_run": self.dry_run,
            "read": self.read,
            "replayed": self.replayed,
            "would_replay": self.would_replay,
            "already_replayed": self.already,
            "not_asked_for": self.not_asked_for,
            "unreadable": self.unreadable,
            "failed": self.failed,
            "unknown": self.unknown(),
        })
    }
}

pub fn replay_json(all: &[Fates], stopped: Option<&str>) -> String {
    format!("{}\n", json!({ "tenants": all.iter().map(Fates::json).collect::<Vec<_>>(), "stopped": stopped }))
}

pub fn replay_text(all: &[Fates]) -> String {
    let mut text = String::new();
    for fates in all {
        let _ = write!(text, "{}, {} replayed before, ", fates.line(), fates.already);
        let _ = write!(text, "{} not asked for, {} unreadable", fates.not_asked_for, fates.unreadable);
        text.push_str(if fates.unknown() > 0 { ", the rest unknown\n" } else { "\n" });
    }
    text
}
