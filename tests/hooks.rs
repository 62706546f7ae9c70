//! The `Hooks` port: one contract suite for every implementation, and every outcome of a call over real sockets.
//! Must not reach beyond loopback.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use mics::hookmock::embedded::EmbeddedHooks;
use mics::hookmock::faults::{Fault, Faults};
use mics::hookmock::rules::{MockPolicy, MockSettings, MockTenant};
use mics::hookmock::server;
use mics::hooks::client::{HostRules, HttpHookSettings, HttpHooks};
use mics_domain::message::{Kind, Message};
use mics_domain::policy::HookFailure;
use mics_domain::ports::{AuthAnswer, CheckAnswer, HookTarget, Hooks, MembersPage, MembersQuestion};
use mics_domain::tenant::Secret;
use mics_domain::trace::TraceParent;

const HOOK_URL: &str = "http://hooks.example:8081";

fn target(base: &str) -> HookTarget {
    HookTarget {
        tenant: "t1".into(),
        base_url: base.to_owned(),
        secret: Secret::new("dev-secret-t1"),
        trace_id: "fedcba9876543210fedcba9876543210".into(),
        trace: None,
    }
}

fn message(body: &'static [u8]) -> Message {
    Message {
        tenant: "t1".into(),
        user: "u1".into(),
        device: "dev1".into(),
        msg_id: "m-1".into(),
        kind: Kind::Single,
        to_user: "u2".into(),
        group: String::new(),
        body: bytes::Bytes::from_static(body),
        timestamp_ms: 1,
        unknown_fields: bytes::Bytes::from_static(&[0xa2, 0x06, 0x01, b'x']),
    }
}

fn settings() -> MockSettings {
    let policy = MockPolicy { hook_queue_timeout_ms: Some(0), hook_max_concurrency: Some(0), ..Default::default() };
    MockSettings {
        hook_base_url: HOOK_URL.into(),
        tenant_policies: BTreeMap::from([("t1".into(), policy)]),
        policy: MockPolicy { hook_sign_required: Some(true), ..Default::default() },
        ..Default::default()
    }
}

/// The mock over loopback; stopped when the test's runtime ends.
struct Served {
    base: String,
    handle: ServerHandle,
}

fn serve(settings: MockSettings, faults: Arc<Faults>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = server::serve(MockTenant::new(settings), faults, listener, 1).unwrap();
    let handle = server.handle();
    actix_rt::spawn(server);
    Served { base, handle }
}

/// Budget so long that only the tests of time-outs meet it.
fn patient() -> HttpHooks {
    HttpHooks::new(HttpHookSettings { budget: Duration::from_secs(20), ..Default::default() })
}

fn fault(name: &str, fault: Fault) -> BTreeMap<String, Fault> {
    BTreeMap::from([(name.to_owned(), fault)])
}

/// What every `Hooks` over a mock tenant with `settings()` keeps.
async fn hooks_contract(hooks: &dyn Hooks, faults: &Faults, base: &str) {
    let to = target(base);
    answers(hooks, &to).await;
    refusals(hooks, &to).await;
    failures(hooks, faults, &to).await;
}

async fn answers(hooks: &dyn Hooks, to: &HookTarget) {
    let AuthAnswer::Accepted(identity) = hooks.auth(to, "valid:u1", "dev1").await.unwrap() else {
        panic!("a valid token is accepted")
    };
    assert_eq!(identity.user, "u1");
    let config = &identity.config;
    assert_eq!(config.hook_base_url, HOOK_URL);
    assert_eq!((config.heartbeat_timeout_ms, config.offline_ttl_ms), (30_000, 300_000));
    assert_eq!((config.tenant_max_connections, config.user_max_connections), (100_000, 8));
    assert_eq!((config.tenant_max_message_qps, config.offline_use_hook_pull), (10_000, false));
    assert_eq!(config.secret, Secret::new("dev-secret-t1"));
    assert_eq!(config.hooks.queue_timeout_ms, Some(0), "the tenant's own zero");
    assert_eq!(config.hooks.max_concurrency, None, "not positive");
    assert_eq!(config.hooks.sign_required, Some(true), "the global fallback");

    let allowed = CheckAnswer { allow: true, reason: String::new() };
    assert_eq!(hooks.check_message(to, &message(b"hello")).await.unwrap(), allowed);
    assert_eq!(members(hooks, to, "group-1").await.unwrap(), ["u1", "u2", "u3"]);
    assert_eq!(members(hooks, to, "range-4").await.unwrap(), ["u1", "u2", "u3", "u4"]);
    assert!(members(hooks, to, "nobody").await.unwrap().is_empty());
    pages(hooks, to).await;
    let page = hooks.offline_messages(to, "u2", "dev2", 100, "").await.unwrap();
    assert!(page.ok && page.messages.is_empty() && !page.has_more);
}

/// The whole list at once.
async fn members(hooks: &dyn Hooks, to: &HookTarget, group: &str) -> Result<Vec<String>, HookFailure> {
    let question = MembersQuestion { group: group.into(), ..Default::default() };
    let page = hooks.group_members(to, &question).await?;
    assert_eq!(page.next_cursor, "", "pages only for those who ask");
    Ok(page.members)
}

async fn pages(hooks: &dyn Hooks, to: &HookTarget) {
    let first = MembersQuestion { group: "range-5".into(), max_members: 3, ..Default::default() };
    let page = hooks.group_members(to, &first).await.unwrap();
    assert_eq!((&page.members[..], page.not_modified), (&["u1", "u2", "u3"].map(String::from)[..], false));
    let second = MembersQuestion { cursor: page.next_cursor, ..first.clone() };
    let last = hooks.group_members(to, &second).await.unwrap();
    assert_eq!((&last.members[..], &*last.next_cursor), (&["u4", "u5"].map(String::from)[..], ""));
    assert!(!page.version.is_empty() && page.version == last.version);
    let known = MembersQuestion { known_version: page.version.clone(), ..first };
    let want = MembersPage { version: page.version, not_modified: true, ..Default::default() };
    assert_eq!(hooks.group_members(to, &known).await.unwrap(), want);
}

async fn refused(hooks: &dyn Hooks, to: &HookTarget, token: &str) -> String {
    match hooks.auth(to, token, "dev1").await.unwrap() {
        AuthAnswer::Refused(reason) => reason,
        AuthAnswer::Accepted(_) => panic!("accepted {token:?}"),
    }
}

/// Tenant before signature before token; an explicit "no" is an answer.
async fn refusals(hooks: &dyn Hooks, to: &HookTarget) {
    let stranger = HookTarget { tenant: "t9".into(), ..to.clone() };
    let forged = HookTarget { secret: Secret::new("wrong"), ..to.clone() };
    let unsigned = HookTarget { secret: Secret::new(" "), ..to.clone() };
    assert_eq!(refused(hooks, &stranger, "bad").await, "unknown tenant");
    assert_eq!(refused(hooks, &forged, "bad").await, "invalid sign");
    assert_eq!(refused(hooks, &unsigned, "bad").await, "invalid sign");
    for token in ["bad", "", "valid:", "valid: ", "VALID:u1"] {
        assert_eq!(refused(hooks, to, token).await, "invalid token");
    }
    for (target, body, reason) in [
        (&stranger, &b"x"[..], "unknown tenant"),
        (&forged, b"x", "invalid sign"),
        (to, b"", "empty or too large message body"),
        (to, &[0; 65_537], "empty or too large message body"),
    ] {
        let want = CheckAnswer { allow: false, reason: reason.into() };
        assert_eq!(hooks.check_message(target, &message(body)).await.unwrap(), want);
    }
    assert!(hooks.check_message(to, &message(&[0; 65_536])).await.unwrap().allow);
    assert!(members(hooks, &forged, "group-1").await.unwrap().is_empty());
    assert!(!hooks.offline_messages(&forged, "u", "d", 1, "").await.unwrap().ok);
}

async fn failures(hooks: &dyn Hooks, faults: &Faults, to: &HookTarget) {
    let status = |status| Fault { status, ..Default::default() };
    let garbage = Fault { garbage: true, ..Default::default() };
    let cases = [
        (status(302), HookFailure::HttpOther),
        (status(404), HookFailure::Http4xx),
        (status(503), HookFailure::Http5xx),
        (garbage, HookFailure::Decode),
    ];
    for (shown, want) in cases {
        faults
            .set(
                ["auth", "check-message", "get-group-members", "get-offline-messages"]
                    .map(|op| (op.to_owned(), shown.clone()))
                    .into(),
            )
            .unwrap();
        assert_eq!(hooks.auth(to, "valid:u1", "d").await.unwrap_err(), want);
        assert_eq!(hooks.check_message(to, &message(b"x")).await.unwrap_err(), want);
        assert_eq!(members(hooks, to, "group-1").await.unwrap_err(), want);
        assert_eq!(hooks.offline_messages(to, "u", "d", 1, "").await.unwrap_err(), want);
    }
    faults.set(fault("check-message", status(204))).unwrap();
    assert!(!hooks.check_message(to, &message(b"x")).await.unwrap().allow, "an empty 2xx body is a no");
    assert_eq!(members(hooks, to, "group-1").await.unwrap().len(), 3, "operations fail one by one");
    faults.set(fault("check-message", Fault { deny: true, ..Default::default() })).unwrap();
    assert_eq!(hooks.check_message(to, &message(b"x")).await.unwrap().reason, "denied by mock");
    faults.set(BTreeMap::new()).unwrap();
    assert!(hooks.check_message(to, &message(b"x")).await.unwrap().allow);
}

#[actix_rt::test]
async fn embedded_hooks_keep_the_contract() {
    let faults = Arc::new(Faults::default());
    let hooks = EmbeddedHooks::new(MockTenant::new(settings()), faults.clone());
    hooks_contract(&hooks, &faults, "anything").await;
}

#[actix_rt::test]
async fn http_hooks_keep_the_contract() {
    let faults = Arc::new(Faults::default());
    let mock = serve(settings(), faults.clone());
    hooks_contract(&patient(), &faults, &mock.base).await;
    mock.handle.stop(false).await;
}

#[actix_rt::test]
async fn a_hook_beyond_the_budget_is_a_timeout() {
    let faults = Arc::new(Faults::default());
    faults.set(fault("check-message", Fault { delay_ms: 10_000, ..Default::default() })).unwrap();
    let mock = serve(settings(), faults.clone());
    let http = HttpHooks::default();
    let embedded = EmbeddedHooks::new(MockTenant::new(settings()), faults);
    for hooks in [&http as &dyn Hooks, &embedded] {
        let answer = hooks.check_message(&target(&mock.base), &message(b"x")).await;
        assert_eq!(answer.unwrap_err(), HookFailure::Timeout);
    }
    mock.handle.stop(false).await;
}

/// A back end that reads one request head and body, then does `respond` with the socket, for each connection.
fn raw_server(respond: impl FnOnce(&mut std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        if let Ok((mut socket, _)) = listener.accept() {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut buffer = [0; 16 * 1024];
            let _ = socket.read(&mut buffer);
            respond(&mut socket);
        }
    });
    address
}

async fn check_against(
    hooks: HttpHooks,
    respond: impl FnOnce(&mut std::net::TcpStream) + Send + 'static,
) -> Result<CheckAnswer, HookFailure> {
    let base = format!("http://{}", raw_server(respond));
    hooks.check_message(&target(&base), &message(b"x")).await
}

#[actix_rt::test]
async fn a_connection_that_dies_is_a_network_failure() {
    assert_eq!(check_against(patient(), |_| ()).await.unwrap_err(), HookFailure::Network);
    let cut = |s: &mut std::net::TcpStream| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x10\x01");
    };
    assert_eq!(check_against(patient(), cut).await.unwrap_err(), HookFailure::Network);
    let not_http = |s: &mut std::net::TcpStream| {
        let _ = s.write_all(b"SSH-2.0-x\r\n\r\n");
    };
    assert_eq!(check_against(patient(), not_http).await.unwrap_err(), HookFailure::Network);
}

/// What is asked of a back end that writes `response`, then closes the connection.
async fn closing_after(response: &'static [u8]) -> Result<CheckAnswer, HookFailure> {
    let respond = move |s: &mut std::net::TcpStream| {
        let _ = s.write_all(response);
    };
    check_against(patient(), respond).await
}

/// Every cut body here parses: as a yes, or, cut at its very beginning, as a no.
#[actix_rt::test]
async fn a_body_that_is_cut_or_has_no_told_end_is_a_network_failure() {
    let cut: [&[u8]; 9] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\x10\x01",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x10\x01\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x10\x01\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n\x10\x01",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\x10\x01",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n\x10\x01",
        b"HTTP/1.0 200 OK\r\n\r\n\x10\x01",
    ];
    for response in cut {
        let answer = closing_after(response).await;
        assert_eq!(answer.unwrap_err(), HookFailure::Network, "{}", response.escape_ascii());
    }
}

#[actix_rt::test]
async fn a_body_with_a_told_end_is_taken_however_the_connection_ends() {
    let yes: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n\x10\x01",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\x10\r\n1\r\n\x01\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 0\r\n\r\n2\r\n\x10\x01\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n\x10\x01",
    ];
    let empty: [&[u8]; 5] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 204 No Content\r\n\r\n",
    ];
    for (responses, allow) in [(&yes[..], true), (&empty[..], false)] {
        for response in responses {
            let answer = closing_after(response).await;
            assert_eq!(answer.map(|answer| answer.allow), Ok(allow), "{}", response.escape_ascii());
        }
    }
}

#[actix_rt::test]
async fn a_body_that_never_ends_is_a_timeout() {
    let stall = |s: &mut std::net::TcpStream| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x10\x01");
        let _ = s.read(&mut [0; 1]);
    };
    assert_eq!(check_against(HttpHooks::default(), stall).await.unwrap_err(), HookFailure::Timeout);
}

#[actix_rt::test]
async fn a_body_beyond_the_cap_is_a_decode_failure() {
    let capped = || {
        HttpHooks::new(HttpHookSettings {
            budget: Duration::from_secs(20),
            max_response_bytes: 8,
            ..Default::default()
        })
    };
    let announced = |s: &mut std::net::TcpStream| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\x10\x01\x1a\x05hello");
        let _ = s.read(&mut [0; 1]);
    };
    assert_eq!(check_against(capped(), announced).await.unwrap_err(), HookFailure::Decode);
    let chunked = |s: &mut std::net::TcpStream| {
        let _ = s
            .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n\x10\x01\x1a\x05hello\r\n0\r\n\r\n");
        let _ = s.read(&mut [0; 1]);
    };
    assert_eq!(check_against(capped(), chunked).await.unwrap_err(), HookFailure::Decode);
    let fits = |s: &mut std::net::TcpStream| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\x10\x01\x1a\x04hell");
    };
    assert_eq!(check_against(capped(), fits).await.unwrap().reason, "hell");
}

#[actix_rt::test]
async fn a_redirect_is_not_followed() {
    let moved = |s: &mut std::net::TcpStream| {
        let _ = s.write_all(b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
    };
    assert_eq!(check_against(patient(), moved).await.unwrap_err(), HookFailure::HttpOther);
}

#[actix_rt::test]
async fn requests_carry_the_contracts_headers() {
    let echo = |s: &mut std::net::TcpStream| {
        // The first request was read away; the second, on the same connection, is looked at.
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\x10\x01");
        let mut buffer = [0; 16 * 1024];
        let read = s.read(&mut buffer).unwrap_or(0);
        let request = String::from_utf8_lossy(&buffer[..read]).to_ascii_lowercase();
        let good = request.starts_with("post /base/check-message http/1.1\r\n")
            && request.contains("\r\ncontent-type: application/protobuf\r\n")
            && request.contains("\r\ncontent-length: ")
            && !request.contains("traceparent")
            && !request.contains("transfer-encoding");
        let status = if good { "200 OK" } else { "400 Bad" };
        let _ = write!(s, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n\x10\x01");
    };
    let to = target(&format!("http://{}/base/", raw_server(echo)));
    let hooks = patient();
    for _ in 0..2 {
        assert!(hooks.check_message(&to, &message(b"x")).await.unwrap().allow, "both on one connection");
    }
}

#[actix_rt::test]
async fn a_recorded_trace_goes_along() {
    const PLACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (told, tell) = std::sync::mpsc::channel();
    let echo = move |s: &mut std::net::TcpStream| {
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\x10\x01");
        let mut buffer = [0; 16 * 1024];
        let read = s.read(&mut buffer).unwrap_or(0);
        let _ = told.send(String::from_utf8_lossy(&buffer[..read]).to_ascii_lowercase());
        let _ = s.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\x10\x01");
    };
    let to = target(&format!("http://{}", raw_server(echo)));
    let to = HookTarget { trace: TraceParent::parse(PLACE), ..to };
    let hooks = patient();
    for _ in 0..2 {
        assert!(hooks.check_message(&to, &message(b"x")).await.unwrap().allow, "both on one connection");
    }
    let request = tell.recv().unwrap();
    assert!(request.contains(&format!("\r\ntraceparent: {PLACE}\r\n")), "{request}");
}

#[actix_rt::test]
async fn what_cannot_be_reached_is_a_network_failure() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for base in [format!("http://{closed}"), "".into(), "no url".into(), "http://169.254.169.254/latest".into()] {
        let answer = patient().check_message(&target(&base), &message(b"x")).await;
        assert_eq!(answer.unwrap_err(), HookFailure::Network, "{base}");
    }
}

#[actix_rt::test]
async fn host_names_are_looked_up_and_may_lead_to_loopback() {
    let mock = serve(settings(), Arc::default());
    let base = mock.base.replace("127.0.0.1", "localhost");
    assert!(patient().check_message(&target(&base), &message(b"x")).await.unwrap().allow);
    mock.handle.stop(false).await;
}

#[actix_rt::test]
async fn only_allowed_hosts_are_called() {
    let mock = serve(settings(), Arc::default());
    for (pattern, allowed) in [("127.0.0.1", true), ("*.example", false)] {
        let hosts = HostRules::new([pattern.to_owned()]);
        let hooks = HttpHooks::new(HttpHookSettings { budget: Duration::from_secs(20), hosts, ..Default::default() });
        let answer = hooks.check_message(&target(&mock.base), &message(b"x")).await;
        assert_eq!(answer.is_ok(), allowed, "{pattern}: {answer:?}");
    }
    mock.handle.stop(false).await;
}

#[actix_rt::test]
async fn the_mock_server_answers_its_pages_and_takes_faults() {
    let mock = serve(settings(), Arc::default());
    let web = awc::Client::default();
    for (path, want) in [("/", "MICS HookMock"), ("/healthz", "ok"), ("/readyz", "ok")] {
        assert_eq!(web.get(format!("{}{path}", mock.base)).send().await.unwrap().body().await.unwrap(), want);
    }
    let post = |json: &'static str| {
        let request = web.post(format!("{}/_mock/faults", mock.base)).content_type("application/json");
        async move { request.send_body(json).await.unwrap().status().as_u16() }
    };
    assert_eq!(post(r#"{"check-message": {"status": 500}}"#).await, 204);
    let check = async || patient().check_message(&target(&mock.base), &message(b"x")).await;
    assert_eq!(check().await.unwrap_err(), HookFailure::Http5xx);
    assert_eq!(post(r#"{"no-such-hook": {}}"#).await, 400);
    assert_eq!(post("{}").await, 204);
    assert!(check().await.unwrap().allow);
    mock.handle.stop(false).await;
}

#[actix_rt::test]
async fn the_mock_answers_200_to_anything_and_echoes_meta_without_trace() {
    use mics_proto::hook::{AuthRequest, AuthResponse, HookMeta};
    use mics_proto::prost::Message as _;
    let mock = serve(MockSettings::default(), Arc::default());
    let web = awc::Client::default();
    let post = |body: Vec<u8>| {
        let request = web.post(format!("{}/auth", mock.base));
        async move {
            let mut response = request.send_body(body).await.unwrap();
            assert_eq!(response.status().as_u16(), 200);
            AuthResponse::decode(response.body().await.unwrap()).unwrap()
        }
    };
    assert_eq!(post(b"\xff\xff".to_vec()).await.reason, "unknown tenant");
    let meta = HookMeta {
        tenant_id: "t1".into(),
        request_id: "r".into(),
        timestamp_ms: 5,
        sign: String::new(),
        trace_id: "trace".into(),
    };
    let request = AuthRequest { meta: Some(meta.clone()), token: "valid:u7".into(), device_id: "d7".into() };
    let answer = post(request.encode_to_vec()).await;
    assert_eq!(answer.meta, Some(HookMeta { trace_id: String::new(), ..meta }));
    assert_eq!((answer.ok, answer.user_id.as_str(), answer.device_id.as_str()), (true, "u7", "d7"));
    mock.handle.stop(false).await;
}

#[actix_rt::test]
async fn the_mock_server_stops_when_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = server::run(MockTenant::default(), listener, 1, async {});
    within(Duration::from_secs(20), running).await.unwrap();
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, future).await.expect("not finished in time")
}
