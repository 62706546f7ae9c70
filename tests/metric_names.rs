//! Names, kinds and labels of the metrics that dashboards and alert rules rely on, held against the code and against what
//! a scrape shows. Must not judge the values: what counts when belongs to the tests of each part.

use std::collections::{BTreeMap, BTreeSet};

use mics::config::Mode;
use mics_actors::metrics::Metrics;
use mics_domain::policy::HookFailure;
use prometheus::Registry;
use prometheus::core::Collector;
use prometheus::proto::MetricType;
use support::client::{group, single};
use support::{Book, Check, Gateway, Setup, wait_until};

#[allow(dead_code, unused_imports)]
mod support;

const SECURED: bool = false;

use MetricType::{COUNTER, GAUGE, HISTOGRAM};

/// Bounds of the contract's histograms in milliseconds; +Inf follows.
const BUCKETS: [f64; 15] = [1., 2., 5., 10., 25., 50., 100., 150., 200., 250., 500., 1000., 2500., 5000., 10000.];

/// What no traffic to one node at rest brings about: it takes other nodes, a broker, a directory that fails, a hook that
/// is overrun, a long silence or the node's end.
const NOT_DRIVEN: &[&str] = &[
    "mics_admission_unregister_failed_total",
    "mics_admission_unregister_retry_dropped_total",
    "mics_admission_unregister_retry_failed_total",
    "mics_admission_unregister_retry_giveup_total",
    "mics_admission_unregister_retry_ok_total",
    "mics_dead_node_cleanups_total",
    "mics_dead_node_routes_processed_total",
    "mics_grpc_circuit_open_total",
    "mics_grpc_forward_duration_ms",
    "mics_grpc_forward_failed_total",
    "mics_grpc_offline_buffer_failed_total",
    "mics_grpc_offline_drain_failed_total",
    "mics_grpc_unauthorized_total",
    "mics_hook_limiter_rejected_total",
    "mics_mq_dlq_fallback_dropped_total",
    "mics_mq_dlq_fallback_enqueued_total",
    "mics_mq_dlq_fallback_failed_total",
    "mics_mq_dlq_fallback_published_total",
    "mics_mq_dlq_fallback_retried_total",
    "mics_mq_dlq_total",
    "mics_mq_dropped_total",
    "mics_mq_failed_total",
    "mics_mq_published_total",
    "mics_mq_retried_total",
    "mics_offline_drain_failed_total",
    "mics_redis_fallback_total",
    "mics_shutdown_drain_total",
    "mics_ws_heartbeat_timeouts_total",
    "mics_ws_lease_renew_fail_total",
];

struct Row {
    name: &'static str,
    kind: MetricType,
    /// In the contract's order.
    labels: &'static [&'static str],
    collector: Box<dyn Collector>,
}

macro_rules! contract {
    ($($kind:ident $metric:ident [$($label:literal),*];)*) => {
        /// The contract's metrics.
        fn contract(metrics: &Metrics) -> Vec<Row> {
            vec![$(Row {
                name: concat!("mics_", stringify!($metric)),
                kind: $kind,
                labels: &[$($label),*],
                collector: Box::new(metrics.$metric.clone()),
            }),*]
        }
    };
}

contract! {
    GAUGE ws_connections ["node"];
    COUNTER ws_connections_events_total ["tenant", "node", "delta"];
    COUNTER ws_connected_total ["tenant", "node"];
    COUNTER ws_disconnected_total ["tenant", "node"];
    COUNTER ws_frames_rejected_total ["tenant", "reason"];
    COUNTER ws_heartbeat_timeouts_total ["tenant"];
    COUNTER ws_lease_renew_fail_total ["tenant"];
    COUNTER messages_in_total ["tenant", "type"];
    COUNTER messages_rejected_total ["tenant", "reason"];
    COUNTER messages_failed_total ["tenant"];
    COUNTER dedup_hits_total ["tenant"];
    COUNTER rate_limited_total ["tenant", "kind"];
    COUNTER deliveries_total ["tenant", "via"];
    COUNTER group_messages_total ["tenant"];
    COUNTER group_members_total ["tenant"];
    COUNTER group_fanout_nodes_total ["tenant"];
    COUNTER group_members_over_limit_total ["tenant"];
    COUNTER group_members_capped_total ["tenant"];
    COUNTER group_offline_notified_total ["tenant"];
    COUNTER group_offline_buffered_total ["tenant"];
    COUNTER group_offline_buffer_skipped_total ["tenant"];
    COUNTER offline_notified_total ["tenant"];
    COUNTER offline_buffered_total ["tenant", "via"];
    COUNTER offline_buffer_skipped_total ["tenant", "via"];
    COUNTER offline_buffer_evicted_users_total ["tenant"];
    COUNTER offline_drained_total ["tenant", "node"];
    COUNTER offline_drained_from_hook_total ["tenant", "node"];
    COUNTER offline_drain_failed_total ["tenant", "reason"];
    COUNTER hook_requests_total ["tenant", "op", "result"];
    HISTOGRAM hook_duration_ms ["tenant", "op"];
    COUNTER hook_duration_ms_total ["tenant", "op"];
    COUNTER hook_limiter_rejected_total ["tenant", "op", "reason"];
    COUNTER hook_check_message_total ["tenant", "result"];
    COUNTER hook_get_group_members_total ["tenant", "result"];
    COUNTER hook_get_offline_messages_total ["tenant", "result"];
    COUNTER grpc_forward_failed_total ["tenant", "via", "status"];
    HISTOGRAM grpc_forward_duration_ms ["tenant", "via"];
    COUNTER mq_published_total ["tenant", "topic", "event_type"];
    COUNTER mq_failed_total ["tenant", "topic", "event_type"];
    COUNTER mq_retried_total ["tenant", "event_type"];
    COUNTER mq_dlq_total ["tenant", "event_type"];
    COUNTER mq_dlq_fallback_enqueued_total ["tenant", "event_type"];
    COUNTER mq_dlq_fallback_published_total ["tenant", "event_type"];
    COUNTER mq_dlq_fallback_failed_total ["tenant", "event_type"];
    COUNTER mq_dlq_fallback_retried_total ["tenant", "event_type"];
    COUNTER mq_dlq_fallback_dropped_total ["tenant", "reason"];
    COUNTER mq_dropped_total ["tenant", "reason"];
    COUNTER redis_fallback_total ["tenantId", "op"];
    COUNTER admission_unregister_failed_total ["tenant"];
    COUNTER shutdown_drain_total ["node"];
    COUNTER grpc_circuit_open_total ["tenant", "node", "via"];
    COUNTER grpc_offline_buffer_failed_total ["tenant", "status"];
    COUNTER grpc_offline_drain_failed_total ["tenant", "status"];
    COUNTER grpc_unauthorized_total [];
    COUNTER admission_unregister_retry_ok_total ["tenant"];
    COUNTER admission_unregister_retry_failed_total ["tenant"];
    COUNTER admission_unregister_retry_giveup_total ["tenant"];
    COUNTER admission_unregister_retry_dropped_total ["tenant"];
    COUNTER dead_node_cleanups_total ["node"];
    COUNTER dead_node_routes_processed_total ["node"];
}

fn metrics() -> Metrics {
    Metrics::new(Registry::new()).unwrap()
}

#[test]
fn every_metric_of_the_contract_has_its_kind_and_its_labels_in_order() {
    for row in contract(&metrics()) {
        let described = row.collector.desc();
        assert_eq!(described.len(), 1, "{}", row.name);
        assert_eq!(described[0].fq_name, row.name);
        assert_eq!(described[0].variable_labels, row.labels, "labels of {}", row.name);
        assert!(described[0].const_label_pairs.is_empty(), "{}", row.name);
        assert!(described[0].help.ends_with('.'), "help of {}: {:?}", row.name, described[0].help);
        assert_eq!(row.collector.collect()[0].get_field_type(), row.kind, "kind of {}", row.name);
    }
}

#[test]
fn no_name_is_listed_twice_and_none_is_missing() {
    let rows = contract(&metrics());
    assert_eq!(rows.iter().map(|row| row.name).collect::<BTreeSet<_>>().len(), rows.len());
    assert_eq!(rows.len(), 60, "names in the contract");
}

#[test]
fn histograms_in_milliseconds_have_the_contracts_buckets() {
    let metrics = metrics();
    for histogram in [&metrics.hook_duration_ms, &metrics.grpc_forward_duration_ms] {
        histogram.with_label_values(&["t1", "x"]).observe(1.);
        let family = histogram.collect().remove(0);
        let buckets = family.get_metric()[0].get_histogram().get_bucket().iter();
        let bounds: Vec<f64> = buckets.map(|bucket| bucket.upper_bound()).filter(|bound| bound.is_finite()).collect();
        assert_eq!(bounds, BUCKETS, "{}", family.name());
    }
}

/// Messages, refusals and failures of many kinds, and a session that ended.
fn traffic() -> Gateway {
    let book = Book::default()
        .group("t1", "g", ["v", "nobody", "nobody else"])
        .group("t1", "large", ["a", "b", "c", "d"])
        .config("t1", |config| config.user_max_connections = 1)
        .config("t2", |config| config.offline_use_hook_pull = true)
        .group("t2", "g", ["nobody"])
        .check(|message| match &message.body[..] {
            b"panic" => Check::Panic,
            b"fail" => Check::Fail(HookFailure::Network),
            _ => Check::Allow,
        });
    let limits = |settings: &mut mics_actors::settings::Settings| {
        (settings.max_message_bytes, settings.group_max_members, settings.group_offline_max_users) = (100, 3, 1);
        (settings.offline.max_users, settings.offline.max_bytes_per_user) = (1, 150);
    };
    let gateway = Setup::with(book).set(limits).start();
    let v = gateway.connect("t1", "v", "d");
    let mut u = gateway.connect("t1", "u", "d");
    let messages = [
        single("1", "v", b"x"),
        single("1", "v", b"x"),
        single("2", "", b"x"),
        single("3", "w", b"x"),
        single("4", "evicts w", b"x"),
        single("5", "too long for the buffer", &[b'x'; 100]),
        single("6", "v", b"panic"),
        single("7", "v", b"fail"),
        group("8", "g"),
        group("9", "large"),
    ];
    messages.into_iter().for_each(|message| drop(u.say(message)));
    u.binary(&[0; 100 + 65_537]);
    u.error();
    assert_eq!(gateway.open("tenantId=t1&token=valid:u&deviceId=second").closed().0, 4429);
    drop(v);
    wait_until("one session is gone", || gateway.sessions("t1") == 1);
    let mut u = gateway.connect("t2", "u", "d");
    u.say(single("1", "nobody", b"x"));
    u.say(group("2", "g"));
    gateway.connect("t1", "nobody", "d").delivery();
    gateway
}

/// What a scrape says of one metric.
#[derive(Default)]
struct Scraped {
    help: String,
    kind: String,
    labels: BTreeSet<String>,
}

/// Names of the labels of `{a="1",b="2"}`. No label value of these tests contains a comma or a brace.
fn label_names(series: &str) -> BTreeSet<String> {
    let inside = series.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
    let names = inside.split(',').filter_map(|pair| pair.split_once('='));
    names.map(|(name, _)| name.to_owned()).filter(|name| name != "le").collect()
}

fn scrape(gateway: &Gateway) -> BTreeMap<String, Scraped> {
    let (status, text) = gateway.get("/metrics");
    assert_eq!(status, 200);
    let mut found: BTreeMap<String, Scraped> = BTreeMap::new();
    for line in text.lines().skip_while(|line| !line.is_empty()).filter(|line| line.contains("mics_")) {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.into()).or_default().help = help.into();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.into()).or_default().kind = kind.into();
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family =
                of_histogram.filter(|family| found.get(*family).is_some_and(|known| known.kind == "histogram"));
            let entry = found.get_mut(family.unwrap_or(name)).unwrap_or_else(|| panic!("no HELP before {line}"));
            let labels = label_names(line);
            assert!(entry.labels.is_empty() || entry.labels == labels, "{line}: other labels than {:?}", entry.labels);
            entry.labels = labels;
        }
    }
    found
}

#[test]
fn a_scrape_shows_names_kinds_help_and_labels_of_the_contract() {
    let gateway = traffic();
    let scraped = scrape(&gateway);
    for (name, family) in &scraped {
        assert!(!family.help.is_empty() && !family.kind.is_empty(), "{name} without HELP or TYPE");
    }
    let mut unseen = BTreeSet::new();
    for row in contract(&gateway.node.metrics) {
        let Some(family) = scraped.get(row.name) else {
            unseen.insert(row.name);
            continue;
        };
        assert_eq!(family.kind, format!("{:?}", row.kind).to_lowercase(), "{}", row.name);
        assert_eq!(family.help, row.collector.desc()[0].help, "{}", row.name);
        assert_eq!(family.labels, row.labels.iter().map(|label| (*label).to_owned()).collect(), "{}", row.name);
    }
    let excused: BTreeSet<&str> = NOT_DRIVEN.iter().copied().collect();
    assert!(unseen.is_subset(&excused), "no series: {:?}", unseen.difference(&excused));
}

/// The specification asks for the values of limits and for bytes, the contract has no names for them.
#[test]
fn a_scrape_shows_limits_in_force_and_bytes_of_each_tenant() {
    let gateway = traffic();
    let figure = |series: &str| {
        let (_, text) = gateway.get("/metrics");
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok())
    };
    let limit =
        |tenant: &str, limit: &str| figure(&format!("mics_tenant_limit{{limit=\"{limit}\",tenant=\"{tenant}\"}}"));
    wait_until("limits are told", || limit("t1", "user_max_connections") == Some(1.0));
    assert!(limit("t1", "tenant_max_message_qps").is_some() && limit("t1", "tenant_max_connections").is_some());
    let bytes = |direction: &str| figure(&format!("mics_ws_{direction}_bytes_total{{tenant=\"t1\"}}")).unwrap_or(0.0);
    let (received, sent) = (bytes("received"), bytes("sent"));
    assert!(received > 100.0 && sent > 100.0, "{received} and {sent} bytes");
    let mut u = gateway.connect("t1", "late", "d");
    let message = single("20", "x", &[b'x'; 90]);
    let length = prost::Message::encoded_len(&message) as f64;
    u.say(message);
    // The message inside a client frame: a tag and a length more.
    let grown = bytes("received") - received;
    assert!((length + 2.0..length + 20.0).contains(&grown), "{grown} bytes for a message of {length}");
    wait_until("the ack is counted", || bytes("sent") > sent);
}

#[cfg(target_os = "linux")]
#[test]
fn a_scrape_shows_the_process_under_the_usual_names() {
    let (status, text) = Gateway::from_variables(&[], Mode::Dev).get("/metrics");
    assert_eq!(status, 200);
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse::<f64>().expect("a number")
    };
    assert!(figure("process_cpu_seconds_total") >= 0.0);
    assert!(figure("process_resident_memory_bytes") > 1_048_576.0);
    assert!(figure("process_virtual_memory_bytes") > figure("process_resident_memory_bytes"));
    assert!((1.0..=figure("process_max_fds")).contains(&figure("process_open_fds")));
    assert!(figure("process_threads") > 1.0 && figure("process_start_time_seconds") > 1e9);
}
