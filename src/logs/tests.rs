//! What log lines look like, and the throttle.

use std::io;
use std::sync::Arc;

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `say` prints at level debug and above.
fn lines(format: LogFormat, say: impl FnOnce()) -> Vec<String> {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let layer = LogLayer::new(format, "n1", move || writer.clone());
    let subscriber = tracing_subscriber::registry().with(EnvFilter::new("debug")).with(layer);
    tracing::subscriber::with_default(subscriber, say);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn json(say: impl FnOnce()) -> Value {
    let lines = lines(LogFormat::Json, say);
    assert_eq!(lines.len(), 1, "{lines:?}");
    serde_json::from_str(&lines[0]).unwrap()
}

#[test]
fn a_line_has_the_names_of_the_contract() {
    let line = json(|| {
        tracing::warn!(target: "mics::hooks", tenant = "t1", trace_id = %"abc", msg_id = 7, op = "Auth", attempt = 2, ok = false, "hook_request_failed");
    });
    for (name, value) in [
        ("Level", Value::from("Warning")),
        ("Content", "hook_request_failed".into()),
        ("Category", "mics::hooks".into()),
        ("TenantId", "t1".into()),
        ("NodeId", "n1".into()),
        ("TraceId", "abc".into()),
        ("MsgId", "7".into()),
        ("op", "Auth".into()),
        ("attempt", 2.into()),
        ("ok", false.into()),
    ] {
        assert_eq!(line[name], value, "{name}");
    }
    assert_eq!(line.as_object().unwrap().len(), 11);
    let time = line["Time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
}

#[test]
fn absent_identities_are_empty_and_levels_have_dotnet_names() {
    let text = lines(LogFormat::Json, || {
        tracing::error!("a");
        tracing::info!("b");
        tracing::debug!("c");
        tracing::trace!("filtered");
    });
    let levels: Vec<Value> =
        text.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["Level"].clone()).collect();
    assert_eq!(levels, ["Error", "Information", "Debug"]);
    assert!(text[0].contains(r#""TenantId":"","NodeId":"n1","TraceId":"","MsgId":"""#), "{}", text[0]);
    assert!(text[0].starts_with("{\"Time\":"), "{}", text[0]);
}

#[test]
fn identities_come_from_the_spans_and_the_event_wins() {
    let line = json(|| {
        let outer =
            tracing::info_span!("ws", tenant = "t1", trace_id = tracing::field::Empty, node = "n2", token = "hidden");
        outer.record("trace_id", "late");
        let _outer = outer.entered();
        let _inner = tracing::info_span!("message", msg_id = "m1", http.target = "/ws?token=hidden").entered();
        tracing::info!(tenant_id = "t9", "ws_connected");
    });
    let ids: Vec<&str> = ["TenantId", "NodeId", "TraceId", "MsgId"].map(|name| line[name].as_str().unwrap()).into();
    assert_eq!(ids, ["t9", "n2", "late", "m1"]);
    assert!(!line.to_string().contains("hidden"), "{line}");
}

#[test]
fn node_of_an_event_is_whom_it_is_about() {
    let line = json(|| tracing::warn!(node = "n7", routes = 3, "dead_node_cleanup_start"));
    assert_eq!((&line["NodeId"], &line["node"], &line["routes"]), (&"n1".into(), &"n7".into(), &3.into()));
    let line = json(|| tracing::warn!(node_id = "n3", "x"));
    assert_eq!(line["NodeId"], "n3");
}

#[test]
fn hostile_text_stays_on_one_line() {
    let evil = "a\n{\"Level\":\"Error\"}\r\"\u{1b}[31m";
    let line = json(|| tracing::info!(user = evil, "said {evil}"));
    assert_eq!(
        (line["user"].as_str().unwrap(), line["Content"].as_str().unwrap()),
        (evil, format!("said {evil}").as_str())
    );
    let text = lines(LogFormat::Text, || tracing::info!(user = evil, tenant = evil, "said {evil}"));
    assert_eq!(text.len(), 1, "{text:?}");
    assert!(text[0].contains("Information") && !text[0].contains(char::is_control), "{text:?}");
}

#[test]
fn tokens_are_not_printed() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let text = lines(format, || {
            tracing::info!(
                url = "http://h/ws?tenantId=t1&token=hidden",
                token = "hidden",
                path = "/ws?token=hidden",
                "x"
            );
        });
        assert!(!text[0].contains("hidden") && text[0].contains("http://h/ws"), "{text:?}");
    }
    for (url, expected) in [
        ("/ws?tenantId=a&token=b", "/ws"),
        ("https://h:1/p#f?x", "https://h:1/p"),
        ("/plain", "/plain"),
        ("?token=x", ""),
    ] {
        assert_eq!(redact_query(url), expected);
    }
}

#[test]
fn a_field_cannot_stand_in_for_a_top_level_name() {
    let line = json(|| tracing::info!(Level = "Fake", "x"));
    assert_eq!(line["Level"], "Information");
}

#[test]
fn time_is_rfc3339_with_milliseconds() {
    for (ms, expected) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_007, "2000-02-29T00:00:00.007Z"),
        (951_868_799_999, "2000-02-29T23:59:59.999Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(rfc3339_ms(UNIX_EPOCH + Duration::from_millis(ms)), expected);
    }
}

#[test]
fn throttle_lets_one_line_per_key_and_period_through() {
    let throttle = Throttle::new(Duration::from_secs(5), 8);
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    assert_eq!(throttle.allow("a", at(0)), Some(0));
    assert_eq!(throttle.allow("a", at(1)), None);
    assert_eq!(throttle.allow("b", at(1)), Some(0));
    assert_eq!(throttle.allow("a", at(4_999)), None);
    assert_eq!(throttle.allow("a", at(5_000)), Some(2));
    assert_eq!(throttle.allow("a", at(10_000)), Some(0));
}

#[test]
fn throttle_is_bounded_in_keys_and_lines() {
    let throttle = Throttle::new(Duration::from_secs(5), 10);
    let start = Instant::now();
    let printed = (0..1000).filter(|n| throttle.allow(&format!("key {n}"), start).is_some()).count();
    assert_eq!(printed, 11, "one per key told apart, and one for all others");
    assert_eq!(throttle.state.lock().unwrap().keys.len(), 10);
    assert_eq!(throttle.allow("key 999", start + Duration::from_secs(5)), Some(0), "ended windows make room");
}
