//! The event sink against real brokers, which the tests start with `scripts/kafka.sh`; librdkafka's mock brokers where only
//! they can be made to answer wrong. Without Java or the jars, tests say SKIPPED and pass.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_support::{Broker, Record, TestSink, by_user, config, free_port, read};
use mics::config::Secret;
use mics::kafka::{KafkaConfig, dead_letter_topic, event_topic};
use mics_actors::contract::events::{self as contract, Published, event};
use mics_domain::event::Event;
use mics_domain::ports::{EventRefused, EventSink, LocalFuture};
use mics_domain::trace::TraceParent;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::time::{Instant, sleep};

mod kafka_support;

const LONG: Duration = Duration::from_secs(60);

fn mock() -> MockCluster<'static, DefaultProducerContext> {
    MockCluster::new(1).expect("mock brokers")
}

fn offer(sink: &impl EventSink, tenant: &str, user: &str, id: usize) {
    sink.offer(event(tenant, user, &id.to_string())).expect("room");
}

struct Topics(Arc<Broker>);

impl Published for Topics {
    fn published<'a>(&'a self, tenant: &'a str, at_least: usize) -> LocalFuture<'a, Vec<(String, String)>> {
        let records = read(&self.0.bootstrap, &event_topic(tenant), at_least);
        Box::pin(async move { records.iter().map(Record::names).collect() })
    }
}

#[tokio::test]
async fn keeps_the_contract_of_the_port() {
    let Some(broker) = Broker::plain("keeps_the_contract_of_the_port").map(Arc::new) else { return };
    contract::run_all(|| async { (Arc::new(TestSink::new(&config(&broker.bootstrap))), Topics(broker.clone())) }).await;
    let sink = TestSink::new(&config(&broker.bootstrap));
    offer(&sink, "plain", "alice", 7);
    assert_eq!(sink.sink.close(LONG).await, 0);
    assert_eq!(sink.offer(event("plain", "alice", "late")), Err(EventRefused::QueueFull));
    let expected = Record { key: "alice".into(), value: b"alice|7|\x0a\x01t".into(), headers: vec![] };
    assert_eq!(read(&broker.bootstrap, "im-mics-plain-event", 1), [expected]);
    let place = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let sink = TestSink::new(&config(&broker.bootstrap));
    sink.offer(Event { trace: TraceParent::parse(place), ..event("traced", "alice", "8") }).expect("room");
    assert_eq!(sink.sink.close(LONG).await, 0);
    let traced = read(&broker.bootstrap, &event_topic("traced"), 1);
    assert_eq!(traced[0].headers, [("traceparent".to_owned(), place.to_owned())]);
}

/// Each user's events are on the event topic in order; what is missing there is a dead letter.
fn assert_complete(broker: &Broker, tenant: &str, users: usize, each: usize) -> usize {
    let published = by_user(&read(&broker.bootstrap, &event_topic(tenant), users * each));
    let letters = by_user(&read(&broker.bootstrap, &dead_letter_topic(tenant), 0));
    for user in (0..users).map(|user| format!("u{user}")) {
        let ids = published.get(&user).cloned().unwrap_or_default();
        assert!(ids.is_sorted(), "{user}: {ids:?}");
        let dead = letters.get(&user).cloned().unwrap_or_default();
        let all: HashSet<usize> = ids.iter().chain(&dead).copied().collect();
        assert_eq!(all.len(), each, "{user}: {} published, {} dead letters", ids.len(), dead.len());
    }
    letters.values().map(Vec::len).sum()
}

#[tokio::test]
async fn users_see_their_events_in_order_while_a_broker_hangs_dies_and_comes_back() {
    let test = "users_see_their_events_in_order_while_a_broker_hangs_dies_and_comes_back";
    let Some(broker) = Broker::plain(test) else { return };
    let sink = TestSink::new(&KafkaConfig { try_timeout: Duration::from_secs(1), ..config(&broker.bootstrap) });
    let (users, each) = (20, 300);
    for n in 0..each {
        match n {
            100 => broker.signal("STOP"),
            // By now tries have timed out; what was in flight is unknown to the sink.
            150 => sink.until("a failed try", |sink| sink.count("failed_total", "t1", "") > 0).await,
            160 => broker.signal("CONT"),
            200 => broker.signal("KILL"),
            250 => broker.resume(),
            _ => {}
        }
        (0..users).for_each(|user| offer(&sink, "t1", &format!("u{user}"), n));
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sink.sink.close(LONG).await, 0, "nothing is lost");
    let dead = assert_complete(&broker, "t1", users, each);
    let (published, retried) = (sink.published("t1"), sink.count("retried_total", "t1", ""));
    println!("{published} published, {dead} dead letters, {retried} retries");
    assert!(retried > 0);
    assert_eq!(published + sink.count("dlq_total", "t1", ""), (users * each) as u64);
}

#[tokio::test]
async fn a_sink_starts_without_a_broker_and_delivers_when_there_is_one() {
    let port = free_port();
    let sink =
        TestSink::new(&KafkaConfig { try_timeout: Duration::from_secs(2), ..config(&format!("127.0.0.1:{port}")) });
    (0..500).for_each(|n| offer(&sink, "t1", &format!("u{}", n % 5), n / 5));
    // Longer than three tries take.
    sleep(Duration::from_secs(7)).await;
    assert_eq!((sink.sink.pending(), sink.count("dropped_total", "t1", "")), (500, 0));
    let Some(broker) = Broker::start("a_sink_starts_without_a_broker", port, "", "") else { return };
    assert_eq!(sink.sink.close(LONG).await, 0);
    let dead = assert_complete(&broker, "t1", 5, 100);
    assert_eq!((dead, sink.published("t1")), (0, 500), "an outage uses up no tries");
}

#[tokio::test]
async fn a_tenant_whose_topic_is_broken_delays_nobody_and_loses_no_event_uncounted() {
    let strict = "auto.create.topics.enable=false\nallow.everyone.if.no.acl.found=true\n\
        authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n";
    let Some(broker) = Broker::start("a_tenant_whose_topic_is_broken", free_port(), strict, "") else { return };
    let small: &[(&str, &str)] = &[("max.message.bytes", "2000")];
    let topics = ["fine", "fine2", "denied", "gone"].map(event_topic);
    let letters = ["large", "denied", "gone"].map(dead_letter_topic);
    let mut all: Vec<(&str, &[(&str, &str)])> =
        topics.iter().chain(&letters).map(|name| (name.as_str(), &[][..])).collect();
    let large = event_topic("large");
    all.push((&large, small));
    broker.create(&all).await;
    let acl = ["kafka.admin.AclCommand", "--add", "--deny-principal", "User:ANONYMOUS", "--operation", "Write"];
    broker.tool(&[&acl[..], &["--topic", &event_topic("denied")]].concat());

    let settings = KafkaConfig { try_timeout: Duration::from_secs(4), ..config(&broker.bootstrap) };
    let sink = TestSink::new(&settings);
    offer(&sink, "gone", "u", 1_000_000);
    sink.until("the topic works", |sink| sink.published("gone") == 1).await;
    let admin = broker.admin();
    admin.delete_topics(&[&event_topic("gone")], &Default::default()).await.expect("an answer");

    let body = Bytes::from(vec![b'x'; 3_000]);
    for n in 0..300 {
        for tenant in ["denied", "gone", "nowhere"] {
            offer(&sink, tenant, &format!("u{}", n % 30), n);
        }
        let one = event("large", &format!("u{}", n % 30), &n.to_string());
        let one = if n % 3 == 0 { Event { data: body.clone(), ..one } } else { one };
        sink.offer(one).expect("room");
        offer(&sink, "fine", &format!("u{}", n % 30), n);
    }
    // The others are through while `nowhere`, which can only time out, still waits.
    sink.until("the tenant beside them", |sink| sink.published("fine") == 300).await;
    assert_eq!(sink.count("dlq_fallback_enqueued_total", "nowhere", ""), 0, "its first try is not over");
    // Each of these has the brokers refuse something; the good one's turn comes within the same time.
    for n in 0..300 {
        offer(&sink, "denied", "u", 1_000 + n);
        offer(&sink, "fine2", "u", n);
        if n % 30 == 0 {
            sink.until("the tenant beside them", |sink| sink.published("fine2") >= n as u64).await;
        }
    }
    sink.until("the end of the good", |sink| sink.published("fine2") == 300).await;
    sink.until("the end of the refused", |sink| sink.count("dlq_total", "denied", "") == 600).await;
    sink.until("the end of the large", |sink| sink.count("dlq_total", "large", "") + sink.published("large") == 300)
        .await;
    assert_eq!((sink.count("dlq_total", "large", ""), sink.published("large")), (100, 200), "only what is too large");
    sink.until("the end of the deleted", |sink| sink.count("dlq_total", "gone", "") == 300).await;
    sink.until("`nowhere` waits in the second queue", |sink| {
        sink.count("dlq_fallback_enqueued_total", "nowhere", "") == 300
    })
    .await;
    for tenant in ["fine", "fine2"] {
        assert_eq!(sink.count("failed_total", tenant, "") + sink.count("dlq_total", tenant, ""), 0, "{tenant}");
    }
    // The dead-letter topic appears: the second queue empties itself into it.
    broker.create(&[(&dead_letter_topic("nowhere"), &[])]).await;
    assert_eq!(sink.sink.close(LONG).await, 0);
    assert_eq!(sink.count("dlq_fallback_published_total", "nowhere", ""), 300);
    let letters = by_user(&read(&broker.bootstrap, &dead_letter_topic("nowhere"), 300));
    assert_eq!(letters.values().map(Vec::len).sum::<usize>(), 300);
}

#[tokio::test]
async fn refusals_are_returned_and_what_is_lost_at_the_end_is_counted() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket that nobody serves");
    let mut settings = config(&nobody.local_addr().expect("an address").to_string());
    (settings.limits.events, settings.limits.events_per_tenant) = (5, 3);
    let sink = TestSink::new(&settings);
    let offer = |tenant: &str, n: u32| sink.offer(event(tenant, "u", &n.to_string()));
    assert_eq!((0..3).map(|n| offer("a", n)).collect::<Vec<_>>(), vec![Ok(()); 3]);
    assert_eq!(offer("a", 3), Err(EventRefused::TenantQuota));
    assert_eq!((0..2).map(|n| offer("b", n)).collect::<Vec<_>>(), vec![Ok(()); 2]);
    assert_eq!(offer("b", 2), Err(EventRefused::QueueFull));
    assert_eq!(sink.metrics.mq_pending.with_label_values(&["a", "event"]).get(), 3);
    assert_eq!(sink.sink.close(Duration::from_millis(50)).await, 5);
    assert_eq!((sink.count("dropped_total", "a", "shutdown"), sink.count("dropped_total", "b", "shutdown")), (3, 2));
    assert_eq!(sink.metrics.mq_pending.with_label_values(&["a", "event"]).get(), 0);
    assert_eq!(sink.sink.pending(), 0);
}

#[tokio::test]
async fn a_fatal_error_of_the_client_is_survived() {
    let brokers = mock();
    let sink = TestSink::new(&config(&brokers.bootstrap_servers()));
    offer(&sink, "t1", "alice", 0);
    sink.until("the first", |sink| sink.published("t1") == 1).await;
    brokers.request_errors(
        RDKafkaApiKey::InitProducerId,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 2],
    );
    // A refused batch has the client ask for a new id, which it does not get: it's dead then.
    brokers.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    (1..200).for_each(|n| offer(&sink, "t1", "alice", n));
    assert_eq!(sink.sink.close(LONG).await, 0);
    assert_eq!(sink.published("t1") + sink.count("dlq_total", "t1", ""), 200);
    assert!(sink.metrics.mq_client_restarts_total.with_label_values::<&str>(&[]).get() > 0, "there was a fatal error");
}

#[tokio::test]
async fn settings_for_tls_and_passwords_reach_the_client() {
    let (port, secure) = (free_port(), free_port());
    let keys = std::env::temp_dir().join(format!("mics-kafka-keys-{}", std::process::id()));
    std::fs::create_dir_all(&keys).expect("a folder");
    let keytool = |words: &str| {
        let words = words.replace("KEYS", &keys.display().to_string());
        let output = std::process::Command::new("keytool").args(words.split(' ')).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !keytool(
        "-genkeypair -keystore KEYS/b.p12 -storetype PKCS12 -storepass changeit -alias b -keyalg RSA -dname CN=127.0.0.1 -ext SAN=ip:127.0.0.1",
    ) || !keytool("-exportcert -rfc -keystore KEYS/b.p12 -storepass changeit -alias b -file KEYS/b.pem")
    {
        eprintln!("SKIPPED settings_for_tls_and_passwords_reach_the_client: keytool is missing");
        return;
    }
    let module = "org.apache.kafka.common.security";
    let properties = format!(
        "listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:@CONTROLLER@,SECURE://127.0.0.1:{secure}\n\
        advertised.listeners=PLAINTEXT://127.0.0.1:{port},SECURE://127.0.0.1:{secure}\n\
        listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n\
        listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
        listener.name.secure.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_mics=\"plain-secret\";\n\
        listener.name.secure.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
        listener.name.secure.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;\n\
        ssl.keystore.location={0}/b.p12\nssl.keystore.type=PKCS12\nssl.keystore.password=changeit\n",
        keys.display()
    );
    let scram = "--add-scram SCRAM-SHA-512=[name=mics,password=scram-secret] \
        --add-scram SCRAM-SHA-256=[name=mics,password=scram-256-secret]";
    let Some(broker) = Broker::start("settings_for_tls_and_passwords", port, &properties, scram) else { return };
    let sink = |mechanism: &str, password: &str| {
        let mut settings = config(&format!("127.0.0.1:{secure}"));
        let ca = keys.join("b.pem").display().to_string();
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", ca.as_str()),
            ("sasl.mechanism", mechanism),
            ("sasl.username", "mics"),
            ("sasl.password", password),
        ] {
            settings.connection.properties.insert(name.to_owned(), Secret::new(value));
        }
        TestSink::new(&settings)
    };
    for (tenant, mechanism, password) in [
        ("plain", "PLAIN", "plain-secret"),
        ("scram", "SCRAM-SHA-512", "scram-secret"),
        ("scram-256", "SCRAM-SHA-256", "scram-256-secret"),
    ] {
        let sink = sink(mechanism, password);
        offer(&sink, tenant, "alice", 1);
        assert_eq!(sink.sink.close(LONG).await, 0, "{mechanism}");
        assert_eq!(read(&broker.bootstrap, &event_topic(tenant), 1).len(), 1);
    }
    let wrong = sink("PLAIN", "scram-secret");
    offer(&wrong, "plain", "alice", 2);
    assert_eq!(wrong.sink.close(Duration::from_secs(3)).await, 1, "a wrong password publishes nothing");
    let _ = std::fs::remove_dir_all(&keys);
}

/// `cargo test --release --test live_kafka -- --ignored --nocapture`
#[tokio::test]
#[ignore = "a measurement"]
async fn throughput() {
    let Some(broker) = Broker::plain("throughput") else { return };
    let (tenants, users, events) = (10, 200, 300_000);
    let sink = TestSink::new(&config(&broker.bootstrap));
    let body = Bytes::from(vec![b'x'; 300]);
    let one = |n: usize| {
        let (tenant, user) = (format!("t{}", n % tenants), format!("u{}", n / tenants % users));
        Event { data: body.clone(), ..event(&tenant, &user, &n.to_string()) }
    };
    for n in 0..1_000 {
        sink.offer(one(n)).expect("room");
    }
    sink.until("warm", |sink| sink.sink.pending() == 0).await;
    let start = Instant::now();
    let mut refused = 0_u64;
    for n in 0..events {
        while sink.offer(one(n)).is_err() {
            refused += 1;
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(sink.sink.close(LONG).await, 0);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{:.0} events/s: {events} of 300 bytes in {seconds:.2} s, {refused} waits for room",
        events as f64 / seconds
    );
    assert!(events as f64 / seconds >= 10_000., "the bar is 10 000 events/s");
}
