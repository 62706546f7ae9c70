//! The service in front of a handler: who is let in, what failing handlers become, and how both frameworks carry it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mics_hook::mics_proto::prost::Message;
use mics_hook::*;

const SECRET: &str = "a secret";

/// Obeys the token, the group id, the user id or the message's body.
struct Tenant;

impl Tenant {
    async fn obey(&self, order: &str) -> Result<(), BoxError> {
        match order {
            "fail" => Err("database is away".into()),
            "panic" => panic!("as told"),
            "sleep" => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl HookHandler for Tenant {
    async fn auth(&self, request: AuthRequest) -> Result<AuthResponse, BoxError> {
        self.obey(&request.token).await?;
        Ok(answer::accept(request.token, TenantRuntimeConfig::default()))
    }

    async fn get_group_members(&self, request: GetGroupMembersRequest) -> Result<GetGroupMembersResponse, BoxError> {
        self.obey(&request.group_id).await?;
        Ok(answer::members(["u1", "u2"]))
    }

    async fn check_message(&self, request: CheckMessageRequest) -> Result<CheckMessageResponse, BoxError> {
        self.obey(&String::from_utf8_lossy(&request.message.unwrap_or_default().msg_body)).await?;
        Ok(answer::allow())
    }

    async fn get_offline_messages(
        &self,
        request: GetOfflineMessagesRequest,
    ) -> Result<GetOfflineMessagesResponse, BoxError> {
        self.obey(&request.user_id).await?;
        Ok(GetOfflineMessagesResponse { ok: true, ..Default::default() })
    }
}

fn options() -> HookOptions {
    HookOptions::new(|tenant| match tenant {
        "t1" => Some(SECRET.to_owned()),
        "blank" => Some(" ".to_owned()),
        _ => None,
    })
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn meta(tenant: &str, id: &str, at: i64) -> HookMeta {
    HookMeta { tenant_id: tenant.into(), request_id: id.into(), timestamp_ms: at, ..Default::default() }
}

/// A signed /auth request with this token.
fn auth(tenant: &str, id: &str, at: i64, token: &str) -> Vec<u8> {
    let mut request = AuthRequest { meta: Some(meta(tenant, id, at)), token: token.into(), ..Default::default() };
    let sign = sign::request_sign(SECRET, &request.encode_to_vec(), id, at);
    request.meta.as_mut().unwrap().sign = sign;
    request.encode_to_vec()
}

fn members(id: &str, group: &str) -> Vec<u8> {
    let at = now_ms();
    let mut request =
        GetGroupMembersRequest { meta: Some(meta("t1", id, at)), group_id: group.into(), ..Default::default() };
    let sign = sign::request_sign(SECRET, &request.encode_to_vec(), id, at);
    request.meta.as_mut().unwrap().sign = sign;
    request.encode_to_vec()
}

async fn ask(service: &HookService<Tenant>, body: &[u8]) -> (bool, String) {
    let reply = service.call(HookOp::Auth, Some("application/protobuf"), body).await;
    assert_eq!(reply.status, 200);
    let response = AuthResponse::decode(&*reply.body).unwrap();
    (response.ok, response.reason)
}

#[tokio::test]
async fn requests_are_checked_before_the_handler_is_asked() {
    let (service, now) = (HookService::new(Tenant, options()), now_ms());
    let unsigned = AuthRequest { meta: Some(meta("t1", "r0", now)), token: "u1".into(), ..Default::default() };
    let cases = [
        (auth("t1", "r1", now, "u1"), Ok(())),
        (auth("t1", "r1", now, "u1"), Err("replayed request")),
        (auth("t1", "r2", now - 61_000, "u1"), Err("stale request")),
        (auth("t1", "r3", now + 90_000, "u1"), Err("stale request")),
        (auth("t1", "r4", i64::MIN, "u1"), Err("stale request")),
        (auth("t1", "r5", now - 30_000, "u1"), Ok(())),
        (auth("t2", "r6", now, "u1"), Err("unknown tenant")),
        (auth("blank", "r7", now, "u1"), Err("unknown tenant")),
        (auth(" ", "r8", now, "u1"), Err("invalid tenant")),
        (unsigned.encode_to_vec(), Err("invalid sign")),
        (Vec::new(), Err("invalid tenant")),
    ];
    for (at, (body, want)) in cases.into_iter().enumerate() {
        let (ok, reason) = ask(&service, &body).await;
        assert_eq!((ok, reason.as_str()), (want.is_ok(), want.err().unwrap_or_default()), "case {at}");
    }
}

#[tokio::test]
async fn unsigned_requests_pass_where_that_is_allowed_but_wrong_signatures_never_do() {
    let service = HookService::new(Tenant, HookOptions { require_sign: false, ..options() });
    let mut request = AuthRequest { meta: Some(meta("t1", "r1", 0)), token: "u1".into(), ..Default::default() };
    assert!(ask(&service, &request.encode_to_vec()).await.0);
    request.meta.as_mut().unwrap().sign = "bm8=".into();
    assert_eq!(ask(&service, &request.encode_to_vec()).await, (false, "invalid sign".into()));
}

/// A signed request of each kind that has the handler obey this order.
fn orders(order: &str) -> [(HookOp, Vec<u8>); 4] {
    macro_rules! signed {
        ($op:ident, $request:expr) => {{
            let (id, at, mut request) = (format!("{}-{order}", HookOp::$op.path()), now_ms(), $request);
            request.meta = Some(meta("t1", &id, at));
            let sign = sign::request_sign(SECRET, &request.encode_to_vec(), &id, at);
            request.meta.as_mut().unwrap().sign = sign;
            (HookOp::$op, request.encode_to_vec())
        }};
    }
    let message = MessageRequest { msg_body: order.to_owned().into(), ..Default::default() };
    [
        signed!(Auth, AuthRequest { token: order.into(), ..Default::default() }),
        signed!(CheckMessage, CheckMessageRequest { message: Some(message), meta: None }),
        signed!(GetGroupMembers, GetGroupMembersRequest { group_id: order.into(), ..Default::default() }),
        signed!(GetOfflineMessages, GetOfflineMessagesRequest { user_id: order.into(), ..Default::default() }),
    ]
}

#[tokio::test]
async fn a_failed_handler_is_an_outage_and_only_a_message_is_refused() {
    let service = HookService::new(Tenant, HookOptions { time_budget: Duration::from_millis(20), ..options() });
    for (order, reason, status) in
        [("fail", "handler error", 500), ("panic", "handler error", 500), ("sleep", "handler timeout", 503)]
    {
        for (op, body) in orders(order) {
            let reply = service.call(op, None, &body).await;
            if op == HookOp::CheckMessage {
                let response = CheckMessageResponse::decode(&*reply.body).unwrap();
                assert_eq!((reply.status, response.allow, &*response.reason), (200, false, reason), "{order}");
            } else {
                assert_eq!((reply.status, reply.body), (status, Vec::new()), "{op:?} {order}");
            }
        }
    }
}

#[tokio::test]
async fn the_request_is_echoed() {
    let service = HookService::new(Tenant, options());
    let reply = service.call(HookOp::GetGroupMembers, None, &members("m-fine", "g")).await;
    let response = GetGroupMembersResponse::decode(&*reply.body).unwrap();
    assert_eq!(response.user_ids, ["u1", "u2"]);
    assert_eq!(response.meta.unwrap().request_id, "m-fine");
}

#[tokio::test]
async fn what_is_no_request_is_an_http_error() {
    let service = HookService::new(Tenant, HookOptions { max_body_bytes: 1000, ..options() });
    let body = auth("t1", "r1", now_ms(), "u1");
    for (kind, body, status) in [
        (Some("text/plain"), body.clone(), 415),
        (Some("application/protobuf; x=y"), vec![0xff; 9], 400),
        (None, vec![0; 1001], 413),
        (None, body, 200),
    ] {
        assert_eq!(service.call(HookOp::Auth, kind, &body).await.status, status);
    }
}

/// One request over a real socket: the status and the body.
async fn http(port: u16, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head = format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses a large body may close before it has read it.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    (status, answer.split_off(end + 4))
}

async fn check_over_http(port: u16, base: &str) {
    let (status, body) = http(port, &format!("POST {base}/auth"), &auth("t1", "r1", now_ms(), "u1")).await;
    assert_eq!((status, AuthResponse::decode(&*body).unwrap().user_id.as_str()), (200, "u1"));
    assert_eq!(http(port, &format!("GET {base}/auth"), b"").await.0, 405);
    assert_eq!(http(port, &format!("POST {base}/other"), b"").await.0, 404);
    assert_eq!(http(port, &format!("POST {base}/check-message"), &[0xff]).await.0, 400);
    assert_eq!(http(port, &format!("POST {base}/check-message"), &[0; 5000]).await.0, 413);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_carries_it() {
    let service = Arc::new(HookService::new(Tenant, HookOptions { max_body_bytes: 4000, ..options() }));
    let app = ::axum::Router::new().nest("/mics", mics_hook::axum::router(service));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { ::axum::serve(listener, app).await });
    check_over_http(port, "/mics").await;
}

#[cfg(feature = "actix")]
#[actix_web::test]
async fn actix_carries_it() {
    use actix_web::{App, HttpServer, web};
    let options = HookOptions { max_body_bytes: 4000, ..options() };
    let service = web::Data::new(HookService::new(Tenant, options));
    let app = move || App::new().service(web::scope("/mics").configure(mics_hook::actix::routes(service.clone())));
    let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let port = server.addrs()[0].port();
    let server = server.run();
    let handle = server.handle();
    let running = actix_web::rt::spawn(server);
    check_over_http(port, "/mics").await;
    handle.stop(false).await;
    running.await.unwrap().unwrap();
}
