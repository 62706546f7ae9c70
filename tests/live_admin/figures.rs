//! Figures of nodes and tenants, at once and as a stream.

use std::io::{BufRead, BufReader, Write};

use serde_json::{Value, json};

use super::api::{Administered, TOKEN, connect};
use super::processes::wait;
use super::redis_support::redis_is_missing;
use super::users::User;

/// The next event of a stream of server-sent events.
fn event(stream: &mut impl BufRead) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(stream.read_line(&mut line).expect("the stream goes on") > 0, "the stream ended");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).expect("JSON");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_those_of_the_whole_cluster() {
    if redis_is_missing("figures_are_those_of_the_whole_cluster") {
        return;
    }
    let mut admin = Administered::start(2, |_| {}).await;
    let fresh = admin.get("/admin/v1/tenants/t1").body;
    assert_eq!(fresh["limits"]["tenant"], Value::Null, "nobody was let in yet");
    assert_eq!(fresh["limits"]["hooks"]["max_concurrency"], 32);
    let (alice, bob) =
        (User::at(&admin.cluster.nodes[0], "alice").await, User::at(&admin.cluster.nodes[1], "bob").await);
    for n in 0..10 {
        alice.tell("bob", &format!("a-{n}")).await;
        bob.tell("nobody", &format!("b-{n}")).await;
    }

    let nodes = admin.get("/admin/v1/nodes").body["nodes"].clone();
    let row = |node: &Value| json!([node["node"], node["state"], node["connections"], node["here"]]);
    let rows: Vec<Value> = nodes.as_array().unwrap().iter().map(row).collect();
    assert_eq!(rows, [json!(["node-1", "serving", 1, true]), json!(["node-2", "serving", 1, false])]);
    assert!(nodes[1]["age_ms"].as_i64().is_some_and(|age| (0..600_000).contains(&age)), "{nodes}");

    let tenant = admin.get("/admin/v1/tenants/t1").body;
    let figures = ["connections", "users", "messages_in", "deliveries"].map(|name| tenant[name].as_u64().unwrap());
    assert_eq!(figures, [2, 2, 20, 10]);
    assert_eq!((&tenant["breaker"], &tenant["hooks"][1]["op"]), (&json!("closed"), &json!("CheckMessage")));
    assert_eq!((&tenant["hooks"][0]["calls"], &tenant["hooks"][1]["calls"]), (&json!(2), &json!(20)));
    assert!(tenant["hooks"][1]["latency_ms"]["p95"].as_f64().is_some_and(|ms| ms > 0.0), "{tenant}");
    assert_eq!(tenant["buffer"]["messages"], 20, "ten messages at two nodes");
    assert_eq!(tenant["limits"]["tenant"]["user_max_connections"], 8);
    assert_eq!(tenant["nodes"].as_array().map(Vec::len), Some(2));
    assert!(!tenant.to_string().contains(super::processes::SECRET));

    let page = admin.get("/admin/v1/tenants?limit=1").body;
    assert_eq!((&page["total"], &page["next"], &page["tenants"][0]["tenant"]), (&json!(1), &Value::Null, &json!("t1")));
    assert_eq!(admin.get("/admin/v1/tenants?after=t1").body["tenants"], json!([]));

    admin.cluster.nodes[1].freeze();
    wait("the frozen one is told apart", || {
        let page = admin.get("/admin/v1/tenants").body;
        page["unreachable"] == json!(["node-2"]) && page["tenants"][0]["connections"] == 1
    })
    .await;
    assert_eq!(admin.get("/admin/v1/nodes").body["nodes"][1]["state"], "unreachable");
    admin.cluster.nodes[1].thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_shows_every_second_what_is_going_on() {
    if redis_is_missing("the_stream_shows_every_second_what_is_going_on") {
        return;
    }
    let admin = Administered::start(2, |_| {}).await;
    let mut stream = connect(admin.ports[0]);
    let head = format!(
        "GET /admin/v1/overview/stream HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {TOKEN}\r\n\r\n",
        admin.ports[0]
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let first = event(&mut stream);
    assert_eq!((&first["cluster"]["nodes"], &first["node"]), (&json!(2), &json!("node-1")));
    let alice = User::at(&admin.cluster.nodes[0], "alice").await;
    let _bob = User::at(&admin.cluster.nodes[1], "bob").await;
    let mut told = 0.0;
    let mut sent = 0;
    // Rates add up to what was sent, whatever the intervals were.
    let seen = loop {
        if sent < 50 {
            alice.tell("bob", &format!("m-{sent}")).await;
            sent += 1;
            if sent % 10 != 0 {
                continue;
            }
        }
        let overview = event(&mut stream);
        let seconds = overview["interval_ms"].as_f64().expect("a sample was there before") / 1e3;
        told += overview["cluster"]["messages_per_second"].as_f64().expect("a rate") * seconds;
        let connected = overview["cluster"]["connections"] == 2;
        if sent == 50 && told > 45.0 && connected {
            break overview;
        }
    };
    assert!(told < 55.0, "each message is in one interval: {told}");
    assert_eq!(seen["tenants"][0]["tenant"], "t1");
    let actors = seen["actors"].as_array().expect("actors");
    let kinds: Vec<&str> = actors.iter().filter_map(|actor| actor["kind"].as_str()).collect();
    for kind in ["root", "members", "tenant_supervisor", "offline_buffer", "session", "hub", "router"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    assert!(actors.iter().all(|actor| actor["depth"].is_u64() && actor["capacity"].is_u64()));
    assert_eq!(admin.get("/admin/v1/overview").body["tenants_total"], 1);
    let all = admin.get("/admin/v1/actors").body;
    let supervisor = all["actors"].as_array().unwrap().iter().find(|actor| actor["kind"] == "tenant_supervisor");
    assert_eq!(supervisor.unwrap()["state"]["sessions"], 1);

    // Streams are counted, and given back.
    let open: Vec<_> = (0..15)
        .map(|_| {
            let mut stream = connect(admin.ports[0]);
            stream.write_all(head.as_bytes()).unwrap();
            let mut stream = BufReader::new(stream);
            event(&mut stream);
            stream
        })
        .collect();
    assert_eq!(admin.get("/admin/v1/overview/stream").problem(), (503, "too_many_streams"));
    drop((open, stream));
    wait("there is room again", || {
        let mut stream = connect(admin.ports[0]);
        stream.write_all(head.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).is_ok() && line.contains("200")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_are_ended() {
    if redis_is_missing("streams_that_nobody_reads_are_ended") {
        return;
    }
    // Many tenants: what one second tells fills the buffers of a socket soon.
    let tenants: Vec<String> = (1..=200).map(|n| format!("\"t{n}\":\"http://127.0.0.1:9\"")).collect();
    let map = format!("{{{}}}", tenants.join(","));
    let admin = Administered::start(1, |plan| plan.set("TENANT_AUTH_MAP", &map)).await;
    let head = format!(
        "GET /admin/v1/overview/stream HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nauthorization: Bearer {TOKEN}\r\n\r\n",
        admin.ports[0]
    );
    let open = || {
        let mut stream = BufReader::with_capacity(64, connect(admin.ports[0]));
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let mut status = String::new();
        stream.read_line(&mut status).unwrap();
        (stream, status)
    };
    let unread: Vec<_> = (0..16).map(|_| open()).collect();
    assert!(unread.iter().all(|(_, status)| status.contains("200")), "{unread:?}");
    assert!(open().1.contains("503"), "that was all the room");
    wait("there is room again", || open().1.contains("200")).await;
}
